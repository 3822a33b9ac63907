"""Whether a run publishes a checkpoint by itself for what its samples have from the posts.

In: the run's settings and what was measured. Out: a reason in words. The training process tells it, the service goes
by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.trainer.run_settings import RunSettings


def withheld(settings: RunSettings, originality: Mapping[str, Any] | None) -> str:
    """Why the weights of a step are not published by themselves; empty: nothing is against it.

    Args:
        originality: of the samples at the step, or of the last before it; None: none was measured.
    """
    if settings.publish != "on_best_original":
        return ""
    if originality is None:
        return "no samples were compared with the posts up to it"
    share, most = originality["verbatim_share"], settings.max_verbatim_share
    if share <= most:
        return ""
    return (
        f"{share:.1%} of the samples of step {originality['step']} stands in the posts word for word, "
        f"and max_verbatim_share is {most:g}"
    )

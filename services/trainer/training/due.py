"""What is due when a step is done. In: the step and the run's settings. Out: yes or no. Knows nothing else."""

from __future__ import annotations

from typing import Literal

from services.trainer.run_settings import RunSettings


def is_due(
    what: Literal["validation", "sample", "checkpoint"], step: int, settings: RunSettings, *, last: bool
) -> bool:
    """Whether a step asks for it.

    Args:
        step: the one that is done, from 1.
        last: whether none follows: then it is validated and saved in any case, and sampled if any step is.
    """
    match what:
        case "validation":
            every, at_end = settings.validate_every, True
        case "sample":
            every, at_end = settings.sample_every, bool(settings.sample_every)
        case "checkpoint":
            every, at_end = settings.save_every, True
    return (last and at_end) or bool(every and step % every == 0)

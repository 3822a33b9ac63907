"""Runs side by side as the page shows them: curves for its script, rows of figures for its tables.

In: the curves of services/client/comparing.py. Out: plain values and words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from protos import trainer_pb2
from services.admin import words
from services.client.comparing import Curve, common_steps, differing_settings

MOST_POINTS = 1000  # of a curve; more cannot be told apart on a screen


def drawn(curve: Curve) -> dict[str, Any]:
    """A run's curves as the script draws them."""
    metrics = list(curve.metrics.values())
    stride = max(1, -(-len(metrics) // MOST_POINTS))
    kept = [found for place, found in enumerate(metrics) if place % stride == 0 or place == len(metrics) - 1]
    return {
        "name": curve.run.name,
        "step": [found.step for found in kept],
        "average": [round(found.average_loss, 4) for found in kept],
        "validation_step": list(curve.validations),
        "validation": [round(found.loss, 4) for found in curve.validations.values()],
        "recited_step": list(curve.originalities),
        "recited": [round(found.verbatim_share, 4) for found in curve.originalities.values()],
    }


def facts(curves: Sequence[Curve]) -> list[tuple[str, list[str]]]:
    """Rows of a table: what it is, and the value of each run; rows without any value are left out."""

    def validated(which: str, shown: Callable[[trainer_pb2.Validation], str]) -> list[str]:
        return ["" if found is None else shown(found) for found in (getattr(curve, which) for curve in curves)]

    def measured(shown: Callable[[trainer_pb2.Metrics], str]) -> list[str]:
        return [shown(curve.run.metrics) if curve.run.HasField("metrics") else "" for curve in curves]

    def recited(shown: Callable[[trainer_pb2.Originality], str]) -> list[str]:
        return ["" if found is None else shown(found) for found in (curve.newest_originality for curve in curves)]

    rows = [
        ("State", [words.run_state(curve.run.state)[0] for curve in curves]),
        ("Step", [f"{curve.run.step:,} of {curve.run.settings.steps:,}" for curve in curves]),
        (
            "Unread posts, best",
            validated("best_validation", lambda found: f"{found.loss:.3f} at step {found.step:,}"),
        ),
        ("Bits per byte, best", validated("best_validation", lambda found: f"{found.bits_per_byte:.3f}")),
        ("Guessed right, best", validated("best_validation", lambda found: f"{found.token_accuracy:.1%}")),
        ("Unread posts, last", validated("newest_validation", lambda found: f"{found.loss:.3f}")),
        ("Recited of its samples, last", recited(lambda found: words.share(found.verbatim_share))),
        ("Longest recited run, last", recited(lambda found: words.plural(found.longest_run_tokens, "token"))),
        ("Average loss, last", measured(lambda found: f"{found.average_loss:.3f}")),
        ("Times read", measured(lambda found: f"{found.epoch:.1f}")),
        (
            "Tokens a second",
            [words.number(curve.tokens_per_second) if curve.metrics else "" for curve in curves],
        ),
        ("Memory", measured(lambda found: words.size(found.memory_bytes) if found.memory_bytes else "")),
    ]
    differing = differing_settings([curve.run for curve in curves])
    rows += [(name.replace("_", " ").capitalize(), values) for name, values in differing.items()]
    return [(name, values) for name, values in rows if any(values)]


def at_common_steps(curves: Sequence[Curve]) -> list[tuple[int, list[str]]]:
    """The validation loss of each run at the steps at which all were validated."""
    steps = common_steps([curve.validations for curve in curves])
    return [(step, [f"{curve.validations[step].loss:.3f}" for curve in curves]) for step in steps]

"""What follows when a step's numbers are bad: it is left out, or the run goes back to a checkpoint, or it fails.

In: the run's folder and settings, and what was seen. Out: nothing, or an exception that ends the process. What has
to be different afterwards is written into the folder first, so that every later process does the same.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from services.common.errors import FailedPrecondition
from services.trainer.adjusting import read_adjustments, write_adjustments
from services.trainer.checkpoints import newest_sound
from services.trainer.run_settings import RunSettings
from services.trainer.training.divergence import MOST_REFUSED

MOST_LOWERED = 10  # times after one checkpoint: the rate is a thousandth then


class StartAgain(Exception):
    """The process is to end, and another to go on from the last checkpoint; says why."""


def after_bad_numbers(folder: Path, settings: RunSettings, *, step: int, what: str, refused: int) -> None:
    """Do what the run's `on_divergence` says; to return is to go on with the next step.

    Args:
        step: the one whose numbers are bad.
        what: was seen, in words.
        refused: how many steps in a row changed nothing, with this one; MOST_REFUSED: the numbers are bad for good.

    Raises:
        StartAgain: after a lower rate was noted; or once, when the numbers stay bad, for what went bad in memory
            alone is sound in the checkpoint.
        FailedPrecondition: training has diverged.
    """
    if settings.on_divergence == "fail":
        raise diverged(what)
    adjustments = read_adjustments(folder)
    if settings.on_divergence == "skip_step":
        if refused < MOST_REFUSED:
            return
        if adjustments.returned_from == step:
            raise diverged(f"{what}, as before from the same checkpoint")
        back = _last_step(folder)
        write_adjustments(folder, replace(adjustments, returned_from=step))
        raise StartAgain(f"{what}: bad for good; going back to step {back}")
    back = _last_step(folder)
    if adjustments.lowered_after.count(back) >= MOST_LOWERED:
        raise diverged(f"{what}, after the learning rate was halved {MOST_LOWERED} times at step {back}")
    write_adjustments(folder, replace(adjustments, lowered_after=(*adjustments.lowered_after, back)))
    raise StartAgain(f"{what}; going back to step {back}, and on at half the learning rate")


def diverged(what: str) -> FailedPrecondition:
    """The error of a run that cannot go on."""
    return FailedPrecondition(
        f"{what}: training has diverged; start another run with a lower learning_rate", reason="DIVERGED"
    )


def _last_step(folder: Path) -> int:
    """Step of the checkpoint that a new process would begin with; 0: the base."""
    checkpoint, _ = newest_sound(folder)
    return checkpoint.step if checkpoint else 0

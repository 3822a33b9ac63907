"""Why a run ends. In: its settings and what it has done. Out: a sentence, or nothing. Knows no files."""

from __future__ import annotations

from services.trainer.outcome import TURNED
from services.trainer.run_settings import RunSettings
from services.trainer.training.state import TrainingState


def counted_end(settings: RunSettings, *, step: int, epoch: float, seconds: float, behind: int = 0) -> str:
    """Why no step follows, by what is counted; empty when one does.

    Args:
        step: the last that was done.
        epoch: passes over the training documents so far, without those of `behind`.
        seconds: trained so far, over all processes of the run.
        behind: of the steps, those that another program had done.
    """
    tokens = (step - behind) * settings.rows_per_step * settings.context
    if settings.tokens and tokens >= settings.tokens:
        return f"it has trained on {tokens} tokens, and {settings.tokens} were asked for"
    if settings.epochs and epoch >= settings.epochs:
        return f"it has seen the training documents {epoch:.2f} times, and {settings.epochs:g} were asked for"
    if step >= settings.steps:
        return f"its last step, {settings.steps}, is done"
    if settings.minutes and seconds >= 60 * settings.minutes:
        return f"it has trained for {seconds / 60:.1f} minutes, and {settings.minutes:g} were asked for"
    return ""


def has_turned(settings: RunSettings, state: TrainingState) -> bool:
    """Whether so many validations in a row as `patience` says were no new best."""
    return bool(settings.patience) and state.since_best >= settings.patience


def turned_end(settings: RunSettings, state: TrainingState) -> str:
    """Why a run ends whose validation has turned; empty when it has not."""
    if not has_turned(settings, state) or not state.best:
        return ""
    validations = "validation" if settings.patience == 1 else "validations"
    return (
        f"{TURNED}: {settings.patience} {validations} in a row found no loss below "
        f"{state.best['loss']:.4f}, that of step {state.best['step']}"
    )

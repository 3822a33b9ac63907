"""Saves a run's checkpoints when they are due, tells how each went, and does not give up on the last one.

In: a trainer and its state. Out: checkpoints, events, console lines. Which steps are due, it does not know.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

from services.common.errors import FailedPrecondition
from services.trainer.checkpoints import folder_of
from services.trainer.events import EventLog
from services.trainer.training.loop import Trainer
from services.trainer.training.saving import Saver, point
from services.trainer.training.state import TrainingState

RETRY_S = 2.0
LAST_TRIES_S = 600.0  # so long a run that is done waits for room


class Keeper:
    """A run's checkpoints, from the side of its training.

    Args:
        folder: the run's.
        keep: newest checkpoints that stay.
        events: told of each checkpoint, and of each that could not be written.
        before: called before each; writes what must not be behind a checkpoint, or raises OSError.
    """

    def __init__(self, folder: Path, *, keep: int, events: EventLog, before: Callable[[], None]) -> None:
        self._folder, self._events, self._before = folder, events, before
        self._saver = Saver(folder, keep=keep)
        self._told, self._passing = "", True

    def prepare(self, trainer: Trainer) -> None:
        """Take the memory that copies of the trainer need, in the background."""
        self._saver.prepare(trainer)

    def save(self, trainer: Trainer, state: TrainingState) -> None:
        """Begin to write the checkpoint of `state.step`, unless it is there already."""
        if folder_of(self._folder, state.step).exists():
            return
        print(f"Saving {self._folder / f'model-{state.step}'}", flush=True)
        try:
            self._before()
            self._saver.begin(trainer, state)
        except OSError as error:
            self._tell_failure(state.step, str(error), passing=True)

    def tell(self) -> None:
        """Tell of the checkpoints that were finished meanwhile."""
        for written in self._saver.ended():
            if written.is_there:
                self._events.append("checkpoint", step=written.step)
            if not written.error:
                self._told = ""
            elif written.is_there:
                self._tell_hidden(written.step, written.error)
            else:
                self._tell_failure(written.step, written.error, passing=written.passing)

    def wait(self) -> None:
        """Return when nothing is being written, and all is told."""
        self._saver.wait()
        self.tell()

    def save_last(self, trainer: Trainer, state: TrainingState, *, hurry: bool, stop: Event) -> bool:
        """Have the checkpoint of `state.step` on the volume, the newest for all; False when it could not be written.

        Args:
            hurry: try once; else until there is room, for LAST_TRIES_S seconds.
            stop: ends the tries.

        Raises:
            FailedPrecondition: there was no room for it in all that time, or there is no use in trying.
        """
        deadline = time.monotonic() + LAST_TRIES_S
        while True:
            self.wait()
            self.save(trainer, state)
            self.wait()
            is_there = folder_of(self._folder, state.step).exists()
            if is_there and self._others_see(state.step):
                return True
            too_late = time.monotonic() > deadline
            if hurry or stop.is_set() or (is_there and too_late):
                return is_there
            if not is_there and (too_late or not self._passing):
                raise FailedPrecondition(f"step {state.step} is done and cannot be saved: {self._told}; then resume")
            stop.wait(RETRY_S)

    def _others_see(self, step: int) -> bool:
        """Have other programs find the checkpoint as the newest; False where that cannot be written."""
        try:
            point(self._folder, step)
        except OSError as error:
            self._tell_hidden(step, str(error))
            return False
        return True

    def _tell_hidden(self, step: int, why: str) -> None:
        self._tell(step, why, f"step {step} is saved, but other programs do not see it as the newest: {why}")

    def _tell_failure(self, step: int, why: str, *, passing: bool) -> None:
        self._passing = passing
        self._tell(
            step, why, f"no checkpoint of step {step}: {why}; training goes on, and tries again when the next is due"
        )

    def _tell(self, step: int, why: str, message: str) -> None:
        """Tell it once, however often it is tried."""
        if why != self._told:
            self._events.append("event", step=step, message=message)
            print(message, flush=True)
        self._told = why

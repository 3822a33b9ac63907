"""What follows when a training process has ended without the run's end: another one, or the run's failure.

In: how it ended and what it said, the run's record, how far its checkpoints are. Out: a decision in words that
can be told, and the tries to be noted with it: the service may die with the next. Changes only adjustments.json.
Starts no process.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.trainer.adjusting import read_adjustments, what_would_fit, with_less_memory, write_adjustments
from services.trainer.checkpoints import list_checkpoints
from services.trainer.child import Ending
from services.trainer.outcome import EXIT_AGAIN, EXIT_FAILED, EXIT_OUT_OF_MEMORY, explain, read_outcome
from services.trainer.run_record import RunRecord

MOST_ASKED = 20  # processes in a row, without a new checkpoint, that went back by themselves
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0  # before a process is started again; doubles with each in a row


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Another process goes on."""

    why: str
    wait_s: float = 0.0
    killed: bool = True
    """Whether this counts among the run's restarts; False where the process asked for it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The run fails."""

    error: str


class Restarts:
    """Decides over the processes of one run, one after the other.

    Args:
        record: of the run; its tries go on from there.
    """

    def __init__(self, run_folder: Path, record: RunRecord) -> None:
        self._folder, self._settings = run_folder, record.settings
        self._step = newest_step(run_folder)
        self._in_a_row = record.tries if self._step <= record.tries_step else 0
        self._asked = 0

    @property
    def in_a_row(self) -> int:
        """Tries without a new checkpoint, so far."""
        return self._in_a_row

    @property
    def step(self) -> int:
        """Step of the newest checkpoint when the last process ended; 0: none."""
        return self._step

    def after(self, ending: Ending) -> Again | Failure:
        """Decide what follows a process that ended neither well nor because it was asked to."""
        step = newest_step(self._folder)
        progress = step > self._step
        if progress:
            self._in_a_row, self._step = 0, step
        said = read_outcome(self._folder)
        if ending.status == EXIT_AGAIN:
            self._asked = 1 if progress else self._asked + 1
            if self._asked > MOST_ASKED:
                return Failure(f"{said.again if said else 'it asked for another process'}, {MOST_ASKED} times in a row")
            return Again(why=said.again if said else "the training process asked for another", killed=False)
        why = explain(ending.status, self._folder, out_of_memory=ending.out_of_memory)
        if ending.status == EXIT_OUT_OF_MEMORY or (ending.status < 0 and ending.out_of_memory):
            smaller = self._shrink(why)
            if smaller or not progress:  # with progress it was another program's memory, or a moment's
                return smaller or Failure(self._what_would_fit(why))
        elif ending.status >= 0 and not (ending.status == EXIT_FAILED and said and said.passing):
            return Failure(why)
        return self._once_more(why, step)

    def after_service(self) -> Again | Failure:
        """Decide what follows when the service was killed with its process, as with the container that both are in."""
        return self._once_more(
            "the trainer was killed with the training process, perhaps for want of memory", self._step
        )

    def _shrink(self, why: str) -> Again | None:
        if not self._settings.fit_memory:
            return None
        adjustments = read_adjustments(self._folder)
        found = with_less_memory(self._settings, adjustments)
        if found is None:
            return None
        write_adjustments(self._folder, found[0])
        return Again(why=f"{why}; going on {found[1]}", wait_s=FIRST_WAIT_S)

    def _what_would_fit(self, why: str) -> str:
        if not self._settings.fit_memory:
            return f"{why}; lower batch_size, or let fit_memory do it"
        return f"{why}; {what_would_fit(self._settings)}"

    def _once_more(self, why: str, step: int) -> Again | Failure:
        most = self._settings.restarts
        if self._in_a_row >= most:
            tries = f"; it was started again {most} times without a new checkpoint" if most else ""
            return Failure(f"{why}{tries}; resume the run to try once more")
        self._in_a_row += 1
        wait_s = min(FIRST_WAIT_S * 2 ** (self._in_a_row - 1), LONGEST_WAIT_S)
        return Again(why=f"{why}; going on from step {step}, try {self._in_a_row} of {most}", wait_s=wait_s)


def newest_step(run_folder: Path) -> int:
    """Step of the run's newest checkpoint; 0: it begins with its base."""
    checkpoints = list_checkpoints(run_folder)
    return checkpoints[-1].step if checkpoints else 0

"""One training process: started, watched, waited for. In: a command. Out: how it ended. Knows no queue."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.trainer.oom import OomWatch
from services.trainer.outcome import LOG_FILE, OUTCOME_FILE

PROGRAM = (sys.executable, "-m", "services.trainer.training")
LOOK_S = 1.0  # between looks at the child's control group, which may be given to it after it has started


@dataclass(frozen=True, slots=True)
class Ending:
    """How a training process ended."""

    status: int
    """As subprocess gives it; negative is a signal."""
    out_of_memory: bool = False
    """The kernel killed a process of its control groups, or of the machine, meanwhile."""


class Child:
    """A training process.

    Args:
        data: root of the shared volume.
        run_folder: of the run to train; takes what the process prints.
        nice: added to its niceness.
        program: what to start.

    Raises:
        OSError: it could not be started.
    """

    def __init__(self, data: Path, run_folder: Path, *, nice: int, program: Sequence[str] = PROGRAM) -> None:
        (run_folder / OUTCOME_FILE).unlink(missing_ok=True)
        self._oom = OomWatch()
        with (run_folder / LOG_FILE).open("ab") as output:
            self._process = subprocess.Popen(
                [*program, str(data), run_folder.name, "--parent", str(os.getpid()), "--nice", str(nice)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal is the service's to handle
            )
        self.pid = self._process.pid

    def wait(self) -> Ending:
        """Return when it has ended."""
        while True:
            self._oom.look(self.pid)
            try:
                status = self._process.wait(LOOK_S)
            except subprocess.TimeoutExpired:
                continue
            return Ending(status, self._oom.happened())

    def terminate(self) -> None:
        """Ask it to finish its step, save and end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

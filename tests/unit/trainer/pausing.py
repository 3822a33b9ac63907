"""`python -m tests.unit.trainer.pausing DATA RUN ...`: the training process, which stands still where it is told to.

Who kills or stops it then does so at a known step, however slow or quick the machine is.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from threading import Event

from services.trainer.training import __main__ as entry

PROGRAM = (sys.executable, "-m", "tests.unit.trainer.pausing")


def pause_after(data: Path, run: str, step: int) -> None:
    """Let the run's next process stop itself once it has done a step and all that is due after it."""
    data.joinpath(f"pause-{run}").write_text(str(step))


def stands_still(pid: int) -> bool:
    """Whether a process has been stopped, by itself or by others."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except FileNotFoundError:
        return False


def train(data: Path, run: str, stop: Event, started: float) -> tuple[int, object]:
    """As the real one, with a pause if one was asked for."""
    from services.trainer.training import process

    mark = data / f"pause-{run}"
    step = int(mark.read_text()) if mark.exists() else 0
    mark.unlink(missing_ok=True)

    class Pausing(process.TrainingProcess):
        def _do_step(self) -> None:
            if step and self.step == step:
                os.kill(os.getpid(), signal.SIGSTOP)
            super()._do_step()

    process.TrainingProcess = Pausing
    return real_train(data, run, stop, started)


if __name__ == "__main__":
    real_train, entry.train = entry.train, train
    sys.exit(entry.main())

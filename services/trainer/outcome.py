"""What the service and its training process tell each other: exit statuses, file names, reasons."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from services.common.errors import Corrupt
from services.common.files import read_json, write_json

EXIT_DONE, EXIT_FAILED, EXIT_STOPPED = 0, 1, 3
EXIT_AGAIN = 4  # nothing is wrong with the run: another process is to go on from its last checkpoint
EXIT_OUT_OF_MEMORY = 5  # of the device: an exception, where the kernel would have killed the process
OUTCOME_FILE = "outcome.json"  # written by a training process that knows why it ends
LOCK_FILE = "lock"  # held by the process that writes the run
LOG_FILE = "log.txt"  # what the process prints
TURNED = "validation has turned"  # begins the reason of a run that validation ended
_LOG_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a training process says of its end."""

    error: str = ""
    """Why it failed."""
    passing: bool = False
    """The error may pass: another process is to try again."""
    again: str = ""
    """Why another process is to go on."""
    ended_because: str = ""
    """Why the run has ended."""


def write_outcome(run_folder: Path, outcome: Outcome) -> None:
    """Say why the process ends. On a full disk nothing is said."""
    with contextlib.suppress(OSError):
        write_json(run_folder / OUTCOME_FILE, asdict(outcome))


def read_outcome(run_folder: Path) -> Outcome | None:
    """What the run's last process said of its end; None when it said nothing."""
    try:
        return Outcome(**read_json(run_folder / OUTCOME_FILE))
    except (Corrupt, TypeError):
        return None


def explain(exit_status: int, run_folder: Path, *, out_of_memory: bool) -> str:
    """Say why a training process failed.

    Args:
        exit_status: as subprocess gives it; negative is a signal.
        out_of_memory: the kernel killed a process of the container meanwhile.
    """
    if exit_status < 0:
        name = _signal_name(-exit_status)
        if out_of_memory:
            return f"the training process was killed by {name}: out of memory"
        if name == "SIGKILL":
            return "the training process was killed by SIGKILL, not for want of memory"
        return f"the training process was killed by {name}; {_last_words(run_folder)}"
    said = read_outcome(run_folder)
    if said and said.error:
        return said.error
    return f"the training process ended with status {exit_status}; {_last_words(run_folder)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have numbers only
        return f"signal {number}"


def _last_words(run_folder: Path) -> str:
    path = run_folder / LOG_FILE
    if not path.exists():
        return f"it left no {LOG_FILE}"
    lines = [line for line in path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").splitlines() if line]
    return f"the last line of {path} is: {lines[-1]}" if lines else f"{path} is empty"

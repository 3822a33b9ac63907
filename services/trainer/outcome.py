"""What the service and its training process tell each other: exit statuses, file names, reasons."""

from __future__ import annotations

import signal
from pathlib import Path

from services.common.errors import Corrupt
from services.common.files import read_json

EXIT_DONE, EXIT_FAILED, EXIT_STOPPED = 0, 1, 3
OUTCOME_FILE = "outcome.json"  # written by a training process that knows why it fails
LOCK_FILE = "lock"  # held by the process that writes the run
LOG_FILE = "log.txt"  # what the process prints
_LOG_TAIL_BYTES = 4096


def oom_kills(events: Path = Path("/sys/fs/cgroup/memory.events")) -> int:
    """How many processes of this container the kernel has killed for want of memory; 0 where unknown."""
    try:
        counts = dict(line.split() for line in events.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(counts.get("oom_kill", 0))


def explain(exit_status: int, run_folder: Path, *, out_of_memory: bool) -> str:
    """Say why a training process failed.

    Args:
        exit_status: as subprocess gives it; negative is a signal.
        out_of_memory: the kernel killed a process of the container meanwhile.
    """
    if exit_status < 0:
        name = signal.Signals(-exit_status).name
        if out_of_memory:
            return f"the training process was killed by {name}: out of memory; lower batch_size or context"
        if name == "SIGKILL":
            return "the training process was killed by SIGKILL: by hand, or for want of memory; resume the run"
        return f"the training process was killed by {name}; {_last_words(run_folder)}"
    try:
        return str(read_json(run_folder / OUTCOME_FILE)["error"])
    except (Corrupt, KeyError):
        return f"the training process ended with status {exit_status}; {_last_words(run_folder)}"


def _last_words(run_folder: Path) -> str:
    path = run_folder / LOG_FILE
    if not path.exists():
        return f"it left no {LOG_FILE}"
    lines = [line for line in path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").splitlines() if line]
    return f"the last line of {path} is: {lines[-1]}" if lines else f"{path} is empty"

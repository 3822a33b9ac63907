"""What a process that a service starts does first: tie its life to the service's, and be the first to go.

The kernel is asked, Linux alone; on other systems nothing is done.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with(parent: int, number: int = signal.SIGKILL) -> bool:
    """Have the kernel send this process a signal when its parent ends, however it does; False when it is gone already.

    The signal is tied to the parent's thread that started this process, and comes when that ends.

    Args:
        parent: its process id.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    return os.getppid() == parent


def die_first() -> None:
    """When memory runs out, let the kernel end this process before any service."""
    with contextlib.suppress(OSError):  # not Linux, or not allowed: the kernel's own choice stands
        Path("/proc/self/oom_score_adj").write_text("1000")

"""Child: what a process that handles untrusted posts does first, so that nothing but itself can come to harm.

Called by cleaning_process.py and opening_process.py, once, after everything is imported.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from pathlib import Path

from services.common.child import die_first, die_with


def confine(address_space_bytes: int) -> None:
    """Bound this process's memory, and tie its life to the thread of the service that started it.

    Args:
        address_space_bytes: what it may take beside what it has now: NumPy's BLAS keeps some for each core.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which lets this process finish
    with contextlib.suppress(OSError, ValueError):  # macOS has no such limit
        present = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = present + address_space_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    die_with(os.getppid())
    die_first()

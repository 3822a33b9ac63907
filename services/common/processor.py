"""What the processor gives this process."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores that this process may use; where the system does not say, as on macOS, those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

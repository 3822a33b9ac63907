"""What the processor gives this process."""

from __future__ import annotations

import math
import os
from pathlib import Path

# What a container's limit stands in, by the kernel's two interfaces: quota and period in microseconds.
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_CPU_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def cores() -> int:
    """Cores that this process may use; where the system does not say, as on macOS, those of the machine.

    A container's limit counts (`docker run --cpus`): threads beyond it would be stopped for most of the time.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, math.ceil(_limit())))


def _limit() -> float:
    """Cores' worth of time that the container may use; infinite outside of one."""
    try:
        quota, period = (
            _CPU_MAX.read_text().split()
            if _CPU_MAX.exists()
            else (
                _CPU_QUOTA.read_text(),
                _CPU_PERIOD.read_text(),
            )
        )
        return int(quota) / int(period) if int(quota) > 0 else 2.0**31
    except (OSError, ValueError, ZeroDivisionError):  # none, or `max`
        return 2.0**31

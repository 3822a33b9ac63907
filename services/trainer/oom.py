"""Whether the kernel killed a process for want of memory: its own counters, read before and after.

Control groups of version 1 and 2, of this process and of the child, which may have one of its own. The counter of the
whole machine is asked only where no group has one: it rises for other programs too. Knows no runs.
"""

from __future__ import annotations

import re
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class OomWatch:
    """Counts that may rise while a child runs. What cannot be read counts as never rising.

    Args:
        proc, cgroups: where the kernel shows them.
    """

    def __init__(self, proc: Path = PROC, cgroups: Path = CGROUPS) -> None:
        self._proc, self._cgroups = proc, cgroups
        self._first: dict[Path, int] = {}
        self._machine = proc / "vmstat"
        self._machine_first = _count(self._machine)
        self.look("self")

    def look(self, pid: int | str) -> None:
        """Note the counters of the groups that a process is in now; it may change them while it lives."""
        try:
            groups = (self._proc / str(pid) / "cgroup").read_text()
        except OSError:
            return
        for line in groups.splitlines():
            number, controllers, path = line.split(":", 2)
            below = path.lstrip("/")
            if number == "0":
                self._see(self._cgroups / below / "memory.events", self._cgroups / "memory.events")
            elif "memory" in controllers.split(","):
                memory = self._cgroups / "memory"
                # In a container the path may be the host's, and the container's own group is the root.
                self._see(memory / below / "memory.oom_control", memory / "memory.oom_control")

    def happened(self) -> bool:
        """Whether a process was killed for want of memory since its counters were first seen."""
        if self._first:
            return any((_count(path) or 0) > first for path, first in self._first.items())
        return self._machine_first is not None and (_count(self._machine) or 0) > self._machine_first

    def _see(self, *candidates: Path) -> None:
        """Note the first of these that is there."""
        for path in candidates:
            count = _count(path)
            if count is not None:
                self._first.setdefault(path, count)
                return


def _count(path: Path) -> int | None:
    try:
        found = _COUNT.search(path.read_text())
    except OSError:
        return None
    return int(found[1]) if found else None

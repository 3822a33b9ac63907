"""A control group of one's own with a limit of memory, in either version of control groups."""

import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


class MemoryGroup:
    """A group that processes may join; removed when the block ends.

    Args:
        limit: bytes; None: no limit.

    Raises:
        OSError: there can be none, for want of rights or of the controller.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._v1 = (ROOT / "memory").is_dir()
        parent = (ROOT / "memory" if self._v1 else ROOT) / _own_path(self._v1)
        if not parent.is_dir():
            parent = ROOT / "memory" if self._v1 else ROOT
        self.folder = parent / f"nonesuch-{os.getpid()}-{time.monotonic_ns()}"
        self.folder.mkdir()
        if not (self.folder / ("memory.limit_in_bytes" if self._v1 else "memory.max")).exists():
            self.folder.rmdir()
            raise OSError(f"the memory of {self.folder} cannot be limited")
        if limit is not None:
            (self.folder / ("memory.limit_in_bytes" if self._v1 else "memory.max")).write_text(str(limit))

    @property
    def peak_bytes(self) -> int:
        """Most memory that its processes ever held."""
        return int((self.folder / ("memory.max_usage_in_bytes" if self._v1 else "memory.peak")).read_text())

    @property
    def kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory."""
        text = (self.folder / ("memory.oom_control" if self._v1 else "memory.events")).read_text()
        return int(dict(line.split() for line in text.splitlines())["oom_kill"])

    def __enter__(self) -> "MemoryGroup":
        return self

    def __exit__(self, *_) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self.folder.rmdir()
                return
            except OSError:  # a process is still ending
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def _own_path(v1: bool) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if ("memory" in controllers.split(",")) if v1 else number == "0":
            return path.lstrip("/")
    return ""

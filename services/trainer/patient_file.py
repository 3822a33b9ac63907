"""An append-only file whose writer outlives a full disk. In: lines. Knows not what they say."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class PatientFile:
    """Lines at the end of a file. Those that cannot be written wait in memory, and go first the next time."""

    def __init__(self, path: Path) -> None:
        self._path, self._waiting = path, b""

    def append(self, line: bytes) -> None:
        """Write a line, with its newline, or let it wait."""
        self._waiting += line
        with contextlib.suppress(OSError):
            self.flush()

    def flush(self) -> None:
        """Write what waits, wholly or not at all; OSError says why not."""
        if not self._waiting:
            return
        with self._path.open("ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                left = memoryview(self._waiting)
                while left:
                    left = left[file.write(left) :]
            except OSError:
                file.truncate(end)
                raise
        self._waiting = b""

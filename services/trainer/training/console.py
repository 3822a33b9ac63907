"""What the process prints, into a file that may be on a full disk: there words are lost, and training goes on."""

from __future__ import annotations

import contextlib
import io
import os


class Console(io.TextIOBase):
    """Standard output that cannot fail.

    Args:
        descriptor: where to write.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> int:
        """Write at once; what cannot be written is lost."""
        with contextlib.suppress(OSError):
            left = text.encode(errors="replace")
            while left:
                left = left[os.write(self._descriptor, left) :]
        return len(text)

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

"""What compiled code was compiled from.

Numba keeps what it compiled under a key that holds the text and the constants of one function. By itself it looks at
the time of that function's file alone, and would run old code after a change of what is called into. A constant made
of all of a package's text keeps that from happening.
"""

from __future__ import annotations

import zlib
from pathlib import Path


def digest(folder: Path) -> int:
    """A number that changes with any of a package's Python files."""
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted(folder.glob("*.py"))))

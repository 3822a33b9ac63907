"""The volume's refusals in words for a caller: it is full, cannot be written, or a file of SQLite on it is damaged.

In: errors of the operating system and of SQLite. Out: errors of services/common/errors.py; those that are no refusal
pass. Knows nothing of what was to be written.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.common.errors import Busy, Corrupt, FailedPrecondition, NonesuchError

RETRY_AFTER_S = 60.0
SQLITE_NEEDS_BYTES = 64 << 10  # to open a catalogue: its shared memory and a page or two

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNWRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_UNWRITABLE_IN_SQLITE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_PERM")


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Raise what the operating system says of writes to `path` in the block as Busy or FailedPrecondition."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _full(path) from error
        if error.errno in _UNWRITABLE:
            raise unwritable(path, error) from error
        raise


@contextmanager
def explained(path: Path, remedy: str, *, reason: str | None = None) -> Iterator[None]:
    """Raise what SQLite says of the file `path` in the block as Busy, FailedPrecondition or Corrupt.

    Args:
        remedy: what helps when it is damaged, besides restoring it.
        reason: of that Corrupt.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        refusal = _refusal(error, path)
        if refusal is None:
            raise
        raise refusal from error
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        message = f"{path} is damaged ({error}); restore it, or {remedy}"
        raise Corrupt(message, reason=reason, metadata={"file": str(path)}) from error


def unwritable(path: Path, error: Exception) -> FailedPrecondition:
    """What to raise where `path` cannot be written."""
    words = getattr(error, "strerror", None) or str(error)
    return FailedPrecondition(
        f"the volume of {path} cannot be written ({words}); mount it writable for the service's user and try again",
        metadata={"file": str(path)},
    )


def _refusal(error: sqlite3.OperationalError, path: Path) -> NonesuchError | None:
    """What SQLite's refusal to read or write a file means; None if it is another error."""
    name = getattr(error, "sqlite_errorname", "")
    # Where there is no room for its shared memory, SQLite speaks of an error of input or output.
    if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and _has_no_room(path.parent)):
        return _full(path)
    return unwritable(path, error) if name.startswith(_UNWRITABLE_IN_SQLITE) else None


def _has_no_room(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < SQLITE_NEEDS_BYTES


def _full(path: Path) -> Busy:
    return Busy(f"the volume of {path} is full; make room and try again", retry_after_s=RETRY_AFTER_S)

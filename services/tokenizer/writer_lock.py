"""Keeps a second tokenizer service off the folders that have one writer."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from services.common.errors import FailedPrecondition


def hold(data: Path) -> IO[bytes]:
    """Lock `data` for this process until the returned file is closed or the process ends, however it ends.

    Raises:
        FailedPrecondition: another process holds it.
    """
    folder = data / "vocabularies"
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / ".writer").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise FailedPrecondition(
            f"another tokenizer service writes to {data}: stop it, or set NONESUCH_DATA to another folder"
        ) from None
    return file

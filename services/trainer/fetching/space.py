"""Whether the disk can hold what is coming."""

from __future__ import annotations

import shutil
from pathlib import Path

from services.common.errors import FailedPrecondition

SPARE_BYTES = 64 << 20  # for manifests, and what else is written meanwhile


def check(folder: Path, needed: int, what: str) -> None:
    """Raise FailedPrecondition unless the disk of `folder` has `needed` bytes and some to spare."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise FailedPrecondition(
            f"{what} needs {(needed + SPARE_BYTES) / 1e9:.2f} GB, and {folder} has {free / 1e9:.2f} GB free: "
            "make room, then fetch again; what has come so far is kept",
            reason="NO_SPACE",
        )

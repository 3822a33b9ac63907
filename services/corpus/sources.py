"""Sources: the bytes of posts as their authors wrote them, each kept once under its SHA-256."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from services.common.errors import Corrupt
from services.common.files import PARTIAL_PREFIX, sync_folder
from services.corpus import volume


class Sources:
    """A folder `<first two digits>/<64 hex digits>`. A file is written beside and renamed, so it is whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, content: bytes) -> str:
        """Keep `content` and return its SHA-256 as 64 hex digits; durable when this returns.

        Raises:
            Busy: the volume is full.
            FailedPrecondition: it cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if self.has(digest):
            return digest
        partial = path.parent / f"{PARTIAL_PREFIX}{uuid.uuid4().hex}"
        with volume.written(self._folder):
            path.parent.mkdir(exist_ok=True)
            try:
                with partial.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                partial.rename(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
            sync_folder(path.parent)
        return digest

    def has(self, digest: str) -> bool:
        """Whether a source of this SHA-256 is kept."""
        return self._path(digest).is_file()

    def get(self, digest: str) -> bytes:
        """Return what was kept.

        Raises:
            Corrupt: the file is missing or not what was written.
        """
        path = self._path(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise Corrupt(f"{path} is missing; import its post again", metadata={"file": str(path)}) from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise Corrupt(
                f"{path} is damaged: its SHA-256 is not its name; delete it and import its post again",
                metadata={"file": str(path)},
            )
        return content

    def digests(self) -> Iterator[str]:
        """The SHA-256 of everything that is kept."""
        for path in self._folder.glob("??/*"):
            if len(path.name) == 64:
                yield path.name

    def remove(self, digest: str) -> None:
        """Forget a source; one that is not there is no error."""
        self._path(digest).unlink(missing_ok=True)

    def remove_partials(self) -> None:
        """Delete what a killed writer left. Only while nothing is written."""
        for path in self._folder.glob(f"??/{PARTIAL_PREFIX}*"):
            path.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

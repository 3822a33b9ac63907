"""Sources: the bytes of posts as their authors wrote them, each kept once under its SHA-256."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

from services.common import volume
from services.common.errors import Corrupt
from services.common.files import PARTIAL_PREFIX, sync_contents, sync_folder

_FILES_AT_A_TIME = 256


class Arrivals:
    """Sources that come one after another: durable once `settle` returned, all of them.

    To wait for the disk after each file takes longer than to clean it; after some, the disk takes them together.
    """

    def __init__(self, sources: Sources, folder: Path) -> None:
        self._sources = sources
        self._folder = folder
        self._mark = uuid.uuid4().hex  # other imports may bring the same
        self._partials: dict[str, Path] = {}  # by SHA-256
        self._folders: set[Path] = set()  # in which names may not be durable yet

    def add(self, content: bytes, digest: str) -> None:
        """Keep `content`, whose SHA-256 is given; one that is there already costs a look.

        Raises:
            Busy: the volume is full.
            FailedPrecondition: it cannot be written.
        """
        if digest in self._partials or self._sources.has(digest):
            return
        folder = self._folder / digest[:2]
        with volume.written(self._folder):
            if folder not in self._folders:
                folder.mkdir(exist_ok=True)
                self._folders.add(folder)
            partial = folder / f"{PARTIAL_PREFIX}{self._mark}-{digest}"
            try:
                partial.write_bytes(content)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        self._partials[digest] = partial
        if len(self._partials) >= _FILES_AT_A_TIME:
            self._name()

    def settle(self) -> None:
        """Make all that came so far durable; raises as `add` does."""
        self._name()
        with volume.written(self._folder):
            for folder in (*self._folders, self._folder):
                sync_folder(folder)
        self._folders.clear()

    def _name(self) -> None:
        """Give the files their names; their content is durable first."""
        with volume.written(self._folder):
            sync_contents(list(self._partials.values()))
            for digest, partial in self._partials.items():
                partial.rename(self._sources.path(digest))
        self._partials.clear()


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
        arrivals = self.arrivals()
        arrivals.add(content, digest)
        arrivals.settle()
        return digest

    def arrivals(self) -> Arrivals:
        """Begin to keep many."""
        return Arrivals(self, self._folder)

    def has(self, digest: str) -> bool:
        """Whether a source of this SHA-256 is kept."""
        return self.path(digest).is_file()

    def get(self, digest: str) -> bytes:
        """Return what was kept.

        Raises:
            Corrupt: the file is missing or not what was written.
        """
        path = self.path(digest)
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
        """The SHA-256 of everything that is kept, those with the same first two digits together."""
        for folder in self._folder.glob("??"):
            yield from [path.name for path in folder.iterdir() if len(path.name) == 64]

    def remove(self, digest: str) -> None:
        """Forget a source; one that is not there is no error."""
        self.path(digest).unlink(missing_ok=True)

    def remove_partials(self) -> None:
        """Delete what a killed writer left. Only while nothing is written."""
        for path in self._folder.glob(f"??/{PARTIAL_PREFIX}*"):
            path.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """Where a source of this SHA-256 lies, if it is kept."""
        return self._folder / digest[:2] / digest

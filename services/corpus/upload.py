"""Upload: what a client sends in one `UploadPosts` call, in order, into one import.

The order is header, then for each file a `FileBegins` and its chunks, or a `FileSkipped`, then `End`.
One post is held at a time. An archive or an export is written to disk first, and its posts come from there.
A stream without its end is one whose client vanished: gRPC may tell that no sooner than that nothing more comes,
so only the end says that the upload is whole.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.common import volume
from services.common.errors import Busy, InvalidRequest, NonesuchError
from services.common.files import check_name
from services.corpus.catalogue import Catalogue
from services.corpus.cleaners import Cleaners
from services.corpus.imports import Import, check_path
from services.corpus.kinds import is_bundle
from services.corpus.opening.opener import OpeningLimits, opened
from services.corpus.reasons import Code, Reason
from services.corpus.reports import Report
from services.corpus.rules import Rules
from services.corpus.settings import CorpusSettings

MAX_CHUNK_BYTES = 1 << 20
DEFAULT_CORPUS = "default"


@dataclass(frozen=True, slots=True)
class Header:
    """What to import into and how; see Import for the fields."""

    corpus: str
    rules: Rules | None
    prune: bool
    unchanged_paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileBegins:
    """The next post begins. `modified_at` is in seconds since 1970, if known."""

    path: str
    modified_at: float | None


@dataclass(frozen=True, slots=True)
class FileSkipped:
    """A file that the client found and left out."""

    path: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Posts, archives and exports that the client has but does not send."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class End:
    """The upload is whole."""


Part = Header | FileBegins | FileSkipped | Unchanged | End | bytes | None


class _Budget:
    """What an upload has used of what it may."""

    def __init__(self, settings: CorpusSettings) -> None:
        self._settings = settings
        self._num_posts = self._num_bytes = self._num_packed_bytes = 0

    def use(self, *, posts: int = 0, content: int = 0, packed: int = 0) -> None:
        """Count posts, bytes of files as they are read, and bytes of archives as they are sent."""
        self._num_posts += posts
        self._num_bytes += content
        self._num_packed_bytes += packed
        most = self._settings.max_upload_bytes
        if self._num_posts > self._settings.max_upload_posts or max(self._num_bytes, self._num_packed_bytes) > most:
            raise Busy(
                f"an upload may hold {self._settings.max_upload_posts} posts and {most} bytes; "
                "send the rest in another one"
            )


class _File:
    """The post that is arriving; what exceeds the limit is counted and let go."""

    def __init__(self, begins: FileBegins, max_bytes: int, budget: _Budget) -> None:
        self._begins = begins
        self._max_bytes = max_bytes
        self._budget = budget
        self._content = bytearray()
        self._num_bytes = 0

    def append(self, chunk: bytes) -> None:
        self._num_bytes += len(chunk)
        self._budget.use(content=len(chunk))
        if self._num_bytes <= self._max_bytes:
            self._content += chunk
        else:
            self._content.clear()

    def into(self, running: Import) -> None:
        """Give the whole post to the import."""
        if self._num_bytes > self._max_bytes:
            message = f"it has {self._num_bytes} bytes, more than the {self._max_bytes} that a post may have"
            running.skip(self._begins.path, Reason(Code.TOO_LARGE, message))
        else:
            running.add(self._begins.path, bytes(self._content), self._begins.modified_at)

    def close(self) -> None:
        self._content.clear()


class _Bundle:
    """The archive or export that is arriving, on disk under no name, so that nothing is left of it whatever happens."""

    def __init__(self, begins: FileBegins, settings: CorpusSettings, budget: _Budget, folder: Path) -> None:
        self._path = begins.path
        self._modified_at = begins.modified_at
        self._settings = settings
        self._budget = budget
        self._folder = folder
        with volume.written(folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close()
        self._hash = hashlib.sha256()
        self._num_bytes = 0

    def append(self, chunk: bytes) -> None:
        self._num_bytes += len(chunk)
        self._budget.use(packed=len(chunk))
        if self._num_bytes > self._settings.max_archive_bytes:
            self._file.truncate(0)
            return
        with volume.written(self._folder):
            self._file.write(chunk)
        self._hash.update(chunk)

    def into(self, running: Import) -> None:
        """Open it and give its posts to the import."""
        settings = self._settings
        digest = self._hash.hexdigest()
        if self._num_bytes > settings.max_archive_bytes:
            message = f"it has {self._num_bytes} bytes, more than the {settings.max_archive_bytes} of an archive"
            running.keep_bundle(self._path, Reason(Code.BAD_ARCHIVE, message))
        elif running.has_bundle(self._path, digest):
            running.keep_bundle(self._path)
        else:
            limits = OpeningLimits(
                max_posts=settings.max_upload_posts,
                max_bytes=settings.max_upload_bytes,
                max_post_bytes=settings.max_post_bytes,
                max_archive_bytes=settings.max_archive_bytes,
                processor_seconds=settings.opening_seconds,
            )
            with volume.written(self._folder), opened(self._file, self._path, limits, self._folder) as found:
                if isinstance(found, Reason):
                    running.keep_bundle(self._path, found)
                    return
                running.begin_bundle(self._path, digest)
                for entry in found:
                    self._budget.use(posts=1, content=len(entry.content))
                    if entry.left_out is not None:
                        running.skip(entry.path, entry.left_out, bundle=self._path)
                    else:
                        modified_at = self._modified_at if entry.modified_at is None else entry.modified_at
                        running.add(entry.path, entry.content, modified_at, bundle=self._path)

    def close(self) -> None:
        with suppress(OSError):  # what it still holds finds no room, and nobody needs it
            self._file.close()


def receive(parts: Iterable[Part], catalogue: Catalogue, cleaners: Cleaners, settings: CorpusSettings) -> Report:
    """Import what a client sends; nothing happened if this raises.

    Args:
        parts: bytes are the next chunk of the file that began last; None is a message that says nothing.

    Raises:
        InvalidRequest: parts out of order, a chunk too large, a path that cannot be a post's.
        Busy: more posts or bytes than the settings allow, or the volume is full.
        FailedPrecondition: a post is said to be unchanged, but is not there, or the volume cannot be written.
    """
    arriving = iter(parts)
    header = next(arriving, None)
    if not isinstance(header, Header):
        raise InvalidRequest("the first message of an upload must be its header", field="header")
    try:
        return _import(header, arriving, catalogue, cleaners, settings)
    except BaseException:
        # What came in would stay until the next start, on a volume that is full because of it. Where even this
        # fails, the next start sweeps.
        with suppress(NonesuchError, OSError):
            catalogue.sweep()
        raise


def _import(
    header: Header, arriving: Iterator[Part], catalogue: Catalogue, cleaners: Cleaners, settings: CorpusSettings
) -> Report:
    with catalogue.importing():
        running = Import(
            catalogue,
            cleaners,
            check_name(header.corpus or DEFAULT_CORPUS, field="header.corpus", kind="corpus"),
            rules=header.rules,
            prune=header.prune,
            unchanged_paths=header.unchanged_paths,
        )
        _receive_posts(arriving, running, settings, catalogue.database.path.parent)
        return running.commit()


def _receive_posts(arriving: Iterator[Part], running: Import, settings: CorpusSettings, folder: Path) -> None:
    file: _File | _Bundle | None = None
    budget = _Budget(settings)
    try:
        for part in arriving:
            if isinstance(part, bytes):
                if file is None:
                    raise InvalidRequest("a chunk came before any file was announced", field="chunk")
                if len(part) > MAX_CHUNK_BYTES:
                    raise InvalidRequest(
                        f"a chunk of {len(part)} bytes is above {MAX_CHUNK_BYTES}; send smaller ones",
                        field="chunk",
                    )
                file.append(part)
            elif isinstance(part, FileBegins | FileSkipped | Unchanged | End):
                if file is not None:
                    file.into(running)
                    file.close()
                    file = None
                if isinstance(part, End):
                    return
                if isinstance(part, Unchanged):
                    running.say_unchanged(part.paths)
                    continue
                budget.use(posts=1)
                if isinstance(part, FileSkipped):
                    running.skip(part.path, part.reason)
                elif is_bundle(check_path(part.path)):
                    file = _Bundle(part, settings, budget, folder)
                else:
                    file = _File(part, settings.max_post_bytes, budget)
            else:
                raise InvalidRequest(
                    "the header comes once, as the first message; then files, chunks and skipped files; then the end",
                    field="part",
                )
        raise InvalidRequest("the upload broke off: its last message must be its end; nothing was changed", field="end")
    finally:
        if file is not None:
            file.close()

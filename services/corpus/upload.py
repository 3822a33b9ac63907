"""Upload: what a client sends in one `UploadPosts` call, in order, into one import.

The order is header, then for each post a `FileBegins` and its chunks, or a `FileSkipped`, then `End`.
One post is held at a time. A stream without its end is one whose client vanished: gRPC may tell that no sooner
than that nothing more comes, so only the end says that the upload is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from services.common.errors import Busy, InvalidRequest, NonesuchError
from services.common.files import check_name
from services.corpus.catalogue import Catalogue
from services.corpus.cleaners import Cleaners
from services.corpus.imports import Import
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
class End:
    """The upload is whole."""


Part = Header | FileBegins | FileSkipped | End | bytes | None


class _File:
    """The post that is arriving; what exceeds the limit is counted and let go."""

    def __init__(self, begins: FileBegins, max_bytes: int) -> None:
        self._begins = begins
        self._max_bytes = max_bytes
        self._content = bytearray()
        self._num_bytes = 0

    def append(self, chunk: bytes) -> None:
        self._num_bytes += len(chunk)
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
        _receive_posts(arriving, running, settings)
        return running.commit()


def _receive_posts(arriving: Iterator[Part], running: Import, settings: CorpusSettings) -> None:
    file: _File | None = None
    num_posts = num_bytes = 0
    for part in arriving:
        if isinstance(part, bytes):
            if file is None:
                raise InvalidRequest("a chunk came before any file was announced", field="chunk")
            if len(part) > MAX_CHUNK_BYTES:
                raise InvalidRequest(
                    f"a chunk of {len(part)} bytes is above {MAX_CHUNK_BYTES}; send smaller ones",
                    field="chunk",
                )
            num_bytes += len(part)
            file.append(part)
        elif isinstance(part, FileBegins | FileSkipped | End):
            if file is not None:
                file.into(running)
            file = _File(part, settings.max_post_bytes) if isinstance(part, FileBegins) else None
            if isinstance(part, End):
                return
            num_posts += 1
            if isinstance(part, FileSkipped):
                running.skip(part.path, part.reason)
        else:
            raise InvalidRequest(
                "the header comes once, as the first message; then files, chunks and skipped files; then the end",
                field="part",
            )
        if num_posts > settings.max_upload_posts or num_bytes > settings.max_upload_bytes:
            raise Busy(
                f"an upload may hold {settings.max_upload_posts} posts and {settings.max_upload_bytes} "
                "bytes; send the rest in another one"
            )
    raise InvalidRequest("the upload broke off: its last message must be its end; nothing was changed", field="end")

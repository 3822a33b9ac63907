"""Upload: the messages of one `UploadPosts` call, in order, into one import.

The order is header, then for each post a `file` and its chunks, or a `skipped`. One post is held at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from protos import corpus_pb2 as pb
from services.common.errors import Busy, InvalidRequest
from services.common.files import check_name
from services.corpus import messages
from services.corpus.catalogue import Catalogue
from services.corpus.cleaners import Cleaners
from services.corpus.imports import Import, Report
from services.corpus.reasons import Code, Reason
from services.corpus.settings import CorpusSettings

MAX_CHUNK_BYTES = 1 << 20
DEFAULT_CORPUS = "default"


class _File:
    """The post that is arriving; what exceeds the limit is counted and let go."""

    def __init__(self, announced: pb.UploadFile, max_bytes: int) -> None:
        self.path = announced.path
        self.modified_at = (
            announced.modified_at.ToMicroseconds() / 1e6 if announced.HasField("modified_at") else None
        )
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
            running.skip(self.path, Reason(Code.TOO_LARGE, message))
        else:
            running.add(self.path, bytes(self._content), self.modified_at)


def receive(
    requests: Iterable[pb.UploadPostsRequest],
    catalogue: Catalogue,
    cleaners: Cleaners,
    settings: CorpusSettings,
) -> Report:
    """Import what a client sends; nothing happened if this raises.

    Raises:
        InvalidRequest: messages out of order, a chunk too large, a path that cannot be a post's.
        Busy: more posts or bytes than the settings allow.
    """
    arriving = iter(requests)
    first = next(arriving, None)
    if first is None or first.WhichOneof("part") != "header":
        raise InvalidRequest("the first message of an upload must be its header", field="header")
    header = first.header
    with catalogue.importing():
        running = Import(
            catalogue,
            cleaners,
            check_name(header.corpus or DEFAULT_CORPUS, field="header.corpus", kind="corpus"),
            rules=messages.read_rules(header.rules) if header.HasField("rules") else None,
            prune=header.prune,
            unchanged_paths=header.unchanged_paths,
        )
        _receive_posts(arriving, running, settings)
        return running.commit()


def _receive_posts(
    arriving: Iterator[pb.UploadPostsRequest], running: Import, settings: CorpusSettings
) -> None:
    file: _File | None = None
    num_posts = num_bytes = 0
    for request in arriving:
        part = request.WhichOneof("part")
        if part == "chunk":
            if file is None:
                raise InvalidRequest("a chunk came before any file was announced", field="chunk")
            if len(request.chunk) > MAX_CHUNK_BYTES:
                raise InvalidRequest(
                    f"a chunk of {len(request.chunk)} bytes is above {MAX_CHUNK_BYTES}; send smaller ones",
                    field="chunk",
                )
            num_bytes += len(request.chunk)
            file.append(request.chunk)
        elif part in ("file", "skipped"):
            if file is not None:
                file.into(running)
            file = _File(request.file, settings.max_post_bytes) if part == "file" else None
            num_posts += 1
            if part == "skipped":
                running.skip(request.skipped.path, messages.read_reason(request.skipped.reason))
        else:
            raise InvalidRequest(
                "the header comes once, as the first message; then files, chunks and skipped files",
                field="part",
            )
        if num_posts > settings.max_upload_posts or num_bytes > settings.max_upload_bytes:
            raise Busy(
                f"an upload may hold {settings.max_upload_posts} posts and {settings.max_upload_bytes} bytes; "
                "send the rest in another one"
            )
    if file is not None:
        file.into(running)

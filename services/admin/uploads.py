"""An upload from a browser as the messages of UploadPosts.

In: the files of a multipart form, whose names are paths, and what the page's script left out. Out: header,
files in chunks, skipped files, end. What is a post is the corpus service's business.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from werkzeug.datastructures import FileStorage

from protos import corpus_pb2
from services.common.errors import InvalidRequest

CHUNK_BYTES = 512 << 10
MAX_SKIPPED = 20_000

_CODES = {"TOO_LARGE", "UNKNOWN_KIND", "UNREADABLE"}


def read_skipped(text: str) -> list[corpus_pb2.SkippedFile]:
    """Parse the list of files that the page's script did not send.

    Args:
        text: JSON: a list of [path, code, message], code being TOO_LARGE, UNKNOWN_KIND or UNREADABLE.

    Raises:
        InvalidRequest: it is something else.
    """
    try:
        entries = json.loads(text)
        skipped = []
        for path, code, message in entries[:MAX_SKIPPED]:
            if code not in _CODES:
                raise ValueError(code)
            reason = corpus_pb2.Reason(code=f"REASON_CODE_{code}", message=message)
            skipped.append(corpus_pb2.SkippedFile(path=path, reason=reason))
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"the list of files left out cannot be read ({error}); reload the page") from None
    return skipped


def relative_paths(names: Sequence[str]) -> list[str]:
    """Paths relative to the dropped folder: its own name is taken off when every path begins with it."""
    paths = [name.replace("\\", "/").removeprefix("./") for name in names]
    heads = {path.partition("/")[0] for path in paths}
    if len(heads) == 1 and all("/" in path for path in paths):
        return [path.partition("/")[2] for path in paths]
    return paths


def messages(
    corpus: str, files: Sequence[FileStorage], skipped: Sequence[corpus_pb2.SkippedFile]
) -> Iterator[corpus_pb2.UploadPostsRequest]:
    """The stream of an upload."""
    yield corpus_pb2.UploadPostsRequest(header=corpus_pb2.UploadHeader(corpus=corpus))
    names = [*(file.filename or "" for file in files), *(entry.path for entry in skipped)]
    paths = relative_paths(names)
    for file, path in zip(files, paths, strict=False):
        yield corpus_pb2.UploadPostsRequest(file=corpus_pb2.UploadFile(path=path))
        while chunk := file.stream.read(CHUNK_BYTES):
            yield corpus_pb2.UploadPostsRequest(chunk=chunk)
    for entry, path in zip(skipped, paths[len(files) :], strict=True):
        yield corpus_pb2.UploadPostsRequest(skipped=corpus_pb2.SkippedFile(path=path, reason=entry.reason))
    yield corpus_pb2.UploadPostsRequest(end=corpus_pb2.UploadEnd())

"""Sends posts to the corpus service: only those that it lacks, in chunks, with everything left out on record.

In: what folder.py found. Out: the service's import report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from protos import corpus_pb2
from services.client.connection import Connection
from services.client.folder import Findings, LeftOut, PostFile
from services.client.progress import Progress, silent
from services.common.errors import InvalidRequest

CHUNK_BYTES = 256 << 10  # a quarter of what the service takes, so that progress moves on slow lines
CHECK_BATCH = 5000  # paths a message, with hashes or without: mostly below 1 MiB
IMPORT_S = 600.0  # for cleaning on the service's side, beside the time on the line
SLOWEST_BYTES_PER_S = 64 << 10


def upload(
    connection: Connection,
    found: Findings,
    *,
    corpus: str = "default",
    prune: bool = False,
    on_progress: Progress = silent,
) -> corpus_pb2.ImportReport:
    """Bring a corpus up to what was found.

    Args:
        found: posts to send, and files left out for the report.
        prune: remove the corpus's posts that were not found.
        on_progress: told bytes read, bytes sent, and when the service cleans.

    Raises:
        InvalidRequest: `prune` with nothing found, which would empty the corpus.
    """
    if prune and not found.posts:
        raise InvalidRequest(
            "no post was found, and pruning would remove every post of the corpus; check the folder",
            field="prune",
        )
    needed, unreadable = _needed(connection, found, corpus, on_progress)
    total = sum(post.size_bytes for post in needed)
    lacking = {post.path for post in needed} | {entry.path for entry in unreadable}
    unchanged = [post.path for post in found.posts if post.path not in lacking]
    header = corpus_pb2.UploadHeader(corpus=corpus, prune=prune)
    response: corpus_pb2.UploadPostsResponse = connection.corpus.UploadPosts(
        _messages(header, unchanged, needed, [*found.left_out, *unreadable], total, on_progress),
        timeout_s=IMPORT_S + total / SLOWEST_BYTES_PER_S,
    )
    return response.report


def set_rules(connection: Connection, corpus: str, rules: corpus_pb2.CleaningRules) -> corpus_pb2.ImportReport:
    """Give a corpus other rules and return what became of its posts. Posts are cleaned anew where that is needed."""
    header = corpus_pb2.UploadHeader(corpus=corpus, rules=rules)
    response: corpus_pb2.UploadPostsResponse = connection.corpus.UploadPosts(
        _messages(header, [], [], [], 0, silent), timeout_s=IMPORT_S
    )
    return response.report


def _needed(
    connection: Connection, found: Findings, corpus: str, on_progress: Progress
) -> tuple[list[PostFile], list[LeftOut]]:
    """The posts whose content the service does not have, and those that could not be read."""
    hashes: list[corpus_pb2.PostHash] = []
    unreadable: list[LeftOut] = []
    total = sum(post.size_bytes for post in found.posts)
    done = 0
    for post in found.posts:
        on_progress("reading posts", done, total)
        digest = _digest(post)
        if isinstance(digest, LeftOut):
            unreadable.append(digest)
        else:
            hashes.append(corpus_pb2.PostHash(path=post.path, sha256=digest))
        done += post.size_bytes
    on_progress("reading posts", total, total)
    paths: set[str] = set()
    for start in range(0, len(hashes), CHECK_BATCH):
        request = corpus_pb2.CheckPostsRequest(corpus=corpus, posts=hashes[start : start + CHECK_BATCH])
        paths.update(connection.corpus.CheckPosts(request).needed_paths)
    return [post for post in found.posts if post.path in paths], unreadable


def _messages(
    header: corpus_pb2.UploadHeader,
    unchanged: list[str],
    posts: list[PostFile],
    left_out: list[LeftOut],
    total: int,
    on_progress: Progress,
) -> Iterator[corpus_pb2.UploadPostsRequest]:
    """An upload's stream: header, what need not be sent, files and chunks, what was left out. Runs in grpc's thread."""
    yield corpus_pb2.UploadPostsRequest(header=header)
    for start in range(0, len(unchanged), CHECK_BATCH):
        paths = unchanged[start : start + CHECK_BATCH]
        yield corpus_pb2.UploadPostsRequest(unchanged=corpus_pb2.UnchangedPaths(paths=paths))
    done = 0
    for post in posts:
        on_progress("sending posts", done, total)
        try:
            chunks = _chunks(post)
        except OSError as error:
            yield corpus_pb2.UploadPostsRequest(skipped=_skipped(_unreadable(post, error)))
            continue
        announced = corpus_pb2.UploadFile(path=post.path)
        announced.modified_at.FromMilliseconds(round(post.modified_s * 1000))
        yield corpus_pb2.UploadPostsRequest(file=announced)
        for chunk in chunks:
            yield corpus_pb2.UploadPostsRequest(chunk=chunk)
            done += len(chunk)
            on_progress("sending posts", done, total)
    for entry in left_out:
        yield corpus_pb2.UploadPostsRequest(skipped=_skipped(entry))
    on_progress("cleaning posts", 0, 0)
    yield corpus_pb2.UploadPostsRequest(end=corpus_pb2.UploadEnd())


def _digest(post: PostFile) -> bytes | LeftOut:
    """SHA-256 of a file, whatever its size."""
    try:
        with post.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        return _unreadable(post, error)


def _chunks(post: PostFile) -> Iterator[bytes]:
    """A file in pieces. A post is read before it is announced: it may vanish between two looks."""
    if post.is_bundle:
        return _pieces(post.file.open("rb"))
    content = post.file.read_bytes()
    return (content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES))


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """An archive in pieces. One that cannot be read to its end is refused by the service as cut off."""
    with file, suppress(OSError):
        while piece := file.read(CHUNK_BYTES):
            yield piece


def _unreadable(post: PostFile, error: OSError) -> LeftOut:
    return LeftOut(post.path, "UNREADABLE", error.strerror or str(error))


def _skipped(entry: LeftOut) -> corpus_pb2.SkippedFile:
    code = f"REASON_CODE_{entry.code}"
    return corpus_pb2.SkippedFile(path=entry.path, reason=corpus_pb2.Reason(code=code, message=entry.message))

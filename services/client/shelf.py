"""The shelf: generated posts that wait for a person's word.

    nonesuch.shelf.add(request, response)
    for post in nonesuch.shelf.approved(): ...               # the oldest first
    nonesuch.shelf.release(post.id, "_posts/2024-05-01-the-heron.md")

Returns messages of protos/shelf.proto.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from protos import generator_pb2, shelf_pb2
from services.blog.style import is_named_by_folder
from services.client import post_writing, writing
from services.client.connection import Connection, pages
from services.common.errors import Busy, Unavailable

MAX_FILE_NAME = 120
SUFFIXES = (".md", ".markdown", ".mdx", ".rst", ".txt", ".html")
STATES = {
    "waiting": shelf_pb2.SHELF_STATE_WAITING,
    "approved": shelf_pb2.SHELF_STATE_APPROVED,
    "rejected": shelf_pb2.SHELF_STATE_REJECTED,
    "released": shelf_pb2.SHELF_STATE_RELEASED,
}
SHELF_FULL = "SHELF_FULL"  # reason of a Busy that lasts until a person makes room
PAUSE_S = 1.0
ADD_PATIENCE_S = 90.0  # a post that took long to write is not given up for a service that restarts


class Shelf:
    """The posts on the shelf."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(
        self,
        request: generator_pb2.GeneratePostRequest,
        response: generator_pb2.GeneratePostResponse,
        *,
        note: str = "",
        patience_s: float = ADD_PATIENCE_S,
    ) -> shelf_pb2.ShelfPost:
        """Put a generated post on the shelf, to wait for approval.

        Args:
            request: what asked for it.
            patience_s: how long to try again while the service starts or its volume is full.
        """
        # The same name in each try: a post that was added although the answer got lost is not added twice.
        wanted = shelf_pb2.AddPostRequest(request=request, response=response, note=note, uuid=str(uuid.uuid4()))
        deadline = time.monotonic() + patience_s
        while True:
            try:
                added: shelf_pb2.ShelfPost = self._connection.shelf.AddPost(wanted).post
                return added
            except (Busy, Unavailable) as error:
                is_final = error.reason == SHELF_FULL
                pause_s = error.retry_after_s or PAUSE_S
                if is_final or time.monotonic() + pause_s > deadline:
                    raise
            time.sleep(pause_s)

    def write(
        self, request: generator_pb2.GeneratePostRequest, *, patience_s: float = 0.0, until_published: bool = False
    ) -> shelf_pb2.ShelfPost:
        """Have a post written and put on the shelf, with its originality where the model can tell it.

        Args:
            patience_s: how long to ask again while the generator's queue is full or a service or the model starts.
            until_published: also while the model is not there yet.
        """
        # The patience ends where the post is there: for a shelf that is full it would be written over and over.
        return self.add(*self.compose(request, patience_s=patience_s, until_published=until_published))

    def compose(
        self, request: generator_pb2.GeneratePostRequest, *, patience_s: float = 0.0, until_published: bool = False
    ) -> tuple[generator_pb2.GeneratePostRequest, generator_pb2.GeneratePostResponse]:
        """As `write`, for a caller that puts the post on the shelf itself: what `add` takes.

        Raises:
            Busy: the shelf is full; told before minutes go into a post.
        """
        wanted = shelf_pb2.ListPostsRequest(page_size=1)
        listed = writing.patiently(
            lambda: self._connection.shelf.ListPosts(wanted), patience_s, until_published=until_published
        )
        if listed.HasField("room_left") and not listed.room_left:
            raise Busy(
                "the shelf is full; remove some posts, such as rejected ones with `nonesuch shelf remove`, or raise "
                "NONESUCH_CORPUS_MAX_SHELF_POSTS",
                reason=SHELF_FULL,
            )
        return writing.patiently(
            lambda: post_writing.write_post(self._connection, request), patience_s, until_published=until_published
        )

    def posts(
        self, states: Iterable[str] = (), *, model: str = "", oldest_first: bool = False, bodies: bool = False
    ) -> Iterator[shelf_pb2.ShelfPost]:
        """Yield the posts, newest first, without what is heavy.

        Args:
            states: only those in one of these, of STATES; none is all.
            model: only those that it wrote; empty is any.
            bodies: with their bodies.
        """
        request = shelf_pb2.ListPostsRequest(
            states=[STATES[state] for state in states], model=model, oldest_first=oldest_first, include_body=bodies
        )
        return pages(self._connection.shelf.ListPosts, request, "posts")

    def approved(self, *, model: str = "") -> Iterator[shelf_pb2.ShelfPost]:
        """Yield the posts that may be released, the oldest first, without what is heavy: `get` returns one whole."""
        return self.posts(["approved"], model=model, oldest_first=True)

    def get(self, number: int) -> shelf_pb2.ShelfPost:
        """Return one post, whole."""
        found: shelf_pb2.ShelfPost = self._connection.shelf.GetPost(shelf_pb2.GetPostRequest(id=number)).post
        return found

    def approve(self, number: int, *, note: str | None = None) -> shelf_pb2.ShelfPost:
        """Let a post be released. A note goes in place of the one before."""
        return self.review(number, "approved", note=note)

    def reject(self, number: int, *, note: str | None = None) -> shelf_pb2.ShelfPost:
        """Keep a post from being released. A note goes in place of the one before."""
        return self.review(number, "rejected", note=note)

    def reopen(self, number: int, *, note: str | None = None) -> shelf_pb2.ShelfPost:
        """Let a post wait for a decision again. A note goes in place of the one before."""
        return self.review(number, "waiting", note=note)

    def review(self, number: int, state: str, *, note: str | None = None) -> shelf_pb2.ShelfPost:
        """Give a post a state of STATES other than `released`."""
        request = shelf_pb2.ReviewPostRequest(id=number, state=STATES[state], note=note)
        reviewed: shelf_pb2.ShelfPost = self._connection.shelf.ReviewPost(request).post
        return reviewed

    def release(self, number: int, path: str = "") -> shelf_pb2.ShelfPost:
        """Note that an approved post went out now, and where to. It must be written there by the caller, before."""
        request = shelf_pb2.ReleasePostRequest(id=number, path=path)
        released: shelf_pb2.ShelfPost = self._connection.shelf.ReleasePost(request).post
        return released

    def remove(self, number: int) -> None:
        """Take a post off the shelf for good."""
        self._connection.shelf.DeletePost(shelf_pb2.DeletePostRequest(id=number))


def file_name(post: shelf_pb2.ShelfPost) -> str:
    """A name for a post's file, made of the path that the blog would give it.

    The path came from a model: only letters, digits, `.`, `_`, `-` and spaces within it get into the name, which
    begins with neither a dot nor a dash and has a suffix of SUFFIXES.
    """
    parts = [_plain(part) for part in post.response.path.replace("\\", "/").split("/")]
    names = [part for part in parts if part] or [""]
    suffix = PurePosixPath(names[-1]).suffix
    if suffix.lower() not in SUFFIXES:
        suffix, stem = ".md", names[-1]
    else:
        stem = names[-1].removesuffix(suffix)
    if len(names) > 1 and is_named_by_folder(stem):
        stem = names[-2]
    return f"{stem[:MAX_FILE_NAME].strip('. ') or f'post-{post.id}'}{suffix}"


def _plain(part: str) -> str:
    return re.sub(r"[^\w. -]+", "", part).rstrip(". ").lstrip(".- ")

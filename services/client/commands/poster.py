"""Writes whole posts onto the shelf and releases the approved ones, once or each time that one is due."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from datetime import date as Date
from pathlib import Path
from typing import Any

import click

from protos import generator_pb2, shelf_pb2
from services.client.commands import borrowed, terminal
from services.client.nonesuch import Nonesuch
from services.client.releasing import FOLDER_AWAY, free_day, release, take_back
from services.client.shelf import SHELF_FULL
from services.common.errors import Busy, Cancelled, FailedPrecondition, NonesuchError, NotFound, Unavailable

LOOK_S = 60.0  # between looks for a word of yours, and for the time to release
NAMING = ("title", "tags", "opening")  # fields that say which post, where the others say how it is written
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0  # after a service or the folder was away


@dataclass(frozen=True, slots=True)
class Blog:
    """Where posts are released to, and how.

    Args:
        every: days between posts.
        approves: nobody is asked.
    """

    folder: Path
    every: int
    approves: bool


class Poster:
    """Writes posts onto the shelf, and releases them.

    Args:
        writing_options: those of the command that say how a post is written, and nothing of one that is there.
    """

    def __init__(
        self,
        nonesuch: Nonesuch,
        request: Any,
        *,
        writing_options: Sequence[str],
        patience_s: float,
        wait: bool,
        as_json: bool,
    ) -> None:
        self._shelf, self._request = nonesuch.shelf, request
        self._patience_s, self._wait, self._as_json = patience_s, wait, as_json
        self._writing_options = writing_options
        self._told = 0  # the post that was said to wait
        self._known: set[int] = set()  # posts that were written here, or of which it was told what is not used
        self._num_written = 0

    def write(self) -> shelf_pb2.ShelfPost:
        """Have a post written and put on the shelf; of several with a seed each has its own."""
        request = type(self._request)()
        request.CopyFrom(self._request)
        if request.HasField("seed"):
            request.seed = (request.seed + self._num_written) % (1 << 64)
        with terminal.progress() as on_progress:
            on_progress("writing a post", 0, 0)
            written = self._shelf.compose(request, patience_s=self._patience_s, until_published=self._wait)
        self._num_written += 1
        try:
            post = self._shelf.add(*written)
        except (NonesuchError, KeyboardInterrupt):  # what took minutes is not lost
            self._show_file(written[1])
            raise
        self._known.add(post.id)
        return post

    def _show_file(self, answer: generator_pb2.GeneratePostResponse) -> None:
        terminal.note("the post could not be put on the shelf; this is its file")
        if self._as_json:
            terminal.print_json_line(answer)
        else:
            terminal.say(answer.markdown)

    def show(self, post: shelf_pb2.ShelfPost) -> None:
        """Print a post that waits on the shelf."""
        if self._as_json:
            terminal.print_json_line(post)
            return
        borrowed.show_post(post.response)
        terminal.note(f"post {post.id} waits on the shelf; `nonesuch shelf approve {post.id}` lets it be released")

    def release_one(self, blog: Blog, *, asks: bool = True) -> None:
        """Release the oldest approved post; where none is, see that one waits.

        Args:
            asks: on a terminal, whether the one that waits may be released.
        """
        approved = self._from_shelf("approved") or self._approve_one(blog, asks=asks)
        if approved is None:
            return
        day = free_day(blog.folder, Date.today())
        path, is_new = release(blog.folder, self._shelf.get(approved.id), day)
        try:
            released = self._shelf.release(approved.id, path)
        except (NotFound, FailedPrecondition):
            if is_new:  # and somebody decided about it since it was listed
                take_back(blog.folder, path)
            raise
        if self._as_json:
            terminal.print_json_line(released)
        else:
            terminal.say(str(blog.folder / path))

    def _approve_one(self, blog: Blog, *, asks: bool) -> shelf_pb2.ShelfPost | None:
        """The oldest post that waits, or a new one, once it is approved."""
        free_day(blog.folder, Date.today())  # a folder that is not there is told before anything is written
        post = self._from_shelf("waiting") or self.write()
        if blog.approves:
            return self._shelf.approve(post.id)
        if not (asks and sys.stdin.isatty() and sys.stderr.isatty()) or self._as_json:
            if post.id != self._told:
                self._told = post.id
                terminal.note(
                    f"post {post.id} waits for your word: `nonesuch shelf show {post.id}`, then "
                    f"`nonesuch shelf approve {post.id}`, or the page's shelf"
                )
            return None
        self.show(self._shelf.get(post.id))
        if click.confirm("Release it?", err=True):
            return self._shelf.approve(post.id)
        self._shelf.reject(post.id)
        terminal.note(f"post {post.id} is rejected; ask again for another")
        return None

    def _from_shelf(self, state: str) -> shelf_pb2.ShelfPost | None:
        """The oldest post in this state that was asked for with what is given here."""
        listed = self._shelf.posts([state], model=self._request.model, oldest_first=True)
        found = next((post for post in listed if _is_asked_for(self._request, post)), None)
        if found is not None and self._writing_options and found.id not in self._known:
            self._known.add(found.id)
            unused = ", ".join(self._writing_options)
            terminal.note(f"post {found.id} is on the shelf already; not used for it: {unused}")
        return found

    def go_on(self, blog: Blog, look_s: float = LOOK_S) -> None:
        """Release a post each time that it is due, until Ctrl-C. What may pass by itself is tried again."""
        free_day(blog.folder, Date.today())  # a folder that was never there is rather one that was mistyped
        away_s = FIRST_PAUSE_S
        while True:
            try:
                if self._is_due(blog.every):
                    self.release_one(blog, asks=False)
                away_s, pause_s = FIRST_PAUSE_S, look_s
            except NonesuchError as error:
                if _is_decided(error):
                    terminal.note(f"{error.message}; looking for another")
                    pause_s = look_s
                elif _may_pass(error):
                    if away_s == FIRST_PAUSE_S:  # once for each time that it is away
                        terminal.note(f"{error.message}; trying again until it works")
                    pause_s, away_s = away_s, min(LONGEST_PAUSE_S, 2 * away_s)
                else:
                    raise
            time.sleep(pause_s)

    def _is_due(self, days: int) -> bool:
        """Whether the last release was so many days ago."""
        released = self._shelf.posts(["released"], model=self._request.model)
        days_of = [post.released_at.ToDatetime(UTC).astimezone().date() for post in released]
        return not days_of or (Date.today() - max(days_of)).days >= days


def _is_asked_for(request: Any, post: shelf_pb2.ShelfPost) -> bool:
    """Whether a post has all that a request names: title, tags, first words, and the model's version."""
    asked, model = post.request, post.response.model
    named = all(getattr(asked, field) == getattr(request, field) for field in NAMING if getattr(request, field))
    match request.WhichOneof("version_choice"):
        case "version":
            return named and model.version == request.version
        case "alias":
            return named and asked.alias == request.alias
    return named


def _is_decided(error: NonesuchError) -> bool:
    """Whether somebody rejected, released or removed the post since it was listed."""
    return error.reason in ("NOT_APPROVED", "RELEASED") or (isinstance(error, NotFound) and "post" in error.metadata)


def _may_pass(error: NonesuchError) -> bool:
    """Whether a service, the folder or its disk is away or has no room; on the shelf only a person makes room."""
    is_away = isinstance(error, Unavailable | Cancelled | Busy) or error.reason == FOLDER_AWAY
    return is_away and error.reason != SHELF_FULL

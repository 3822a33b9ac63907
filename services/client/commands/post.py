"""`nonesuch post`: have whole posts written onto the shelf, and release the approved ones into a blog."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from datetime import date as Date
from pathlib import Path
from typing import Any

import click

from protos import shelf_pb2
from services.client.commands import borrowed, terminal
from services.client.commands.generate import generator_option
from services.client.commands.writer import WAIT_S
from services.client.connection import Service
from services.client.nonesuch import MODEL_PATIENCE_S, Nonesuch
from services.client.post_writing import make_post_request
from services.client.releasing import FOLDER_AWAY, free_day, release, take_back
from services.client.shelf import SHELF_FULL
from services.common.errors import Busy, Cancelled, FailedPrecondition, NonesuchError, NotFound, Unavailable

LOOK_S = 60.0  # between looks for a word of yours, and for the time to release
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0  # after a service or the folder was away
_EVERY = re.compile(r"(?:(\d{1,4})\s*)?(day|week)s?")

# Field of GeneratePostRequest or SamplingParameters, option, type, help.
_OPTIONS: tuple[tuple[str, str, Any, str], ...] = (
    ("title", "--title", str, "Its title.  [default: invented]"),
    ("date", "--date", str, "Its date, YYYY-MM-DD.  [default: invented; with --into the next free day]"),
    ("opening", "--opening", str, "First words of the body."),
    ("max_new_tokens", "--length", int, "Most tokens of the body.  [default: what the server allows]"),
    ("temperature", "--temperature", float, "Above 1 is wilder, below 1 tamer, 0 always the likeliest."),
    ("top_k", "--top-k", int, "Choose among the K likeliest tokens; 0 among all.  [default: 40]"),
    ("top_p", "--top-p", float, "Choose among the likeliest tokens that make up P.  [default: 1]"),
    ("max_verbatim_tokens", "--max-verbatim-tokens", int, "Longest run of tokens that may stand in the corpus."),
    ("seed", "--seed", int, "Same seed, same post."),
)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for name, option, kind, help_text in reversed(_OPTIONS):
        command = click.option(option, name, type=kind, help=help_text)(command)
    return command


def _every(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Days between posts."""
    if value is None:
        return None
    found = _EVERY.fullmatch(value.strip())
    days = int(found[1] or 1) * (7 if found[2] == "week" else 1) if found else 0
    if not days:
        raise click.BadParameter(f"{value!r}: expected day, week, or a number of them such as '3 days'")
    return days


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


@click.command(short_help="Have a whole post written, and release approved ones into a blog.")
@_options
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag. May be repeated.  [default: invented]")
@click.option("-n", "num_posts", type=click.IntRange(min=1), default=1, show_default=True, help="Posts to write.")
@click.option("--model", default="", metavar="NAME[@VERSION]", help="Which model.  [default: the one published last]")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Release an approved post, of --model if that is given, into this blog's folder; write one where none waits.",
)
@click.option(
    "--every", metavar="TIME", callback=_every, help="With --into: go on, a post every day, week or '3 days'."
)
@click.option("--approve", is_flag=True, help="With --into: release what is written without a word of yours.")
@click.option("--wait", is_flag=True, help=f"Wait up to {WAIT_S:.0f} s for a model that was just published.")
@generator_option
@terminal.json_option
@click.pass_obj
def post(
    nonesuch: Nonesuch,
    /,
    tags: tuple[str, ...],
    num_posts: int,
    model: str,
    into: Path | None,
    every: int | None,
    approve: bool,
    wait: bool,
    generator: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Have whole posts written. They go on the shelf and wait there for your word.

    \b
      nonesuch post --title "The heron"          write one and read it
      nonesuch shelf approve 1                   it may be released
      nonesuch post --into ~/blog                release the oldest that is approved
      nonesuch post --into ~/blog --every day    and one each day from now on

    What is released gets the next free day, a file name and front matter in the blog's habit, and says in it which
    model wrote it.
    """
    if into is None and (every or approve):
        raise click.UsageError("--every and --approve belong to --into FOLDER")
    if into is not None and num_posts > 1:
        raise click.UsageError("--into releases one post at a time; leave -n out")
    if into is not None and options["date"]:
        raise click.UsageError("--into gives each post the next free day; leave --date out")
    if generator:
        nonesuch.connection.generator = Service("generator", generator)
    try:
        request = make_post_request(model=model, tags=tags, **options)
    except ValueError as error:  # a number too large for the field
        raise click.UsageError(str(error)) from None
    poster = _Poster(nonesuch, request, patience_s=WAIT_S if wait else MODEL_PATIENCE_S, wait=wait, as_json=as_json)
    if into is None:
        for _ in range(num_posts):
            poster.show(poster.write())
        return
    blog = Blog(into.expanduser(), every or 1, approve)
    if every is None:
        poster.release_one(blog)
    else:
        poster.go_on(blog)


class _Poster:
    """Writes posts onto the shelf, and releases them."""

    def __init__(self, nonesuch: Nonesuch, request: Any, *, patience_s: float, wait: bool, as_json: bool) -> None:
        self._shelf, self._request = nonesuch.shelf, request
        self._patience_s, self._wait, self._as_json = patience_s, wait, as_json
        self._told = 0  # the post that was said to wait
        self._num_written = 0

    def write(self) -> shelf_pb2.ShelfPost:
        """Have a post written and put on the shelf; of several with a seed each has its own."""
        request = type(self._request)()
        request.CopyFrom(self._request)
        if request.HasField("seed"):
            request.seed = (request.seed + self._num_written) % (1 << 64)
        with terminal.progress() as on_progress:
            on_progress("writing a post", 0, 0)
            post = self._shelf.write(request, patience_s=self._patience_s, until_published=self._wait)
        self._num_written += 1
        return post

    def show(self, post: shelf_pb2.ShelfPost) -> None:
        """Print a post that waits on the shelf."""
        if self._as_json:
            terminal.print_json_line(post)
            return
        answer = post.response
        terminal.print_post(answer.text or answer.body, marked=borrowed.spans(answer.originality))
        if answer.HasField("originality"):
            borrowed.note(answer.text, answer.originality)
        terminal.note(f"post {post.id} waits on the shelf; `nonesuch shelf approve {post.id}` lets it be released")

    def release_one(self, blog: Blog, *, asks: bool = True) -> None:
        """Release the oldest approved post; where none is, see that one waits.

        Args:
            asks: on a terminal, whether the one that waits may be released.
        """
        approved = next(self._shelf.approved(model=self._request.model), None) or self._approve_one(blog, asks=asks)
        if approved is None:
            return
        day = free_day(blog.folder, Date.today())
        path, is_new = release(blog.folder, self._shelf.get(approved.id), day)
        try:
            released = self._shelf.release(approved.id, path)
        except (
            NotFound,
            FailedPrecondition,
        ):  # rejected or removed since it was listed
            if is_new:
                take_back(blog.folder, path)
            raise
        if self._as_json:
            terminal.print_json_line(released)
        else:
            terminal.say(str(blog.folder / path))

    def _approve_one(self, blog: Blog, *, asks: bool) -> shelf_pb2.ShelfPost | None:
        """The oldest post that waits, or a new one, once it is approved."""
        free_day(blog.folder, Date.today())  # a folder that is not there is told before anything is written
        waiting = self._shelf.posts(["waiting"], model=self._request.model, oldest_first=True)
        post = next(waiting, None) or self.write()
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


def _is_decided(error: NonesuchError) -> bool:
    """Whether somebody rejected, released or removed the post since it was listed."""
    return error.reason in ("NOT_APPROVED", "RELEASED") or (isinstance(error, NotFound) and "post" in error.metadata)


def _may_pass(error: NonesuchError) -> bool:
    """Whether a service, the folder or its disk is away or has no room; on the shelf only a person makes room."""
    is_away = isinstance(error, Unavailable | Cancelled | Busy) or error.reason == FOLDER_AWAY
    return is_away and error.reason != SHELF_FULL

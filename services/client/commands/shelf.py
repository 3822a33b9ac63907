"""`nonesuch shelf`: generated posts that wait for a word of yours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from protos import shelf_pb2
from services.client.commands import borrowed, plain, terminal
from services.client.nonesuch import Nonesuch
from services.client.shelf import STATES, file_name
from services.common.errors import AlreadyExists, NonesuchError

NUMBER = click.IntRange(1, 2**63 - 1)
one_number = click.argument("number", type=NUMBER, metavar="ID")
numbers_argument = click.argument("numbers", type=NUMBER, nargs=-1, required=True, metavar="ID...")
note_option = click.option("--note", metavar="TEXT", help="A remark; it goes in place of the one before.")


@click.group(short_help="Read, approve and take away generated posts that wait.")
def shelf() -> None:
    """Read, approve and take away generated posts that wait."""


@shelf.command("list")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(list(STATES)), help="In this state. May be repeated."
)
@click.option("--model", default="", metavar="NAME", help="Written by this model.")
@terminal.json_option
@click.pass_obj
def list_posts(nonesuch: Nonesuch, states: tuple[str, ...], model: str, as_json: bool) -> None:
    """List the posts on the shelf, newest first."""
    found = list(nonesuch.shelf.posts(states, model=model))
    if as_json:
        terminal.print_json(found)
        return
    rows = [
        [
            *(str(post.id), _state(post), f"{post.response.model.name}@{post.response.model.version}"),
            *(f"{post.num_words:,}", _borrowed_share(post), terminal.when(post.created_at), _title(post)),
        ]
        for post in found
    ]
    terminal.table(
        ["ID", "STATE", "MODEL", "WORDS", "BORROWED", "WRITTEN", "TITLE"], rows, right=["ID", "WORDS", "BORROWED"]
    )


@shelf.command()
@one_number
@terminal.json_option
@click.pass_obj
def show(nonesuch: Nonesuch, number: int, as_json: bool) -> None:
    """Show a post, and what it borrowed."""
    post = nonesuch.shelf.get(number)
    if as_json:
        terminal.print_json(post)
        return
    answer = post.response
    borrowed.show_post(answer)
    terminal.note(f"post {post.id}, {_state(post)}, written by {answer.model.name}@{answer.model.version}, "
                  f"seed {answer.effective.seed}")  # fmt: skip
    if post.released_path:
        terminal.note(f"released to {post.released_path}")
    if post.note:
        terminal.note(f"note: {post.note}")


@shelf.command()
@numbers_argument
@note_option
@terminal.json_option
@click.pass_obj
def approve(nonesuch: Nonesuch, numbers: tuple[int, ...], note: str | None, as_json: bool) -> None:
    """Let posts be released."""
    _each(numbers, lambda number: nonesuch.shelf.approve(number, note=note), as_json)


@shelf.command()
@numbers_argument
@note_option
@terminal.json_option
@click.pass_obj
def reject(nonesuch: Nonesuch, numbers: tuple[int, ...], note: str | None, as_json: bool) -> None:
    """Keep posts from being released."""
    _each(numbers, lambda number: nonesuch.shelf.reject(number, note=note), as_json)


@shelf.command()
@numbers_argument
@note_option
@terminal.json_option
@click.pass_obj
def reopen(nonesuch: Nonesuch, numbers: tuple[int, ...], note: str | None, as_json: bool) -> None:
    """Let posts wait for a decision again."""
    _each(numbers, lambda number: nonesuch.shelf.reopen(number, note=note), as_json)


@shelf.command()
@numbers_argument
@terminal.yes_option
@click.pass_obj
def remove(nonesuch: Nonesuch, numbers: tuple[int, ...], yes: bool) -> None:
    """Take posts off the shelf for good."""
    terminal.confirm(f"Remove {terminal.count(len(numbers), 'post')} from the shelf?", yes=yes)
    for number in numbers:
        nonesuch.shelf.remove(number)
        terminal.say(f"post {number} removed")


@shelf.command()
@one_number
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File or folder to write to; - is standard output.  [default: the name the blog would give it, here]",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.pass_obj
def save(nonesuch: Nonesuch, number: int, out: Path | None, force: bool) -> None:
    """Write a post as a Markdown file. It stays on the shelf as it is."""
    post = nonesuch.shelf.get(number)
    if out == Path("-"):
        sys.stdout.write(terminal.printable(post.response.markdown) if sys.stdout.isatty() else post.response.markdown)
        return
    path = out or Path()
    if path.is_dir():
        path = path / file_name(post)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(post.response.markdown)
    except FileExistsError:
        raise AlreadyExists(f"{path} is there already; give another --out, or --force to replace it") from None
    except OSError as error:
        raise NonesuchError(f"cannot write {path}: {error.strerror}; give another --out") from error
    terminal.say(str(path))


def _each(numbers: tuple[int, ...], decide: Callable[[int], shelf_pb2.ShelfPost], as_json: bool) -> None:
    decided: list[Any] = []
    for number in numbers:
        post = decide(number)
        if as_json:
            decided.append(post)
        else:
            terminal.say(f"post {post.id} is {_state(post)}: {_title(post)}")
    if as_json:
        terminal.print_json(decided)


def _state(post: shelf_pb2.ShelfPost) -> str:
    return plain.enum_name(post, "state").lower()


def _title(post: shelf_pb2.ShelfPost) -> str:
    words = " ".join((post.response.title or post.beginning).split())
    return words if len(words) <= 60 else words[:59] + "…"


def _borrowed_share(post: shelf_pb2.ShelfPost) -> str:
    answer = post.response
    return f"{answer.originality.verbatim_share:.0%}" if answer.HasField("originality") else ""

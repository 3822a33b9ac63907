"""`nonesuch post`: have whole posts written onto the shelf, and release the approved ones into a blog."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from services.client.commands import terminal
from services.client.commands.generate import generator_option
from services.client.commands.poster import NAMING, Blog, Poster
from services.client.commands.writer import WAIT_S
from services.client.connection import Service
from services.client.nonesuch import MODEL_PATIENCE_S, Nonesuch
from services.client.post_writing import make_post_request

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


@click.command(short_help="Have a whole post written, and release approved ones into a blog.")
@_options
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag. May be repeated.  [default: invented]")
@click.option("-n", "num_posts", type=click.IntRange(min=1), default=1, show_default=True, help="Posts to write.")
@click.option("--model", default="", metavar="NAME[@VERSION]", help="Which model.  [default: the one published last]")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Release an approved post into this blog's folder; write one where none waits. With --model, --title, --tag "
    "or --opening only one that was asked for with these.",
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
    poster = Poster(
        nonesuch,
        request,
        writing_options=[option for name, option, *_ in _OPTIONS if name not in NAMING and options[name] is not None],
        patience_s=WAIT_S if wait else MODEL_PATIENCE_S,
        wait=wait,
        as_json=as_json,
    )
    if into is None:
        for _ in range(num_posts):
            poster.show(poster.write())
        return
    blog = Blog(into.expanduser(), every or 1, approve)
    if every is None:
        poster.release_one(blog)
    else:
        poster.go_on(blog)

"""How the command speaks: lines, tables, JSON, posts, progress bars and errors.

Standard output takes what was asked for, standard error takes progress, remarks and errors. Colours and bars
appear on a terminal only. Text from elsewhere (posts, samples, titles) never steers a terminal: control
characters are replaced.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from protos import trainer_pb2
from services.client import post as posts
from services.client.commands.plain import plain
from services.common.errors import Busy, NonesuchError, Unavailable

MARKED = "black on yellow"
READING_WIDTH = 88  # columns: longer lines are hard to read
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


class _Console(Console):
    """A console that leaves a closed pipe to the command's top, instead of ending the process itself."""

    def on_broken_pipe(self) -> None:
        """Say what happened."""
        raise BrokenPipeError


# The console of the bar that is on the screen now: what is printed through it goes above the bar.
_above_bar: list[Console] = []


def out() -> Console:
    """Standard output as rich sees it; made anew because tests replace the stream."""
    if _above_bar and sys.stdout.isatty():
        return _above_bar[-1]
    return _Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def err() -> Console:
    """Standard error as rich sees it."""
    if _above_bar:
        return _above_bar[-1]
    return _Console(file=sys.stderr, highlight=False, markup=False, emoji=False)


def printable(text: str) -> str:
    """Text without control characters other than tab and newline, so that no post can steer the terminal."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def say(line: str = "") -> None:
    """Print a line to standard output and make it visible at once."""
    sys.stdout.write((printable(line) if sys.stdout.isatty() else line) + "\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """Print a remark to standard error."""
    err().print(Text(printable(line), style="dim"), soft_wrap=True)


def complain(error: NonesuchError) -> None:
    """Print an error with what can be done about it."""
    console = err()
    line = Text.assemble(("error: ", "bold red"), printable(error.message))
    if error.field and error.field not in error.message:
        line.append(f" (field {error.field})")
    console.print(line, soft_wrap=True)
    if error.retry_after_s is not None and isinstance(error, Busy | Unavailable):
        console.print(Text(f"       try again in {error.retry_after_s:.3g} s"), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print messages, or plain values, as one JSON document."""
    _write_json(value, indent=2)


def print_json_line(value: Any) -> None:
    """Print a message, or a plain value, as one line of JSON Lines."""
    _write_json(value, indent=None)


def _write_json(value: Any, indent: int | None) -> None:
    def convert(item: Any) -> Any:
        if isinstance(item, Message):
            return plain(item)
        raise TypeError(f"{type(item).__name__} is not JSON")

    sys.stdout.write(json.dumps(value, default=convert, ensure_ascii=False, indent=indent) + "\n")
    sys.stdout.flush()


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print aligned columns: all of every cell, so that a script can read them too.

    Args:
        headings: one per column, printed in bold.
        rows: cells as text.
        right: headings of the columns that are aligned to the right, numbers mostly.
    """
    cells = [[" ".join(printable(cell).split()) or "-" for cell in row] for row in rows]
    widths = [max(Text(cell).cell_len for cell in column) for column in zip(headings, *cells, strict=True)]
    console = out()
    for number, row in enumerate([list(headings), *cells]):
        parts = []
        for heading, cell, width in zip(headings, row, widths, strict=True):
            padding = " " * (width - Text(cell).cell_len)
            parts.append(padding + cell if heading in right else cell + padding)
        line = Text("  ".join(parts).rstrip(), style="bold" if number == 0 else "")
        # On a terminal a long row is cut rather than wrapped; a file gets all of it.
        console.print(
            line,
            no_wrap=True,
            overflow="ellipsis" if console.is_terminal else "ignore",
            crop=False,
            soft_wrap=not console.is_terminal,
        )


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and values, one pair a line; empty values are left out."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    console = out()
    for name, value in shown:
        line = Text.assemble((f"{name:<{width}}", "dim"), "  ", printable(value))
        console.print(line, soft_wrap=True)


def heading(text: str) -> None:
    """Print a heading with a blank line before it."""
    out().print(Text(f"\n{printable(text)}", style="bold"), soft_wrap=True)


def paragraph(text: str, *, indent: str = "") -> None:
    """Print text broken between words, on a terminal and off it; the lines after the first are indented."""
    console = out()
    width = min(console.width if console.is_terminal else READING_WIDTH, READING_WIDTH)
    for line in textwrap.wrap(printable(text), width, subsequent_indent=indent, break_on_hyphens=False):
        console.print(Text(line), soft_wrap=True)


def print_post(text: str, *, title: str = "", marked: Sequence[tuple[int, int]] = ()) -> None:
    """Print a post for reading: on a terminal with its header set apart and lines broken between words.

    Args:
        text: as the model wrote it.
        title: printed above, such as `sample 2`; a rule on a terminal, train.py's line elsewhere.
        marked: pieces that are coloured on a terminal, from character to character.
    """
    console = out()
    if not console.is_terminal:
        if title:
            say(f"======== {title.upper()} ========")
        say(text)
        return
    width = min(console.width, READING_WIDTH)
    if title:
        console.rule(Text(title, style="dim"), style="dim")
    parsed = posts.parse(text)
    if parsed.title:
        console.print(Text(printable(parsed.title), style="bold"), width=width)
    about = " · ".join(part for part in (parsed.date, ", ".join(parsed.tags)) if part)
    if about:
        console.print(Text(printable(about), style="dim"), width=width)
    if parsed.has_header:
        console.print()
    whole = Text(printable(text))
    for start, end in marked:
        whole.stylize(MARKED, start, end)
    first = len(text.rstrip("\n")) - len(parsed.body) if parsed.has_header else 0
    console.print(whole[first : first + len(parsed.body)], width=width)


def print_sample(sample: trainer_pb2.Sample, *, with_title: bool = True) -> None:
    """Print what a run wrote; on a terminal with what it was asked for, elsewhere as train.py's files have it."""
    title = f"sample {sample.index}" if with_title else ""
    if title and out().is_terminal:
        begun = f"“{sample.prompt}”, " if sample.prompt else ""
        title = f"{title}: {begun}temperature {sample.temperature:g}"
    print_post(sample.text, title=printable(title))


def when(moment: Timestamp) -> str:
    """A moment in local time to the minute; empty when unset."""
    if not moment.seconds:
        return ""
    from datetime import UTC

    return moment.ToDatetime(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def size(num_bytes: int) -> str:
    """Bytes for people: `2.5 MiB`."""
    amount = float(num_bytes)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 post`, `1,200 posts`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function of stage, done and total that moves a bar on standard error.

    Off a terminal it prints each stage once. The function may be called from any thread.
    """
    console = err()
    if not console.is_terminal:
        told: set[str] = set()

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in told:
                told.add(stage)
                note(f"{stage} …")

        yield tell
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with live(Progress(*columns, console=console, transient=True)) as bars:
        task = bars.add_task("", total=None)
        stages: list[str] = []

        def move(stage: str, done: int, total: int) -> None:
            if stages[-1:] != [stage]:
                stages.append(stage)
                bars.reset(task, description=stage, total=total or None)
            bars.update(task, completed=done, total=total or None)

        yield move


@contextmanager
def live(bars: Progress) -> Iterator[Progress]:
    """Show bars; what this module prints meanwhile goes above them."""
    with bars:
        _above_bar.append(bars.console)
        try:
            yield bars
        finally:
            _above_bar.pop()


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is lost. Nobody is asked off a terminal, or with `--yes`."""
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(question, abort=True, err=True)


yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")

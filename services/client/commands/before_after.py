"""Before and after: an author's text, the document that it became, and what each rule of cleaning did to it."""

from __future__ import annotations

from rich.text import Text

from protos import corpus_pb2
from services.client.commands import terminal

_STYLES = {"+": "green", "-": "red", "@": "dim"}


def print_before_after(found: corpus_pb2.GetPostResponse) -> None:
    """Print what GetPost told: the source, the document, then the lines that each rule changed.

    Args:
        found: with source and effects.
    """
    _heading("before: the author's file")
    _lines(found.source.decode("utf-8", errors="replace"))
    _heading("after: the document" if found.HasField("document") else "after: no document")
    _lines(found.document.text)
    for effect in found.effects:
        if effect.diff:
            _heading(
                f"{effect.rule} is {effect.value}; with {effect.other_value} the lines in - would stand for those in +"
            )
            for line in effect.diff.splitlines():
                _line(line, _STYLES.get(line[:1], ""))
    terminal.say()
    idle = [f"{effect.rule} ({effect.value})" for effect in found.effects if not effect.diff and not effect.problem]
    if idle:
        terminal.say(f"rules that make no difference here: {', '.join(idle)}")
    for effect in found.effects:
        if effect.problem:
            terminal.say(f"not compared: {effect.rule}: {effect.problem}")


def _heading(title: str) -> None:
    console = terminal.out()
    terminal.say()
    if console.is_terminal:
        console.rule(Text(title, style="bold"), style="dim", align="left")
    else:
        terminal.say(f"======== {title}")


def _lines(text: str) -> None:
    for line in text.splitlines():
        _line(line, "")


def _line(line: str, style: str) -> None:
    console = terminal.out()
    console.print(Text(terminal.printable(line), style=style), soft_wrap=not console.is_terminal)

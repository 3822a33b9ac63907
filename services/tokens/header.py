"""The lines that stand in front of each document's text, so that a model learns title, tags and date.

    title: A walk by the river
    tags: walking, water
    date: 2024-03-01

    The river was high that day ...

Lines for what a post does not have are left out; a post with none of them has no header and no blank line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

HEADER_NONE = "none"
HEADER_V1 = "header-v1"
HEADER_FORMATS = (HEADER_NONE, HEADER_V1)
_NAMES = ("title: ", "tags: ", "date: ")
_FIELD = re.compile(r"(?P<name>(title|tags|date): )[^\n]*(\n|$)")


def compose_header(title: str = "", tags: Sequence[str] = (), date: str = "") -> str:
    """Return the header with the blank line that ends it, or an empty string.

    Args:
        title: any text; line breaks become spaces.
        tags: tag names, written in the order given.
        date: `YYYY-MM-DD`, or empty.
    """
    values = {"title": title, "tags": ", ".join(" ".join(tag.split()) for tag in tags), "date": date}
    lines = [f"{name}: {' '.join(value.split())}\n" for name, value in values.items() if value.strip()]
    return "".join(lines) + "\n" if lines else ""


@dataclass(frozen=True, slots=True)
class Parted:
    """A document's text apart from its header; what the header lacks is empty."""

    title: str
    tags: tuple[str, ...]
    date: str
    text: str


def part_header(document: str) -> Parted | None:
    """Take a header off a document, or return None where there is none that `compose_header` could have written.

    `compose_header` of the result and its text give the document again.
    """
    header, separator, text = document.partition("\n\n")
    values: dict[str, str] = {}
    for line in header.split("\n") if separator else ():
        name, colon, value = line.partition(": ")
        if not colon or name not in ("title", "tags", "date") or name in values:
            return None
        values[name] = value
    parted = Parted(
        title=values.get("title", ""),
        tags=tuple(tag for tag in values.get("tags", "").split(", ") if tag),
        date=values.get("date", ""),
        text=text,
    )
    composed = compose_header(parted.title, parted.tags, parted.date)
    return parted if composed and composed + text == document else None


def name_spans(document: str) -> list[tuple[int, int]]:
    """Where the names of a header's fields stand in a document or its begin, in characters: colon and space included.

    Fields are the lines before the first that is none; of the last, only the begin of its name may be there. The line
    ends between fields, and the blank line behind them, belong to names.
    """
    spans, start = [], 0
    while (field := _FIELD.match(document, start)) is not None:
        spans.append((max(0, start - 1), field.end("name")))
        start = field.end()
    if not spans:
        return [(0, len(document))] if document and _begins_name(document) else []
    if document.endswith("\n", 0, start):
        is_blank = document.startswith("\n", start)
        is_begun = _begins_name(document[start:])
        spans.append((start - 1, start + 1 if is_blank else len(document) if is_begun else start))
    return spans


def _begins_name(text: str) -> bool:
    return any(name.startswith(text) for name in _NAMES)


def is_in_value(text: str) -> bool:
    """Whether a document that begins so, and may still be in its header, ends within a field's value."""
    return text.rpartition("\n")[2].startswith(_NAMES)


def is_in_header(text: str) -> bool:
    """Whether a document that begins so may still be in its header."""
    *lines, last = text.split("\n")
    return all(_FIELD.fullmatch(line) for line in lines) and any(
        name.startswith(last) or last.startswith(name) for name in _NAMES
    )

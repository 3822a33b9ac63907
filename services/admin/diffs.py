"""Differences as lines to colour: a unified diff without file names -> what kind each line is.

In: `RuleEffect.diff`. Out: lines for a template. Nothing here knows Flask.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_LINES = 400  # of one rule; a person has seen enough by then
_KINDS = {"+": "added", "-": "removed", "@": "place", " ": "same"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line. `kind` is added, removed, same, or place: where in the text the next lines are."""

    kind: str
    text: str


def lines(diff: str) -> list[Line]:
    """The lines of a diff, at most MOST_LINES."""
    found = []
    for line in diff.split("\n")[:MOST_LINES] if diff else ():
        kind = _KINDS.get(line[:1], "same")
        if kind == "place":
            found.append(Line(kind, "⋯"))
        else:
            found.append(Line(kind, line[1:]))
    if found and found[0].kind == "place":
        found.pop(0)
    return found


def changes(diff: str) -> tuple[int, int]:
    """How many lines a diff adds and removes."""
    heads = [line[:1] for line in diff.split("\n")]
    return heads.count("+"), heads.count("-")

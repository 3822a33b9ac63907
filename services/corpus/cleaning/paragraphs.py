"""Paragraphs: single lines of prose, headings and rules, written so that Python-Markdown reads them as CommonMark does.

Python-Markdown takes `#tag` for a heading, `2016. That year` inside an item for a list, the last sign of `# C#`
for decoration, and wants a heading's underline below one line only. Knows lines; dialect.py knows where they stand.
"""

from __future__ import annotations

import re

_HEADING = re.compile(r"^ {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-+)[ \t]*$")
_TARGET = re.compile(r"^ {0,3}\[[^\[\]]+\]:")
_RULE = re.compile(r"^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_NUMBER = re.compile(r"^( *\d+)(?=\.(?: |$))")
_BULLET = re.compile(r"^( *)(?=[-*+](?: |$))")
_LAST_SIGNS = re.compile(r"(?<!\\)#(?=(?:\\?#)*$)")
_LAST_BACKSLASH = re.compile(r"(?<!\\)(?:\\\\)*\\$")


def heading(line: str) -> str | None:
    """A heading in its plainest form, "" if it has no words; None if the line is none."""
    if "#" not in line[:4]:
        return None
    found = _HEADING.match(line)
    if found is None:
        return None
    return _heading(len(found[1]), found[2] or "")


def underlined(line: str, out: list[str], start: int) -> str | None:
    """The heading that a line of `=` or `-` makes of the paragraph above it; None if it is no such line.

    Args:
        line: that may be such a line.
        out: lines laid out so far.
        start: where in `out` the paragraph begins.
    """
    found = _UNDERLINE.match(line) if line.lstrip(" ")[:1] in ("=", "-") else None
    if found is None:
        return None
    above = out[start:]
    while above and _TARGET.match(above[0]):
        above = above[1:]
    if not above:
        return None  # what stands above are the targets of links
    return _heading(1 if found[1][0] == "=" else 2, " ".join(part.strip().rstrip("\\") for part in above))


def is_rule(line: str) -> bool:
    """Whether a line is drawn as a rule."""
    return _RULE.match(line) is not None


def guarded(line: str) -> str:
    """A line of a paragraph with a backslash before what Python-Markdown would take for the start of a block."""
    first = line.lstrip(" ")[:1]
    if first == "#":
        return line.replace("#", "\\#", 1)
    if first.isdigit():
        return _NUMBER.sub(r"\1\\", line)
    if first and first in "-*+":
        return _BULLET.sub(r"\1\\", line)
    return line


def with_break(line: str) -> str:
    """A line with the backslash that ends it, which CommonMark shows as a line break, as two spaces."""
    return f"{line[:-1]}  " if line.endswith("\\") and _LAST_BACKSLASH.search(line) else line


def _heading(level: int, words: str) -> str:
    words = words.strip()
    if not words:
        return ""
    if words.endswith("#"):
        words = _LAST_SIGNS.sub(r"\\#", words)
    elif _LAST_BACKSLASH.search(words):
        words += "\\"
    return f"{'#' * level} {words}"

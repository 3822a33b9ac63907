"""Shown code: what of a post's source its author shows as code, and what is left besides.

A tag in a block of code is what the author wants to be read; the same tag in a sentence is markup. Told apart
by the plainest signs of Markdown and HTML, in time that grows with the length of the source. A helper of
leftovers.py, which compares counts: it need not be exact, and makes no document.
"""

from __future__ import annotations

import html
import re
from typing import NamedTuple

_FENCE = re.compile(r"[ \t>]*(?:[-*+][ \t]+|\d+[.)][ \t]+)?(`{3,}|~{3,})")
_LIST_ITEM = re.compile(r"[ \t>]*(?:[-*+]|\d+[.)])[ \t]")
_INDENTED = re.compile(r"(?: {4}|\t| {1,3}\t)")
# The line above a literal block of reStructuredText, which is indented by any amount.
_LITERAL = re.compile(r"([ \t]*)(?:\.\. (?:code|code-block|sourcecode|parsed-literal)::.*|(?!\.\. ).*::)[ \t]*$")
# Passages from an opening to the next closing of the same name.
_PASSAGES = (
    (re.compile(r"<(pre|code|kbd|samp|tt)\b[^<>]{0,500}>", re.IGNORECASE), r"</{}\s?>"),
    (re.compile(r"\{%-?\s?(highlight|raw|codeblock)\b[^%\n]{0,200}%\}"), r"\{{%-?\s?end{}\s?-?%\}}"),
    (re.compile(r"\{\{[<%]\s?(highlight)\b[^<>%\n]{0,200}[>%]\}\}"), r"\{{\{{[<%]\s?/{}\s?[>%]\}}\}}"),
)
_SPAN = re.compile(r"(?<!`)(`{1,4})(?!`)(.{1,1000}?)(?<!`)\1(?!`)", re.DOTALL)


class Parts(NamedTuple):
    """A source in two parts. White space is as it was."""

    code: str
    rest: str


def part(source: str) -> Parts:
    """Take what is shown as code out of a source."""
    code: list[str] = []
    rest = _without_blocks(source, code)
    for opening, closing in _PASSAGES:
        rest = _without_passages(rest, opening, closing, code)
    paragraphs = re.split(r"(\n[ \t]*\n)", rest)
    rest = "".join(
        _SPAN.sub(lambda found: _keep(found[2], code), paragraph) if "`" in paragraph else paragraph
        for paragraph in paragraphs
    )
    return Parts("\n".join(code), rest)


def _keep(text: str, code: list[str]) -> str:
    code.append(text)
    return " "


def _without_passages(source: str, opening: re.Pattern[str], closing: str, code: list[str]) -> str:
    """Passages go to `code`. What is looked for in vain is not looked for again: the time stays linear."""
    rest: list[str] = []
    missing: set[str] = set()
    end = 0
    for found in opening.finditer(source):
        name = found[1].lower()
        if found.start() < end or name in missing:
            continue
        closed = re.compile(closing.format(name), re.IGNORECASE).search(source, found.end())
        if closed is None:
            missing.add(name)
            continue
        rest += (source[end : found.start()], " ")
        code.append(html.unescape(source[found.end() : closed.start()]))
        end = closed.end()
    rest.append(source[end:])
    return "".join(rest)


def _without_blocks(source: str, code: list[str]) -> str:
    """Fenced and indented blocks go to `code`; what is indented within a list is a paragraph of it."""
    rest: list[str] = []
    fence = ""
    after_blank, in_list, in_code = True, False, False
    literal = -1  # how far the line above a literal block is indented
    for line in source.splitlines():
        if literal >= 0 and line.strip():
            if len(line) - len(line.lstrip()) > literal:
                code.append(line)
                continue
            literal = -1
        if literal < 0 and not fence and "::" in line and (above := _LITERAL.match(line)):
            literal = len(above[1])
        found = _FENCE.match(line)
        if fence:
            closes = found is not None and found[1].startswith(fence) and not line[found.end() :].strip()
            fence = "" if closes else fence
            if not closes:
                code.append(line)
            continue
        if found is not None and "`" not in line[found.end() :]:
            fence = found[1]
            continue
        if not line.strip():
            after_blank = True
            rest.append(line)
            continue
        indented = _INDENTED.match(line)
        if indented and (after_blank or in_code) and not (in_list and not _INDENTED.match(line[indented.end() :])):
            code.append(line)
            in_code = True
        else:
            in_code = False
            in_list = bool(_LIST_ITEM.match(line)) or (in_list and (bool(indented) or not after_blank))
            rest.append(line)
        after_blank = False
    return "\n".join(rest)

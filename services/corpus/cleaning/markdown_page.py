"""Markdown page: the element tree that Python-Markdown built -> the page that its HTML would be read as.

Writing HTML and reading it again takes longer than Markdown itself, and changes nothing for most posts. What a reader
of HTML might mend (raw HTML, blocks in odd places, rare entities) is refused, and must take the long way; a test holds
the two ways side by side. Line breaks between blocks, which only make HTML readable, are not put in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.entities import name2codepoint
from xml.etree.ElementTree import Element

from markdown.extensions.footnotes import FN_BACKLINK_TEXT, NBSP_PLACEHOLDER
from markdown.util import AMP_SUBSTITUTE, ETX, STX

from services.corpus.cleaning.page_tree import Tag
from services.corpus.cleaning.reading import valid


def _pairs(parents: str, children: str) -> dict[str, frozenset[str]]:
    return dict.fromkeys(parents.split(), frozenset(children.split()))


_INLINE = "a abbr br code del em img strong sup"
_BLOCKS = "blockquote div dl h1 h2 h3 h4 h5 h6 hr ol p pre table ul"
# What may stand in what without a reader of HTML moving it.
_MAY_HOLD: dict[str, frozenset[str]] = {
    **_pairs("a abbr del em strong sup p h1 h2 h3 h4 h5 h6 dt td th", _INLINE),
    **_pairs("li dd", f"{_INLINE} {_BLOCKS}"),
    **_pairs("div blockquote", _BLOCKS),
    **_pairs("ul ol", "li"),
    **_pairs("dl", "dt dd"),
    **_pairs("table", "thead tbody"),
    **_pairs("thead tbody", "tr"),
    **_pairs("tr", "th td"),
    **_pairs("pre", "code"),
    **_pairs("code img br hr", ""),
}
_WITHOUT_TEXT = frozenset(name for name, names in _MAY_HOLD.items() if "a" not in names and name != "code")

_ESCAPED = re.compile(f"{STX}(\\d+){ETX}")
_STASHED = re.compile(f"{STX}wzxhzdk:(\\d+){ETX}")
_ENTITY = re.compile("&(#[0-9]+|#x[0-9a-f]+|[0-9a-z]+);", re.IGNORECASE)
_MAX_DEPTH = 50  # readers of HTML stop at about 250
_SPACES = " \t\n\r\f\xa0"  # those that a page shows as one; others are lost in making HTML pretty
_NAMES = {**name2codepoint, "apos": 39}


class Unsure(Exception):
    """A reader of HTML might make something else of the tree."""


def markdown_page(root: Element, stash: Sequence[object]) -> Tag:
    """Turn a tree into a page.

    Args:
        root: the tree after the library's inline patterns, before it is made pretty.
        stash: what the library set aside as HTML, by the number in the placeholder that stands for it.

    Raises:
        Unsure: it must be written as HTML and read again.
    """
    entities: list[str] = []
    for html in stash:
        if not isinstance(html, str) or not _ENTITY.fullmatch(html):
            raise Unsure
        entities.append(html)
    return _Conversion(entities).tag(root, None, _MAX_DEPTH)


class _Conversion:
    """Of one tree; the entities are those that the library set aside."""

    def __init__(self, entities: list[str]) -> None:
        self._entities = entities

    def tag(self, element: Element, parent: Tag | None, depth: int) -> Tag:
        name = element.tag
        tag = Tag(name, {key: self._text(value) for key, value in element.items()}, parent)
        may_hold = _MAY_HOLD.get(name)
        if may_hold is None or depth == 0:
            raise Unsure
        children = tag.children
        if text := element.text:
            self._add(children, text, name)
        for child in element:
            if child.tag not in may_hold:
                raise Unsure
            children.append(self.tag(child, tag, depth - 1))
            if text := child.tail:
                self._add(children, text, name)
        return tag

    def _add(self, children: list[Tag | str], text: str, parent: str) -> None:
        if parent in _WITHOUT_TEXT:
            if text.strip():
                raise Unsure
        elif (parent == "code" and STX in text) or (not text.strip() and text.strip(_SPACES)):
            raise Unsure
        else:
            children.append(self._text(text))

    def _text(self, text: str) -> str:
        if STX in text:
            text = _ESCAPED.sub(lambda found: chr(int(found[1])), text)
            text = text.replace(AMP_SUBSTITUTE, "&")
            text = text.replace(NBSP_PLACEHOLDER, "\xa0").replace(FN_BACKLINK_TEXT, "\u21a9")
            text = _STASHED.sub(self._entity, text)
            if STX in text:
                raise Unsure
        return _ENTITY.sub(_character, text) if "&" in text else text

    def _entity(self, found: re.Match[str]) -> str:
        number = int(found[1])
        if number >= len(self._entities):
            raise Unsure
        return self._entities[number]


def _character(found: re.Match[str]) -> str:
    """The character that an entity stands for; Unsure where readers of HTML differ."""
    name = found[1]
    if name[0] == "#":
        code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
    elif name in _NAMES:
        code = _NAMES[name]
    else:
        raise Unsure
    if not (32 <= code < 127 or 160 <= code < 0xD800) or (name[0] == "#" and valid(f"x{chr(code)}") == "x"):
        raise Unsure  # a reader's own table, or a reference that page.py takes out
    return chr(code)

"""Markdown parser: Python-Markdown as posts need it, made once a process and told what it need not try.

The library tries fourteen kinds of block on every block and fourteen inline patterns on every text, most of which
cannot match for want of a character. Here each is tried only where that character is; the result is the same, to
the byte, and a test holds the two side by side.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any
from xml.etree.ElementTree import Element

import markdown
from markdown.blockparser import BlockParser
from markdown.extensions import Extension
from markdown.inlinepatterns import DelimiterProcessor, SimpleTagInlineProcessor
from markdown.preprocessors import HtmlBlockPreprocessor
from markdown.treeprocessors import InlineProcessor, Treeprocessor
from markdown.util import AtomicString, Registry

from services.corpus.cleaning.inlines import register_inlines
from services.corpus.cleaning.markdown_page import Unsure, markdown_page
from services.corpus.cleaning.page_tree import Tag

_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"  # CommonMark lets a backslash stand before any of these
_EXTENSIONS = ("tables", "footnotes", "def_list", "abbr", "sane_lists")

_May = Callable[[str], bool]

# What a block must hold for a kind of block to be found in it, by the library's names. Kinds that are not here are
# always tried.
_BLOCK_MAY: dict[str, _May] = {
    "empty": lambda block: not block or block[0] == "\n",
    "indent": lambda block: block.startswith("    "),
    "defindent": lambda block: block.startswith("    "),
    "code": lambda block: block.startswith("    "),
    "table": lambda block: "|" in block and "\n" in block,
    "hashheader": lambda block: block[0] == "#" or "\n#" in block,
    "setextheader": lambda block: "\n=" in block or "\n-" in block,
    "hr": lambda block: block.count("-") > 2 or block.count("*") > 2 or block.count("_") > 2,
    "olist": lambda block: block[0] == " " or block[0].isdigit(),
    "ulist": lambda block: block[0] in " *+-",
    "deflist": lambda block: ": " in block and (block[0] in ": " or "\n:" in block or "\n " in block),
    "quote": lambda block: ">" in block,
    "footnote": lambda block: "[^" in block,
    "abbr": lambda block: "*[" in block,
    "reference": lambda block: "]:" in block,
}
# The same for a text and the inline patterns. A match leaves a placeholder, which holds none of these signs, so what
# is not in a text does not come into it.
_TEXT_MAY: dict[str, _May] = {
    "backtick": lambda text: "`" in text,
    "escape": lambda text: "\\" in text,
    "footnote": lambda text: "[^" in text,
    "reference": lambda text: "[" in text,
    "link": lambda text: "](" in text,
    "image_link": lambda text: "![" in text and "](" in text,
    "image_reference": lambda text: "![" in text,
    "short_reference": lambda text: "[" in text,
    "short_image_ref": lambda text: "![" in text,
    "ampersand": lambda text: "\\&" in text,
    "autolink": lambda text: "<" in text and ":" in text,
    "automail": lambda text: "<" in text and "@" in text,
    "linebreak": lambda text: "  \n" in text,
    "html": lambda text: "<" in text and ">" in text,
    "entity": lambda text: "&" in text and ";" in text,
    "strike": lambda text: "~~" in text,
    "em_strong": lambda text: "*" in text or "_" in text,
}
_SIGN = re.compile(r"[`\\\[<&*_~\x02]|  \n")  # what some pattern needs, or a placeholder begins with
# Patterns that find nothing where nothing is defined.
_OF_REFERENCES = frozenset({"reference", "image_reference", "short_reference", "short_image_ref"})


class _Delimiters(DelimiterProcessor):
    """Emphasis. Python-Markdown 3.11 closes `*a**b*c` with one sign more than is there, and loses the `c`."""

    _data = ""

    def handleMatch(self, m: re.Match[str], data: str) -> Any:  # type: ignore[override]
        self._data = data
        return super().handleMatch(m, data)

    def add_region(self, delim: Any, a: int, b: int, c: int, d: int, size: int) -> None:
        if size > 0 and self._data[a:b] == self._data[c:d] == delim.token * size:
            super().add_region(delim, a, b, c, d, size)


class _Habits(Extension):
    """What most sites read and Python-Markdown does not: `~~words~~`, a backslash before any punctuation."""

    def extendMarkdown(self, md: markdown.Markdown) -> None:
        md.inlinePatterns.register(SimpleTagInlineProcessor(r"(~~)(?=\S)(.+?)(?<=\S)~~", "del"), "strike", 65)
        md.ESCAPED_CHARS = list(_PUNCTUATION)
        delimiters = _Delimiters("*", "strong,em", md)
        delimiters.add("_", "strong,em", smart=True)
        md.inlinePatterns.register(delimiters, "em_strong", 60)
        register_inlines(md)


def plain_parser() -> markdown.Markdown:
    """The library as it is, with our extensions: what MarkdownParser must do the same as."""
    return markdown.Markdown(extensions=[*_EXTENSIONS, _Habits()])


class MarkdownParser:
    """Reads one text after another. Not for several threads at a time."""

    def __init__(self) -> None:
        self._library: markdown.Markdown | None = None

    def html(self, text: str) -> str:
        """Markdown as HTML; RecursionError: it is nested too deeply."""
        return self._convert(text, page=False)

    def page(self, text: str) -> Tag | str:
        """Markdown as the page that its HTML would be read as, or as that HTML where only a reader of HTML can tell.

        Raises:
            RecursionError: it is nested too deeply.
        """
        try:
            return self._convert(text, page=True)
        except _Made as made:
            return made.page

    def _convert(self, text: str, *, page: bool) -> str:
        library, self._library = self._library or _quick_parser(), None
        library.reset()
        maker = library.treeprocessors["page"]
        assert isinstance(maker, _Page)
        maker.wanted = page
        try:
            html = library.convert(text)
        except _Made:
            self._library = library
            raise  # other errors leave it half-way; it is not used again
        self._library = library
        return html


def _quick_parser() -> markdown.Markdown:
    """The library with our own choice of what to try."""
    library = plain_parser()
    library.treeprocessors.register(_Inline(library), "inline", 20)
    library.treeprocessors.register(_Page(library), "page", 12)
    library.preprocessors.register(_HtmlBlocks(library), "html_block", 20)
    library.parser.__class__ = _Blocks
    library.block_level_elements = frozenset(library.block_level_elements)  # type: ignore[assignment]
    return library


class _Made(Exception):
    """The page is made; nothing of what the library would do next is needed."""

    def __init__(self, page: Tag) -> None:
        self.page = page


class _Page(Treeprocessor):
    """Ends the conversion early where a page can be made of the tree, before it is made pretty and written."""

    wanted = False

    def run(self, root: Element) -> None:
        if not self.wanted:
            return
        try:
            page = markdown_page(root, self.md.htmlStash.rawHtmlBlocks)
        except Unsure:
            return
        raise _Made(page)


class _HtmlBlocks(HtmlBlockPreprocessor):
    def run(self, lines: list[str]) -> list[str]:
        if any("<" in line or "&" in line for line in lines):
            return super().run(lines)
        return lines


class _Blocks(BlockParser):
    """Tries the kinds of block that may be there."""

    def parseBlocks(self, parent: Element, blocks: list[str]) -> None:
        kinds = self._kinds
        while blocks:
            for may, processor in kinds:
                block = blocks[0]
                if may(block) and processor.test(parent, block) and processor.run(parent, blocks) is not False:
                    break

    @cached_property
    def _kinds(self) -> list[tuple[_May, Any]]:
        return [(_BLOCK_MAY.get(name, _always), self.blockprocessors[name]) for name in _names(self.blockprocessors)]


class _Inline(InlineProcessor):
    """Tries the patterns that may be there."""

    def _InlineProcessor__handleInline(self, data: str, patternIndex: int = 0) -> str:
        if isinstance(data, AtomicString):
            return data
        has_references = bool(self.md.references)
        for index, may, needs_references, pattern in self._kinds[patternIndex:]:
            if not may(data) or (needs_references and not has_references):
                continue
            matched, start = True, 0
            while matched:
                data, matched, start = self._InlineProcessor__applyPattern(pattern, data, index, start)  # type: ignore[attr-defined]
        return data

    def run(self, tree: Element, ancestors: list[str] | None = None) -> Element:
        """As the library's; a text that no pattern can match is not taken out and put in again."""
        self.stashed_nodes: dict[str, Element | str] = {}
        ahead: deque[tuple[Element, list[str]]] = deque([(tree, [tree.tag.lower()])])
        while ahead:
            element, self.ancestors = ahead.popleft()
            if element is not tree:
                self.ancestors.append(element.tag.lower())
            found: list[tuple[Element, list[tuple[Element, list[str]]]]] = []
            for child in element:
                if (text := child.text) and self._may_match(text):
                    self.ancestors.append(child.tag.lower())
                    child.text = None
                    nodes = self._nodes(text, child, True)
                    ahead += nodes
                    found.append((child, nodes))
                    self.ancestors.pop()
                if (tail := child.tail) and self._may_match(tail):
                    child.tail = None
                    holder = Element("d")
                    nodes = self._nodes(tail, holder, False)
                    child.tail = holder.tail or None
                    place = list(element).index(child) + 1
                    for node, _ in reversed(nodes):
                        element.insert(place, node)
                if len(child):
                    ahead.append((child, self.ancestors[:]))
            for child, nodes in found:
                for place, (node, _) in enumerate(nodes):
                    child.insert(place, node)
        return tree

    def _may_match(self, text: str) -> bool:
        return not isinstance(text, AtomicString) and (self._has_others or _SIGN.search(text) is not None)

    def _nodes(self, text: str, parent: Element, is_text: bool) -> list[tuple[Element, list[str]]]:
        data = self._InlineProcessor__handleInline(text)
        nodes: list[tuple[Element, list[str]]] = self._InlineProcessor__processPlaceholders(data, parent, is_text)  # type: ignore[attr-defined]
        return nodes

    @cached_property
    def _has_others(self) -> bool:
        """Whether there are patterns of which nothing is known here."""
        return not _TEXT_MAY.keys() >= set(_names(self.md.inlinePatterns))

    @cached_property
    def _kinds(self) -> list[tuple[int, _May, bool, Any]]:
        patterns = self.md.inlinePatterns
        return [
            (index, _TEXT_MAY.get(name, _always), name in _OF_REFERENCES, patterns[name])
            for index, name in enumerate(_names(patterns))
        ]


def _always(text: str) -> bool:
    return True


def _names(registry: Registry[Any]) -> list[str]:
    """The names in a registry in the order of their priorities."""
    list(registry)  # sorts it
    return [item.name for item in registry._priority]  # type: ignore[attr-defined]

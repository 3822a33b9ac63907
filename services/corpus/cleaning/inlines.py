"""Inlines: what stands within a line, read by Python-Markdown as CommonMark has it (spec 0.31, section 6).

Code keeps a blank at its edge that parts it from the next word; only what is HTML goes as HTML, so that
`Vec<T: Debug>` stays; addresses of any scheme in `<…>` are links; the words for an image hold no markup;
a backslash before `&` shows what follows as it is typed. Knows Python-Markdown's patterns and nothing of blocks.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from markdown import Markdown, util
from markdown.inlinepatterns import (
    BacktickInlineProcessor,
    HtmlInlineProcessor,
    ImageInlineProcessor,
    InlineProcessor,
)

_CODE = r"(?:(?<!\\)((?:\\{2})+)(?=`+)|(?<![\\`])(`+)(?!`)(.+?)(?<!`)\2(?!`))"
_ATTRIBUTE = r"(?:\s+[A-Za-z_:][\w.:-]*(?:\s*=\s*(?:[^\s\"'=<>`]+|'[^']*'|\"[^\"]*\"))?)"
# These are HTML however badly their attributes are written.
_ELEMENTS = (
    "abbr|acronym|a|audio|big|blockquote|br|b|button|canvas|center|cite|code|dd|del|details|dfn|div|dl|dt|em|embed|"
    "figcaption|figure|font|footer|form|h[1-6]|header|hr|iframe|img|input|ins|i|kbd|label|li|mark|noscript|object|ol|"
    "p|picture|pre|q|rp|rt|ruby|samp|script|section|small|source|span|strike|strong|style|sub|summary|sup|svg|s|"
    "table|tbody|td|tfoot|thead|th|time|tr|tt|ul|u|var|video|wbr"
)
_HTML = (
    rf"(<(?:[A-Za-z][A-Za-z0-9-]*{_ATTRIBUTE}*\s*/?>|/[A-Za-z][\w-]*\s*>|/?(?i:{_ELEMENTS})(?=[\s/>])[^<>]*>"
    r"|!--.*?-->|\?.*?\?>|![A-Za-z][^<>]*>|!\[CDATA\[.*?\]\]>))"
)
_ADDRESS = r"<([A-Za-z][A-Za-z0-9.+-]{1,31}:[^\s<>]*)>"
_LANGUAGE = re.compile(r"^(?:#!|:::)[a-z][\w+-]* +(?=\S)")  # MkDocs: `#!python range(5)`
_SIZE = re.compile(r"\|\d+(?:x\d+)?$")  # Obsidian: `![words|300](…)`
_MARKED = re.compile(r"(\*\*|__|~~)(?=\S)(.+?)(?<=\S)\1|(?<!\w)([*_])(?=\S)([^*_]+?)(?<=\S)\3(?!\w)")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")


def register_inlines(md: Markdown) -> None:
    """Put these patterns in the place of Python-Markdown's."""
    md.inlinePatterns.register(_CodeSpan(_CODE), "backtick", 190)
    md.inlinePatterns.register(_Ampersand(r"\\&", md), "ampersand", 181)
    md.inlinePatterns.register(_Image(r"!\[", md), "image_link", 150)
    md.inlinePatterns.register(_Address(_ADDRESS, md), "autolink", 120)
    md.inlinePatterns.register(HtmlInlineProcessor(_HTML, md), "html", 90)


class _CodeSpan(BacktickInlineProcessor):
    """Takes one blank off each side, if both have one."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Element | str, int, int]:  # type: ignore[override]
        if not m[3]:
            return m[1].replace("\\\\", self.ESCAPED_BSLASH), m.start(0), m.end(0)
        code = _LANGUAGE.sub("", m[3].replace("\n", " "))
        if code[0] == code[-1] == " " and code.strip():
            code = code[1:-1]
        element = Element("code")
        element.text = util.AtomicString(util.code_escape(code))
        return element, m.start(0), m.end(0)


class _Ampersand(InlineProcessor):
    """`\\&` is a sign, and no start of an entity."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:  # type: ignore[override]
        return self.md.htmlStash.store("&amp;"), m.start(0), m.end(0)


class _Image(ImageInlineProcessor):
    """Its words are plain ones."""

    def handleMatch(  # type: ignore[override]
        self, m: re.Match[str], data: str
    ) -> tuple[Element | str | None, int | None, int | None]:
        element, start, end = super().handleMatch(m, data)
        if isinstance(element, Element):
            element.set("alt", _plain(element.get("alt", "")))
        return element, start, end


class _Address(InlineProcessor):
    """`<scheme:…>`"""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Element, int, int]:  # type: ignore[override]
        element = Element("a")
        element.set("href", self.unescape(m[1]))
        element.text = util.AtomicString(m[1])
        return element, m.start(0), m.end(0)


def _plain(words: str) -> str:
    words = _SIZE.sub("", words)
    if "[" in words:
        words = _LINK.sub(r"\1", words)
    for _ in range(2):  # strong words may hold emphasised ones
        words = _MARKED.sub(lambda found: found[2] or found[4], words)
    return words

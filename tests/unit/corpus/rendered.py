"""Another reading of Markdown: what markdown-it shows, so that tests do not compare our reading with itself.

Written after CommonMark and GitHub's tables, by other people than Python-Markdown; its HTML is read by the
standard library's parser.
"""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

from markdown_it import MarkdownIt

_WORD = re.compile(r"[^\W\d_]{2,}")
_UNSEEN = frozenset(
    {"script", "style", "svg", "button", "iframe", "video", "template", "select", "nav", "textarea", "title"}
)
_READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


class _Shown(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self.unseen += 1
        elif tag == "img":
            self.parts.append(f" {dict(attrs).get('alt') or ''} ")
        self.parts.append(
            " " if tag not in ("b", "i", "em", "strong", "a", "code", "sup", "sub", "span", "del") else ""
        )

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self.unseen -= 1
        self.parts.append(
            " " if tag not in ("b", "i", "em", "strong", "a", "code", "sup", "sub", "span", "del") else ""
        )

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.parts.append(data)


def shown(markdown: str) -> str:
    """The text of the page that markdown-it makes."""
    return shown_html(_READER.render(markdown))


def shown_html(page: str) -> str:
    """The text of a page of HTML, as the standard library's parser reads it."""
    reader = _Shown()
    reader.feed(page)
    reader.close()
    return "".join(reader.parts)


def words(text: str) -> Counter[str]:
    """How often each word of two letters or more is there, whatever its case."""
    return Counter(_WORD.findall(text.lower()))

"""Page: HTML, however broken, as a tree that can be walked. What HTML means is not known here."""

from __future__ import annotations

import re
from html import escape
from itertools import islice

from bs4 import BeautifulSoup
from bs4.element import NavigableString, PageElement, PreformattedString, Tag

from services.corpus.cleaning.maths import drop_maths, keep_maths
from services.corpus.cleaning.reading import valid

_MAX_DEPTH = 80  # elements inside each other; the walks take a few frames for each, and Python has a thousand
_END_OF_PAGE = re.compile(r"</(?:body|html)\s*>", re.IGNORECASE)
_REFERENCE = re.compile(
    r"&#(?:x0*(?P<hexadecimal>[0-9a-f]{1,6})(?![0-9a-f])|0*(?P<decimal>\d{1,7})(?!\d));?", re.IGNORECASE
)
_ABOUT = re.compile(r"<(?:meta|time)\b[^<>]{0,500}>", re.IGNORECASE)
_PUBLISHED = re.compile(
    r"\b(?:class|itemprop|property|name)\s*=\s*[\"'](?:[^\"']*\s)?"
    r"(?:dt-published|published|datePublished|article:published_time|date|dcterms\.date)[\"'\s]",
    re.IGNORECASE,
)
_WHEN = re.compile(r"\b(?:datetime|content)\s*=\s*[\"']([^\"'<>]{6,40})[\"']", re.IGNORECASE)
_MAX_ABOUT = 200  # tags that may tell the date


def parse(html: str) -> BeautifulSoup:
    """The tree of a page or a fragment.

    References such as `&#xfdd0;` to what is no character go, as such code points stand for things taken out.
    """
    if "&#" in html:
        html = _REFERENCE.sub(_visible, html)
    # What follows the end of a page belongs to it, as in a browser; lxml would begin a second page.
    soup = BeautifulSoup(_END_OF_PAGE.sub("", html), "lxml")
    if "h-entry" in html:  # the footer of an exported post says by whom and when, and what exported it
        for footer in soup.select(".h-entry footer"):
            if footer.select_one(".p-author, .dt-published, .p-canonical"):
                footer.decompose()
    return soup


def date_of_page(html: str) -> str:
    """When a page says that it was published, as it says it: in its `meta` or in a `time`; "" if it does not."""
    for found in islice(_ABOUT.finditer(html), _MAX_ABOUT):
        if _PUBLISHED.search(found[0]) and (date := _WHEN.search(found[0])):
            return date[1]
    return ""


def take_maths(soup: BeautifulSoup, kept: list[str] | None) -> None:
    """Put placeholders for the formulas that a script would typeset, and the formulas into `kept`; None drops them."""
    for words in soup.find_all(string=re.compile(r"[$\\]")):
        if words.find_parent(("pre", "code", "script", "style")) is None:
            found = keep_maths(str(words), [] if kept is None else kept)
            words.replace_with(drop_maths(found) if kept is None else found)


def flattened(soup: BeautifulSoup) -> BeautifulSoup:
    """The same page without the tags of elements that are nested too deeply to be walked; what they hold stays."""
    parts: list[str] = []
    stack: list[tuple[PageElement | str, int]] = [(soup, 0)]
    while stack:
        node, depth = stack.pop()
        if type(node) is str:
            parts.append(node)
        elif isinstance(node, Tag) and node.name not in ("script", "style"):
            stack += [(f"</{node.name}>", depth)] if 0 < depth <= _MAX_DEPTH and node.contents else []
            stack += [(child, depth + 1) for child in reversed(node.contents)]
            if 0 < depth <= _MAX_DEPTH:
                parts.append(f"<{node.name}{''.join(map(_attribute, node.attrs.items()))}>")
        elif isinstance(node, NavigableString) and not isinstance(node, PreformattedString):
            parts.append(escape(node, quote=False))
    return BeautifulSoup("".join(parts), "lxml")


def _attribute(item: tuple[str, object]) -> str:
    name, value = item
    return f' {name}="{escape(" ".join(value) if isinstance(value, list) else str(value))}"'


def _visible(found: re.Match[str]) -> str:
    number = int(found["hexadecimal"], 16) if found["hexadecimal"] else int(found["decimal"])
    return found[0] if number < 0x110000 and (valid(f"x{chr(number)}") != "x" or number in (0x200C, 0x200D)) else ""

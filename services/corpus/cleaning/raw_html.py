"""Raw HTML: blocks of HTML in a post's Markdown, where nothing is read as Markdown though authors type it there.

A name of an emoji is drawn; a link or an image in Markdown's brackets becomes one of HTML, even around a link that
is HTML already. Code, tags and what is written with entities stay as they are. In and out: HTML.
"""

from __future__ import annotations

import re
from collections import Counter

from services.corpus.cleaning.emoji_names import draw_emoji

_CODE_TAG = re.compile(r"<(/?)(pre|code)\b[^<>]*>", re.IGNORECASE)
_HIDDEN = re.compile("\ufdd9(\\d+)\ufdda")  # no characters, so that no text holds them
# No word holds a bracket, nor a tag in it, so that each opening one is looked at once. An address looks like one.
_LINK = re.compile(
    r"<[^<>]*>|(?P<image>!?)\[(?P<words>(?:[^\[\]<]|<[^<>\[\]]*>)+)\]"
    r"\((?P<address>(?=https?://|mailto:|#|\.{0,2}/)(?:[^\s()<>\"]|\([^\s()<>\"]*\))+)(?:\s+\"[^\"<>]*\")?\)",
    re.IGNORECASE,
)
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_INLINE = frozenset(
    ("a", "abbr", "b", "del", "em", "i", "kbd", "mark", "s", "small", "span", "strong", "sub", "sup", "u")
)


def read_raw_html(html: str) -> str:
    """The HTML that the author of a block of it meant; in time in proportion to it."""
    if ":" not in html and "](" not in html:
        return html
    code: list[str] = []
    html = _without_code(html, code)
    if "](" in html:
        html = _LINK.sub(_link, html)
    return _HIDDEN.sub(lambda found: code[int(found[1])], draw_emoji(html))


def _without_code(html: str, code: list[str]) -> str:
    """Put placeholders for the elements of code, which go into `code`; one that is not closed goes on to the end."""
    parts: list[str] = []
    end = 0
    opened: re.Match[str] | None = None
    for tag in _CODE_TAG.finditer(html):
        if opened is None:
            opened = None if tag[1] else tag
        elif tag[1] and tag[2].lower() == opened[2].lower():
            parts += [html[end : opened.start()], f"\ufdd9{len(code)}\ufdda"]
            code.append(html[opened.start() : tag.end()])
            end, opened = tag.end(), None
    if opened is not None:
        parts += [html[end : opened.start()], f"\ufdd9{len(code)}\ufdda"]
        code.append(html[opened.start() :])
        end = len(html)
    return "".join(parts) + html[end:]


def _link(found: re.Match[str]) -> str:
    words, address = found["words"], found["address"]
    if address is None:
        return found[0]
    if found["image"]:
        return found[0] if "<" in words or '"' in words else f'<img src="{address}" alt="{words}">'
    open_tags: Counter[str] = Counter()
    for closing, name in _TAG.findall(words):
        if name.lower() not in _INLINE:
            return found[0]
        open_tags[name.lower()] += -1 if closing else 1
    if any(open_tags.values()):
        return found[0]  # it begins inside one element and ends in another
    return words if "a" in open_tags else f'<a href="{address}">{words}</a>'

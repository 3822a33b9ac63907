"""WordPress exports: WXR, an RSS feed with everything in it -> posts. Read in constant memory.

The parser is expat, fed with bytes that were made valid first: real exports hold control characters and broken UTF-8.
Entities are never declared nor expanded, and nothing outside the file is read.
"""

from __future__ import annotations

import codecs
import html
import re
from collections import Counter
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import IO
from xml.parsers import expat

from services.corpus.opening import shortcodes
from services.corpus.opening.exports import Entry, Unread, slug_of
from services.corpus.opening.json_exports import date_of, status_of
from services.corpus.reasons import Code, LeftOut, Reason

_PIECE = 256 << 10
_EXPECTED = "it is no WordPress export: an RSS feed with `wp:post_type` in each item was expected"
_FIELDS = frozenset(
    (
        *("title", "pubDate", "content:encoded", "wp:post_id", "wp:post_date", "wp:post_date_gmt", "wp:post_name"),
        *("wp:status", "wp:post_type", "wp:post_password"),
    )
)
_TERMS = ("category", "post_tag", "tag")
_DECLARED = re.compile(rb"<\?xml[^>]*encoding\s*=\s*[\"']([\w.-]+)[\"']")
_NOT_XML = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF])


def read_wxr(file: IO[bytes], max_post_bytes: int) -> Iterator[Entry | Unread]:
    """Yield the posts and pages of an export; what is in the trash and what is neither is told.

    Raises:
        LeftOut: UNKNOWN_KIND: no WordPress export; BAD_ARCHIVE: broken behind the first items, or it declares entities.
    """
    parser = _Parser(max_post_bytes)
    num_items = 0
    others: Counter[str] = Counter()
    for text in _texts(file):
        parser.feed(text)
        for item in parser.take():
            num_items += 1
            kind = item.fields.get("wp:post_type", "")
            if not kind:
                raise LeftOut(Code.UNKNOWN_KIND, _EXPECTED)
            if kind not in ("post", "page"):
                others[kind] += 1
            else:
                yield _entry(item, num_items, kind)
    parser.finish()
    if not num_items and not parser.is_wordpress:
        raise LeftOut(Code.UNKNOWN_KIND, _EXPECTED)
    if others:
        kinds = ", ".join(f"{number} {kind[:40]}" for kind, number in others.most_common(20))
        yield Unread("", Reason(Code.UNKNOWN_KIND, f"only posts and pages are read; it also holds {kinds}"))


def _entry(item: _Item, number: int, kind: str) -> Entry | Unread:
    fields = item.fields
    title = html.unescape(re.sub(r"<[^<>]*>", "", fields.get("title", "")))
    key = slug_of(fields.get("wp:post_id", "")) or str(number)
    status = fields.get("wp:status", "publish").strip().lower()
    if status in ("trash", "inherit", "auto-draft"):
        name = slug_of(fields.get("wp:post_name", "") or title) or key
        return Unread(f"{name}-{key}", Reason(Code.DRAFT, f"its status in WordPress is {status}"))
    dates = (fields.get("wp:post_date"), fields.get("wp:post_date_gmt"), _rss_date(fields.get("pubDate", "")))
    return Entry(
        key=key,
        title=title,
        slug=fields.get("wp:post_name", "").strip(),
        date=next(filter(None, map(date_of, dates)), ""),
        tags=tuple(dict.fromkeys(html.unescape(tag).strip() for tag in item.tags if tag.strip())),
        status="private" if fields.get("wp:post_password", "").strip() else status_of(status),
        kind=kind,
        body=shortcodes.to_html(fields.get("content:encoded", "")),
        suffix=".html",
    )


def _rss_date(text: str) -> str:
    try:
        return parsedate_to_datetime(text).date().isoformat() if text.strip() else ""
    except (ValueError, TypeError, OverflowError):
        return ""


def _texts(file: IO[bytes]) -> Iterator[str]:
    """The file's text in pieces, without what XML forbids."""
    head = file.read(4096)
    file.seek(0)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        found = _DECLARED.search(head)
        # A declaration that reads as ASCII is not in UTF-16, whatever it says.
        encoding = found[1].decode("ascii", "replace").lower().replace("utf-16", "utf-8") if found else "utf-8-sig"
    try:
        decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding.lower() == "utf-8" else encoding)("replace")
        "".encode(encoding)  # refuses what is no encoding of text, such as base64
        if encoding != "utf-16":  # whose mark was seen
            decoder.decode(b"\xff\xff", True)  # refuses what raises whatever is asked for, such as punycode
            decoder.reset()
    except (LookupError, UnicodeError):
        decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    while piece := file.read(_PIECE):
        text = decoder.decode(piece)
        yield text.translate(_NOT_XML)
    yield decoder.decode(b"", True).translate(_NOT_XML)


class _Item:
    """An `<item>` that is being read."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.tags: list[str] = []


class _Parser:
    """Feeds expat and gathers items."""

    def __init__(self, max_post_bytes: int) -> None:
        self.is_wordpress = False
        self._max_characters = max_post_bytes + 1
        self._depth = 0
        self._has_items = False
        self._item: _Item | None = None
        self._item_depth = 0
        self._field = ""
        self._is_term = False
        self._text: list[str] = []
        self._num_characters = 0
        self._done: list[_Item] = []
        self._expat = expat.ParserCreate("utf-8")
        self._expat.buffer_text = True
        # As if there were declarations elsewhere: `&nbsp;` is then handed over instead of being an error.
        self._expat.UseForeignDTD(True)
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._characters
        self._expat.EntityDeclHandler = self._declared
        self._expat.SkippedEntityHandler = self._skipped

    def feed(self, text: str) -> None:
        """Parse a piece."""
        self._parse(text.encode("utf-8", errors="replace"), False)

    def finish(self) -> None:
        """The file is at its end."""
        self._parse(b"", True)

    def take(self) -> list[_Item]:
        """The items that are complete, each once."""
        done, self._done = self._done, []
        return done

    def _parse(self, piece: bytes, is_last: bool) -> None:
        try:
            self._expat.Parse(piece, is_last)
        except expat.ExpatError as error:
            if not self._has_items:
                raise LeftOut(Code.UNKNOWN_KIND, f"{_EXPECTED}; it is not XML: {error}") from None
            raise LeftOut(Code.BAD_ARCHIVE, f"it is damaged or cut off: {error}") from None

    def _declared(self, name: str, *_: object) -> None:
        raise LeftOut(Code.BAD_ARCHIVE, f"it declares the entity {name[:40]!r}, which no WordPress export does")

    def _skipped(self, name: str, is_parameter: int) -> None:
        if not is_parameter:
            self._characters(html.unescape(f"&{name};"))

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1 and name != "rss":
            raise LeftOut(Code.UNKNOWN_KIND, _EXPECTED)
        if name.startswith("wp:"):
            self.is_wordpress = True
        if self._item is None:
            if name == "item":
                self._item, self._item_depth, self._has_items = _Item(), self._depth, True
        elif self._depth == self._item_depth + 1:
            self._is_term = name == "category" and attributes.get("domain") in _TERMS
            self._field = name if self._is_term or name in _FIELDS else ""
            self._text, self._num_characters = [], 0

    def _characters(self, text: str) -> None:
        if self._field and self._num_characters <= self._max_characters:
            self._num_characters += len(text)
            self._text.append(text)

    def _end(self, name: str) -> None:
        if self._item is not None and self._field and self._depth == self._item_depth + 1:
            text = "".join(self._text)
            if self._is_term:
                self._item.tags.append(text[:1000])
            else:
                self._item.fields.setdefault(self._field, text)
            self._field = ""
        elif self._item is not None and self._depth == self._item_depth:
            self._done.append(self._item)
            self._item = None
        self._depth -= 1

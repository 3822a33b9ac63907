"""Exports: one file in which a blogging system hands over all posts -> a small source file for each.

Ghost's JSON, WordPress' WXR (XML), and lists of posts as JSON. The sources are HTML, Markdown or text under front
matter, so that what reads any other post reads them too. ghost.py and wordpress.py know the formats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO
from urllib.parse import unquote

from services.corpus.reasons import Reason

SUFFIXES = frozenset({".json", ".xml"})
_MAX_SLUG = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """A post in an export.

    Args:
        key: what the system calls it, such as a number; tells entries of one name apart.
        slug: its name in addresses; "" if it has none.
        date: `YYYY-MM-DD`, or "" if unknown.
        status: `published`, `scheduled`, `draft` or `private`.
        kind: `post` or `page`.
        body: its text, in what `suffix` says: `.html`, `.md` or `.txt`.
    """

    key: str
    title: str
    slug: str
    date: str
    tags: tuple[str, ...]
    status: str
    kind: str
    body: str
    suffix: str


@dataclass(frozen=True, slots=True)
class Unread:
    """Something in an export that is no post. `name` may be "", for what the whole export has."""

    name: str
    reason: Reason


def read_entries(file: IO[bytes], path: str, max_post_bytes: int) -> Iterator[Entry | Unread]:
    """Yield the posts of an export, pages included, in the export's order.

    Args:
        file: seekable.
        path: its suffix tells JSON from XML.
        max_post_bytes: of a post that is larger, no more than this is kept, and a little.

    Raises:
        LeftOut: UNKNOWN_KIND: it is JSON or XML, but no export; BAD_ARCHIVE: it is broken.
    """
    if path.lower().endswith(".xml"):
        from services.corpus.opening import wordpress

        yield from wordpress.read_wxr(file, max_post_bytes)
    else:
        from services.corpus.opening import json_exports

        yield from json_exports.read_json(file)


def source(entry: Entry) -> bytes:
    """The post as a file of its own. Values are written as JSON, which YAML reads."""
    fields: dict[str, object] = {"title": " ".join(entry.title.split())}
    if entry.date:
        fields["date"] = entry.date
    if entry.tags:
        fields["tags"] = list(entry.tags)
    if entry.status != "published":
        fields["status"] = entry.status
    if entry.kind != "post":
        fields["type"] = entry.kind
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    text = "\n".join(["---", *lines, "---", "", entry.body.strip("\n"), ""])
    return text.encode("utf-8", errors="replace")


class Names:
    """Names for the posts of one export: the same post has the same name in the next export, and no two have one."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, entry: Entry) -> str:
        """`<date>-<slug>.html`, with what the system calls the post where that is taken."""
        slug = slug_of(entry.slug) or slug_of(entry.title) or slug_of(entry.key) or "post"
        stem = f"{entry.date}-{slug}" if entry.date else slug
        name = f"{stem}{entry.suffix}"
        number = 2
        if name in self._taken and slug_of(entry.key):
            name = f"{stem}-{slug_of(entry.key)}{entry.suffix}"
        while name in self._taken:
            name = f"{stem}-{number}{entry.suffix}"
            number += 1
        self._taken.add(name)
        return name


def slug_of(text: str) -> str:
    """Words joined by dashes, in any script, without what a path may not hold."""
    return re.sub(r"[^\w]+", "-", unquote(text).lower()).strip("-_")[:_MAX_SLUG]

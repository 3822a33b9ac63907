"""A written text as a post: the header in front of it (format header-v1), and the Markdown file made of both."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

HEADER_NAMES = ("title", "tags", "date")
_LINE = re.compile(r"(title|tags|date): ?(.*)")
# A header is three short lines; what goes on longer without a blank line is text that only looks like one.
MAX_HEADER_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class PostText:
    """A text cut into header and body.

    Args:
        title, tags, date: as written in the header; empty where it has none.
        body: what follows.
        body_start: where the body begins in the text, in characters.
    """

    title: str = ""
    tags: tuple[str, ...] = ()
    date: str = ""
    body: str = ""
    body_start: int = 0

    @property
    def has_header(self) -> bool:
        """Whether any header line was there."""
        return bool(self.title or self.tags or self.date)


def split(text: str) -> PostText:
    """Cut the header off a text. A text without one is all body."""
    found: dict[str, str] = {}
    position = 0
    while position < min(len(text), MAX_HEADER_CHARACTERS):
        end = text.find("\n", position)
        line = text[position:] if end < 0 else text[position:end]
        match = _LINE.fullmatch(line)
        if match is None or match[1] in found:
            break
        found[match[1]] = match[2].strip()
        position = len(text) if end < 0 else end + 1
    if not found:
        return PostText(body=text)
    if text[position : position + 1] == "\n":
        position += 1
    tags = tuple(tag.strip() for tag in found.get("tags", "").split(",") if tag.strip())
    return PostText(found.get("title", ""), tags, found.get("date", ""), text[position:], position)


def may_be_header(text: str) -> bool:
    """Whether a text that is still being written may be inside its header."""
    if len(text) > MAX_HEADER_CHARACTERS or "\n\n" in text:
        return False
    *lines, last = text.split("\n")
    whole = all(_LINE.fullmatch(line) for line in lines)
    return whole and (_LINE.fullmatch(last) is not None or any(f"{name}: ".startswith(last) for name in HEADER_NAMES))


def to_markdown(text: str) -> str:
    """The text as a Markdown file with YAML front matter, as blogs keep posts."""
    post = split(text)
    lines = []
    if post.title:
        lines.append(f"title: {_quoted(post.title)}")
    if post.tags:
        lines.append(f"tags: [{', '.join(_quoted(tag) for tag in post.tags)}]")
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", post.date):
        lines.append(f"date: {post.date}")
    front_matter = "---\n" + "\n".join(lines) + "\n---\n\n" if lines else ""
    return f"{front_matter}{post.body.strip()}\n"


def file_stem(text: str, otherwise: str) -> str:
    """A file name without suffix, made of the title; `otherwise` when there is none."""
    words = re.sub(r"[^a-z0-9]+", "-", split(text).title.lower()).strip("-")
    return words[:60].strip("-") or otherwise


def _quoted(value: str) -> str:
    """A YAML double-quoted scalar: JSON's strings are a subset of it."""
    return json.dumps(value, ensure_ascii=False)

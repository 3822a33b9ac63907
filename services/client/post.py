"""A generated text as a post: the header that models learn to write, apart from the body, and as Markdown.

Header format `header-v1`: lines `title: …`, `tags: a, b`, `date: YYYY-MM-DD`, those that exist, then a blank line.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_LINE = re.compile(r"(title|tags|date): ?(.*)")


@dataclass(frozen=True, slots=True)
class Post:
    """A text in parts. Empty: the text did not say."""

    title: str
    tags: tuple[str, ...]
    date: str
    body: str

    @property
    def has_header(self) -> bool:
        """Whether the text began with a header."""
        return bool(self.title or self.tags or self.date)


def parse(text: str) -> Post:
    """Split a text into header and body. A text without a header, or with a broken one, is all body."""
    values: dict[str, str] = {}
    lines = text.split("\n")
    for number, line in enumerate(lines):
        match = _LINE.fullmatch(line.rstrip())
        if match is None or match[1] in values:
            is_whole = bool(values) and not line.strip()
            body = "\n".join(lines[number + 1 :]) if is_whole else text
            break
        values[match[1]] = match[2].strip()
    else:
        is_whole, body = bool(values), ""
    if not is_whole:
        return Post("", (), "", text)
    tags = tuple(tag for part in values.get("tags", "").split(",") if (tag := part.strip()))
    return Post(values.get("title", ""), tags, values.get("date", ""), body.strip("\n"))


def as_markdown(post: Post) -> str:
    """Write a post as a Markdown file with YAML front matter, as blogs keep them."""
    front = []
    if post.title:
        front.append(f"title: {_quoted(post.title)}")
    if post.date:
        front.append(f"date: {post.date if re.fullmatch(r'[0-9-]+', post.date) else _quoted(post.date)}")
    if post.tags:
        front.append(f"tags: [{', '.join(_quoted(tag) for tag in post.tags)}]")
    body = post.body.strip("\n") + "\n"
    return "\n".join(["---", *front, "---", "", body]) if front else body


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar; JSON's strings are a subset of them."""
    return json.dumps(text, ensure_ascii=False)

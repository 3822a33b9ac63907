"""Documents: a post -> metadata and text, with content hashes and what is known about the text.

The whole of cleaning in one call: decode, take off front matter, find title, tags and date, turn Markdown or
HTML into text, mask secrets, look at the language. Whether a post is taken is decided elsewhere, in choosing.py:
a draft has a document too. Pure; what may hang or overflow runs in cleaners.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import date as Date
from pathlib import PurePosixPath
from typing import Any

from services.corpus.frontmatter import split
from services.corpus.html_text import PageText, page_text
from services.corpus.marks import Marks, find_marks
from services.corpus.minhash import signature
from services.corpus.plain_text import markdown_text
from services.corpus.reading import read, valid
from services.corpus.reasons import Code, LeftOut, Reason
from services.corpus.rules import Rules

MARKDOWN = frozenset({".md", ".markdown", ".mdown", ".mkd", ".mdx"})
HTML = frozenset({".html", ".htm"})
TEXT = frozenset({".txt", ".text"})
SUFFIXES = MARKDOWN | HTML | TEXT

_MAX_TITLE = 300
_MAX_TAGS = 50
_DATE = re.compile(r"(?<!\d)(\d{4})([-/._])(\d{1,2})\2(\d{1,2})(?!\d)")


@dataclass(frozen=True, slots=True)
class Measures:
    """What was computed from a document: see the properties of Document."""

    content_hash: str
    text_hash: str
    num_words: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Document:
    """A post after cleaning.

    Args:
        title: one line; "" if the author gave none.
        tags: tags, then categories, in the author's order, each once.
        date: `YYYY-MM-DD`, or "" if unknown.
        text: the cleaned text, never blank.
        notes: what had to be mended on the way.
        marks: what the post says of itself.
        language: ISO 639-1 code; "" if the text is too short to tell.
        quality: scores from 0 to 1 by name; see quality.py.
        signature: what near duplicates are found by; see minhash.py. b"" if the text holds no word.
        measures: what was computed from the fields above, if anything was; to be dropped when one of them changes.
    """

    title: str
    tags: tuple[str, ...]
    date: str
    text: str
    notes: tuple[Reason, ...] = ()
    marks: Marks = Marks()
    language: str = ""
    quality: dict[str, float] = field(default_factory=dict)
    signature: bytes = b""
    measures: Measures | None = field(default=None, compare=False, repr=False)

    @property
    def content_hash(self) -> str:
        """SHA-256 of metadata and text, 64 hex digits."""
        if self.measures is not None:
            return self.measures.content_hash
        content = json.dumps([self.title, list(self.tags), self.date, self.text], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def text_hash(self) -> str:
        """SHA-256 of the text without its white space: equal for posts that say the same."""
        if self.measures is not None:
            return self.measures.text_hash
        return hashlib.sha256("".join(self.text.split()).encode()).hexdigest()

    @property
    def num_words(self) -> int:
        """Words of the text, parted by white space."""
        return self.measures.num_words if self.measures is not None else len(self.text.split())

    @property
    def num_bytes(self) -> int:
        """Bytes of the text in UTF-8."""
        return self.measures.num_bytes if self.measures is not None else len(self.text.encode())

    def measure(self) -> Measures:
        """All of these, to be computed once and carried along."""
        return Measures(self.content_hash, self.text_hash, self.num_words, self.num_bytes)


def make_document(path: str, content: bytes, rules: Rules) -> Document:
    """Clean a post.

    Args:
        path: relative to the imported folder, `/` between parts; its suffix tells the kind, its
            name may hold a date.
        content: the file's bytes.

    Raises:
        LeftOut: UNKNOWN_KIND, EMPTY or NOT_TEXT.
        RecursionError: its markup is nested too deeply.
    """
    pure = PurePosixPath(path)
    suffix = pure.suffix.lower()
    if suffix not in SUFFIXES:
        raise LeftOut(Code.UNKNOWN_KIND, unknown_kind(path))
    reading = read(content, mend=rules.mend_text)
    front = split(reading.text)
    page = _text(front.body, suffix, rules)
    if not page.text.strip():
        raise LeftOut(Code.EMPTY, "nothing is left but front matter, white space or markup")
    title = _one_line(front.fields.get("title"))[:_MAX_TITLE]
    text = valid(page.text)  # references in HTML can spell what reading took out
    leads = text.startswith(f"{page.heading}\n\n") if page.heading else False
    if leads and (not title or _letters(page.heading) == _letters(title)):
        text = text[len(page.heading) :].lstrip("\n")  # the header says it already
    notes = list(reading.notes)
    if front.problem:
        notes.append(Reason(Code.BROKEN_FRONT_MATTER, front.problem))
    return Document(
        *(
            title or valid(page.heading)[:_MAX_TITLE],
            _tags(front.fields),
            _date(front.fields, pure),
            text,
            tuple(notes),
        ),
        marks=find_marks(front.fields, pure),
        signature=signature(text),
    )


def unknown_kind(path: str) -> str:
    """Say that a file's suffix is none that posts have."""
    suffix = PurePosixPath(path).suffix
    known = ", ".join(sorted(SUFFIXES))
    return f"its suffix {suffix} is none of {known}" if suffix else f"it has no suffix; posts have one of {known}"


def _text(body: str, suffix: str, rules: Rules) -> PageText:
    if suffix in MARKDOWN:
        return markdown_text(body, rules, mdx=suffix == ".mdx")
    if suffix in HTML:
        return page_text(body, rules)
    text = re.sub(r"[ \t]+$", "", body, flags=re.MULTILINE)
    return PageText(re.sub(r"\n{3,}", "\n\n", text).strip("\n").rstrip())


def _one_line(value: Any) -> str:
    """A scalar of front matter as one line; nothing else has one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(valid(str(value)).split()) if isinstance(value, (str, int, float, Date)) else ""


def _tags(fields: dict[str, Any]) -> tuple[str, ...]:
    lower = {str(key).lower(): value for key, value in fields.items()}
    taxonomies = lower.get("taxonomies")
    nested = {str(key).lower(): value for key, value in taxonomies.items()} if isinstance(taxonomies, dict) else {}
    found: dict[str, None] = {}
    for source in (lower, nested):
        for name in ("tags", "tag", "categories", "category"):
            for tag in _words_of(source.get(name)):
                found.setdefault(tag[:_MAX_TITLE])
    return tuple(list(found)[:_MAX_TAGS])


def _words_of(value: Any) -> list[str]:
    """A list, or a string: parted by commas if it has any, else by spaces, as Jekyll does."""
    if isinstance(value, list):
        return [word for word in map(_one_line, value) if word]
    text = _one_line(value).strip("[]")
    parts = text.split(",") if "," in text else text.split()
    return [part.strip().strip("\"'") for part in parts if part.strip()]


def _date(fields: dict[str, Any], path: PurePosixPath) -> str:
    """From the front matter, else from the file's name or folders, else from its address on the site."""
    lower = {str(key).lower(): value for key, value in fields.items()}
    candidates = [_one_line(lower.get(name)) for name in ("date", "published", "published_at", "pubdate", "created")]
    candidates += [path.name, str(path)]
    candidates += [_one_line(lower.get(name)) for name in ("permalink", "path", "url", "slug")]
    for candidate in candidates:
        for found in _DATE.finditer(candidate):
            try:
                return Date(int(found[1]), int(found[3]), int(found[4])).isoformat()
            except ValueError:
                continue
    return ""


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())

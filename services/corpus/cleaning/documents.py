"""Documents: a post -> metadata and text, with content hashes and what is known about the text.

The whole of cleaning in one call: decode, take off front matter, find title, tags and date, turn Markdown or
HTML into text, mask secrets, look at the language. Whether a post is taken is decided elsewhere, in choosing.py:
a draft has a document too. Pure; what may hang or overflow runs in cleaners.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from datetime import date as Date
from pathlib import PurePosixPath
from typing import Any

from services.corpus.cleaning.frontmatter import FrontMatter, split
from services.corpus.cleaning.html_text import PageText, page_text
from services.corpus.cleaning.language import language
from services.corpus.cleaning.markdown_form import markdown_of_html, markdown_of_markdown, markdown_of_text
from services.corpus.cleaning.marks import Marks, find_marks
from services.corpus.cleaning.minhash import signature
from services.corpus.cleaning.page import date_of_page
from services.corpus.cleaning.plain_text import markdown_text
from services.corpus.cleaning.quality import quality
from services.corpus.cleaning.reading import read, valid
from services.corpus.cleaning.secrets import apart, find_addresses, find_secrets, in_words, mask
from services.corpus.kinds import HTML, MARKDOWN, POSTS, RST, outside_bundles, unknown_kind
from services.corpus.reasons import Code, LeftOut, Reason
from services.corpus.rules import Rules

_MAX_TITLE = 300
_MAX_TAGS = 50
_DATE = re.compile(r"(?<!\d)(\d{4})([-/._])(\d{1,2})\2(\d{1,2})(?!\d)")
# `8 July 2022`, `July 8th, 2022`, `Fri, 08 Jul 2022`
_NAMED_DATE = re.compile(
    r"\b(?:(\d{1,2})(?:st|nd|rd|th)? ([A-Za-z]{3})[a-z]*|([A-Za-z]{3})[a-z]*\.? (\d{1,2})(?:st|nd|rd|th)?),? (\d{4})\b"
)
_MONTHS = {
    **{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6},
    **{"jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12},
}
_DATED = ("date", "published", "published_at", "publishdate", "publish_date", "pubdate", "created", "created_at")


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
    language: str = field(default="", compare=False)
    quality: dict[str, float] = field(default_factory=dict, compare=False)
    signature: bytes = field(default=b"", compare=False)
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
    if suffix not in POSTS:
        raise LeftOut(Code.UNKNOWN_KIND, unknown_kind(path))
    reading = read(content, mend=rules.mend_text)
    front = split(reading.text)
    if suffix in RST:
        from services.corpus.cleaning.rst import read_rst  # docutils is large; most blogs never need it

        rst = read_rst(front.body, keep_maths=rules.keep_maths)
        front = FrontMatter(rst.fields | front.fields, rst.html, front.problem)
    elif suffix in HTML and (date := date_of_page(front.body)):
        front = FrontMatter({"date": date} | front.fields, front.body, front.problem)
    page = _text(front.body, suffix, rules)
    if not page.text.strip():
        raise LeftOut(Code.EMPTY, "nothing is left but front matter, white space or markup")
    lower = {str(key).lower(): value for key, value in front.fields.items()}
    title = _one_line(lower.get("title"))[:_MAX_TITLE]
    text = valid(page.text)  # references in HTML can spell what reading took out
    line = valid(page.heading_line)
    leads = text.startswith(f"{line}\n\n") if line else False
    if leads and (not title or _letters(page.heading) == _letters(title)):
        text = text[len(line) :].lstrip("\n")  # the header says it already
    notes = list(reading.notes)
    if front.problem:
        notes.append(Reason(Code.BROKEN_FRONT_MATTER, front.problem))
    title, text, secrets = _mask(title or valid(page.heading)[:_MAX_TITLE], text, rules, notes)
    marks = replace(find_marks(front.fields, pure), secrets=secrets)
    return Document(
        *(title, _tags(front.fields), _date(front.fields, pure), text, tuple(notes), marks),
        language=language(text),
        quality=quality(text),
        signature=signature(text),
    )


def _text(body: str, suffix: str, rules: Rules) -> PageText:
    if suffix in MARKDOWN:
        make = markdown_of_markdown if rules.form == "markdown" else markdown_text
        return make(body, rules, mdx=suffix == ".mdx")
    if suffix in HTML | RST:
        return markdown_of_html(body, rules) if rules.form == "markdown" else page_text(body, rules)
    if rules.form == "markdown":
        return markdown_of_text(body)
    text = re.sub(r"[ \t]+$", "", body, flags=re.MULTILINE)
    return PageText(re.sub(r"\n{3,}", "\n\n", text).strip("\n").rstrip())


def _mask(title: str, text: str, rules: Rules, notes: list[Reason]) -> tuple[str, str, str]:
    """Title and text with placeholders for secrets, and which secrets there were; what was done is noted."""
    secrets = [find_secrets(part) for part in (title, text)]
    addresses = [find_addresses(part) if rules.mask_addresses else [] for part in (title, text)]
    keeps = rules.secrets == "keep"
    if any(secrets):
        notes.append(Reason(Code.SECRET, f"{in_words(*secrets)} {'found and kept' if keeps else 'masked'}"))
    if any(addresses):
        notes.append(Reason(Code.SECRET, f"{in_words(*addresses)} masked"))
    # Masked also where the post is to be left out: someone may take it in by hand.
    hidden = addresses if keeps else [apart([*keys, *others]) for keys, others in zip(secrets, addresses, strict=True)]
    return mask(title, hidden[0]), mask(text, hidden[1]), in_words(*secrets)


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
            for tag in _words_of(source.get(name), parted=name in ("tags", "categories")):
                found.setdefault(tag[:_MAX_TITLE])
    return tuple(list(found)[:_MAX_TAGS])


def _words_of(value: Any, *, parted: bool) -> list[str]:
    """A list, of lists or of mappings with labels too, or a string: parted by commas if it has any.

    Args:
        value: a field.
        parted: else by spaces, as Jekyll does.
    """
    if isinstance(value, list):
        parts = [inner for part in value for inner in (part if isinstance(part, list) else [part])]
        return [word for word in map(_bare, map(_label, parts)) if word]
    text = _one_line(value).strip("[]")
    parts = text.split(",") if "," in text else text.split() if parted else [text]
    return [_bare(part.strip().strip("\"'")) for part in parts if part.strip()]


def _bare(tag: str) -> str:
    """A tag without the sign that note-takers put before it."""
    return tag[1:] if tag[:1] == "#" and tag[1:2].isalpha() else tag


def _label(value: Any) -> str:
    """A tag as it is shown: itself, or the label that Docusaurus keeps beside its address."""
    if not isinstance(value, dict):
        return _one_line(value)
    lower = {str(key).lower(): part for key, part in value.items()}
    return _one_line(lower.get("label") or lower.get("name") or lower.get("title"))


def _date(fields: dict[str, Any], path: PurePosixPath) -> str:
    """From the front matter, else from the file's name or folders, else from its address on the site."""
    lower = {str(key).lower(): value for key, value in fields.items()}
    if isinstance(lower.get("date"), dict):
        lower |= {str(key).lower(): value for key, value in lower["date"].items()}  # Material for MkDocs
    candidates = [_one_line(lower.get(name)) for name in _DATED]
    candidates += [path.name, outside_bundles(path.parts)]
    candidates += [_one_line(lower.get(name)) for name in ("permalink", "path", "url", "slug")]
    for candidate in candidates:
        for found in _DATE.finditer(candidate):
            try:
                return Date(int(found[1]), int(found[3]), int(found[4])).isoformat()
            except ValueError:
                continue
        if (named := _NAMED_DATE.search(candidate)) and (month := _MONTHS.get((named[2] or named[3]).lower())):
            try:
                return Date(int(named[5]), month, int(named[1] or named[4])).isoformat()
            except ValueError:
                continue
    return ""


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())

"""A post's file in a blog's style: front matter and body, and the path it belongs to.

In: a style and the post's fields. Out: text. Each format is written with the standard library alone: JSON's strings
are strings of YAML (between double quotes) and of TOML too.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date
from typing import Any

from services.blog.style import BLOCK, COMMAS, JSON, LINES, SLUG, TOML, WORDS, YAML, Field, Role, Style

MOST_SLUG_CHARACTERS = 80
MOST_SLUG_BYTES = 180  # a file's name may have 255, its date and suffix included
# Of YAML: a plain string that no reader takes for anything else, as a number, a date, `no`, or a mapping.
_PLAIN = re.compile(r"[^\W\d_](?:[\w ,.;()/+'’…–—!?-]*[\w.)!?…])?")
# And of what a blog writes without quotes: words and values of any kind, in which nothing is an indicator.
_UNQUOTED = re.compile(r"~|[-+.]?\w(?:[\w.+:/-]*\w)?(?: [-+.]?\w(?:[\w.+:/-]*\w)?)*")
_WORDS_OF_YAML = frozenset(("y", "n", "yes", "no", "true", "false", "on", "off", "null", "nan", "inf"))
_DATE_OF_FORMAT = re.compile(r"%[A-Za-z]")
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_TOML_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?)?")


@dataclass(frozen=True, slots=True)
class Post:
    """What goes into the file. `date` is `YYYY-MM-DD`; empty fields are left out.

    Raises:
        ValueError: the date is none.
    """

    title: str
    tags: tuple[str, ...]
    date: str
    body: str

    def __post_init__(self) -> None:
        if self.date and not is_date(self.date):
            raise ValueError(f"date is {self.date!r}; expected YYYY-MM-DD")


def is_date(text: str) -> bool:
    """Whether a text is a day as `YYYY-MM-DD`."""
    try:
        return Date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def compose(style: Style, post: Post, marks: Mapping[str, str] | None = None) -> str:
    """Write the file of a post.

    Args:
        marks: fields that go below the blog's own, such as what wrote the post. They stand for fields of the blog
            that have their names, as it learns them from generated posts.
    """
    marks = marks or {}
    fields = [field for field in style.fields if field.name not in marks]
    entries = [(field, value) for field in fields if (value := _value(style, field, post)) not in ("", [])]
    entries += [(Field(name, Role.CONSTANT), value) for name, value in marks.items()]
    body = post.body.strip("\n") + "\n"
    return f"{_FRONT[style.format](entries)}\n{body}"


def path_of(style: Style, post: Post) -> str:
    """Where the blog would keep the post; what needs a date is left out where there is none."""
    return _filled(style.path, post, style.separator)


def slug_of(title: str, separator: str = "-") -> str:
    """A title as part of a file's name: lower case, letters and digits, accents left out of Latin letters."""
    folded = re.sub("([a-z])[\u0300-\u036f]+", r"\1", unicodedata.normalize("NFKD", title.lower()))
    text = re.sub(r"(?<=\w)['’](?=\w)", "", unicodedata.normalize("NFC", folded))
    words = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text).split()
    slug = ""
    for word in words:
        cut = word[:MOST_SLUG_CHARACTERS].encode()[:MOST_SLUG_BYTES].decode(errors="ignore")
        longer = f"{slug}{separator}{word}" if slug else cut
        if len(longer) > MOST_SLUG_CHARACTERS or len(longer.encode()) > MOST_SLUG_BYTES:
            break
        slug = longer
    return slug or "post"


def _filled(pattern: str, post: Post, separator: str) -> str:
    slug = slug_of(post.title or post.body.strip().partition("\n")[0], separator)
    if post.date:
        return Date.fromisoformat(post.date).strftime(pattern).replace(SLUG, slug)
    parts = [part for part in pattern.split("/") if SLUG in part or not _DATE_OF_FORMAT.search(part)]
    return "/".join(re.sub(r"(%[A-Za-z][-_.]?)+", "", part) for part in parts).replace("%%", "%").replace(SLUG, slug)


def _value(style: Style, field: Field, post: Post) -> Any:
    """What stands in a field: a _Bare for TOML's own dates, and for what the blog writes without quotes."""
    if field.role is Role.TITLE:
        return post.title
    if field.role is Role.TAGS:
        return _tags(field.form, post.tags)
    if field.role is Role.ADDRESS:
        return _filled(field.form, post, style.separator) if post.title and post.date else ""
    if field.role is Role.DATE:
        if not post.date:
            return ""
        text = Date.fromisoformat(post.date).strftime(field.form)
        is_bare = style.format == YAML or (style.format == TOML and _TOML_TIME.fullmatch(text))
        return _Bare(text) if is_bare and not field.quoted else text
    is_bare = style.format == YAML and not field.quoted and isinstance(field.value, str)
    return _Bare(field.value) if is_bare and _UNQUOTED.fullmatch(field.value) else field.value


def _tags(form: str, tags: Sequence[str]) -> Any:
    if form == COMMAS:
        return ", ".join(tags)
    if form == WORDS:
        return " ".join("-".join(tag.split()) for tag in tags)
    return _Block(tags) if form == BLOCK else list(tags)


class _Bare(str):
    """Written as it is."""

    __slots__ = ()


class _Block(list[str]):
    """Written an entry a line."""

    __slots__ = ()


def _yaml(entries: Sequence[tuple[Field, Any]]) -> str:
    lines = ["---"]
    outermost = [field.name.partition(".")[0] for field, _ in entries]
    entries = sorted(entries, key=lambda entry: outermost.index(entry[0].name.partition(".")[0]))  # no key twice
    open_parts: list[str] = []  # of the name before: a nested field goes on where it shares them
    for field, value in entries:
        *outer, name = field.name.split(".")
        for depth, part in enumerate(outer):
            if open_parts[: depth + 1] != outer[: depth + 1]:
                lines.append(f"{'  ' * depth}{_yaml_scalar(part)}:")
        open_parts, indent = outer, "  " * len(outer)
        if isinstance(value, _Block):
            lines.append(f"{indent}{_yaml_scalar(name)}:")
            lines += [f"{indent}  - {_yaml_scalar(entry)}" for entry in value]
        elif isinstance(value, list):
            lines.append(
                f"{indent}{_yaml_scalar(name)}: [{', '.join(_yaml_scalar(part, flow=True) for part in value)}]"
            )
        else:
            lines.append(f"{indent}{_yaml_scalar(name)}: {_yaml_scalar(value, quoted=field.quoted)}")
    return "\n".join([*lines, "---", ""])


def _yaml_scalar(value: Any, *, quoted: bool = False, flow: bool = False) -> str:
    if isinstance(value, _Bare):
        return str(value)
    if not isinstance(value, str):
        return json.dumps(value)
    # Between brackets a comma ends an entry, and PyYAML takes a question mark for a key's.
    safe = _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_YAML and not (flow and {*",?"} & {*value})
    return value if safe and not quoted else _string(value)


def _toml(entries: Sequence[tuple[Field, Any]]) -> str:
    def written(value: Any) -> str:
        if isinstance(value, _Bare):
            return str(value)
        if isinstance(value, list):
            return f"[{', '.join(map(written, value))}]"
        return _string(value) if isinstance(value, str) else json.dumps(value)

    def key(name: str) -> str:
        return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else _string(part) for part in name.split("."))

    # Nested fields stand below the others, in their tables.
    tables: dict[str, list[str]] = {"": []}
    for field, value in entries:
        table, _, name = field.name.rpartition(".")
        tables.setdefault(table, []).append(f"{key(name)} = {written(value)}")
    lines = tables.pop("")
    for table, of_table in tables.items():
        lines += [*([""] if lines else []), f"[{key(table)}]", *of_table]
    return "\n".join(["+++", *lines, "+++", ""])


def _json(entries: Sequence[tuple[Field, Any]]) -> str:
    fields: dict[str, Any] = {}
    for field, value in entries:
        *outer, name = field.name.split(".")
        table = fields
        for part in outer:
            table = table.setdefault(part, {})
        table[name] = value
    return json.dumps(fields, ensure_ascii=False, indent=2) + "\n"


def _lines(entries: Sequence[tuple[Field, Any]]) -> str:
    texts = ((field.name, ", ".join(map(str, value)) if isinstance(value, list) else value) for field, value in entries)
    return "".join(f"{name}: {' '.join(str(text).split())}\n" for name, text in texts)


_FRONT = {YAML: _yaml, TOML: _toml, JSON: _json, LINES: _lines}


def _string(text: str) -> str:
    # TOML and YAML allow fewer characters unescaped than JSON.
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))

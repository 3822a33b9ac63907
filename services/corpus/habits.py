"""A blog's style learned from its posts: format and order of front matter, forms of tags and dates, names of files.

In: some posts as their author wrote them, the newest first. Out: a Style. What most of them do counts; where they
disagree, the newest do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date as Date
from pathlib import PurePosixPath
from typing import Any

from services.blog.composing import slug_of
from services.blog.style import (
    BLOCK,
    COMMAS,
    DATE_FORMS,
    JSON,
    LINES,
    LIST,
    PLAIN,
    SLUG,
    TOML,
    WORDS,
    YAML,
    Field,
    Role,
    Style,
    is_named_by_folder,
)
from services.common.errors import Corrupt
from services.corpus import snapshots
from services.corpus.catalogue import Catalogue
from services.corpus.cleaning.frontmatter import FrontMatter, split
from services.corpus.cleaning.reading import read
from services.corpus.kinds import MARKDOWN

NUM_POSTS = 50  # are looked at
LEAST_SHARE = 0.8  # of the posts have a field, or a constant's value, that new posts get too
_TITLES = ("title",)
_TAGS = (
    "tags",
    "taxonomies.tags",
    "tag",
    "taxonomy.tag",
    "keywords",
    "categories",
    "taxonomies.categories",
    "category",
)
_DATES = ("date", "published", "published_at", "publishdate", "publish_date", "pubdate", "created", "created_at")
_ADDRESSES = ("path", "url", "permalink", "slug")
# Of one post alone, even where the few posts at hand agree; or what this service has no say in.
_OWN = re.compile(
    r"(.*\.)?(description|summary|excerpt|subtitle|image|images|cover|thumbnail|aliases|redirect_from|lastmod|updated|"
    r"modified|id|guid|uuid|weight|draft|published|hidden|private|unlisted|version|discussion|comments_id)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Source:
    """A post: where it lies, `YYYY-MM-DD` or empty, and the file's text."""

    path: str
    date: str
    text: str


@dataclass(frozen=True, slots=True)
class _Read:
    """A post's front matter: nested fields by their dotted names, and the block as it stands."""

    source: Source
    format: str
    fields: dict[str, Any]
    block: str


def newest(catalogue: Catalogue, corpus: str, snapshot: str) -> Iterator[Source]:
    """The newest posts of a corpus as their author wrote them; those that are damaged are left out.

    Args:
        snapshot: its digest; empty: the posts as they are now.

    Raises:
        NotFound: no such corpus or snapshot.
    """
    for path, date, digest in snapshots.newest_sources(catalogue, corpus, snapshot, NUM_POSTS):
        try:
            content = catalogue.sources.get(digest)
        except Corrupt:
            continue
        yield Source(path, date, read(content, mend=False).text)


def learn(posts: Iterable[Source]) -> Style:
    """Return the style of a blog; PLAIN where the posts have no front matter."""
    sources = [post for post in posts if PurePosixPath(post.path).suffix.lower() in MARKDOWN]
    if not sources:
        return PLAIN
    path, separator = _path(sources)
    reads = [_read(post) for post in sources]
    formats = Counter(post.format for post in reads if post.fields)
    if not formats:
        return Style(PLAIN.format, PLAIN.fields, path, separator)
    format_ = formats.most_common(1)[0][0]
    same = [post for post in reads if post.format == format_ and post.fields]
    return Style(format_, _fields(same, separator), path, separator)


def _read(post: Source) -> _Read:
    text = post.text.lstrip("\ufeff")
    front = split(text)
    opened = text.lstrip()
    block = opened[: len(opened) - len(front.body)] if front.fields else ""
    format_ = TOML if block.startswith(("+++", "---toml")) else JSON if block.startswith(("{", "---js")) else YAML
    if format_ == YAML and not block.startswith("---") and "\n---" not in block:
        format_ = LINES
    return _Read(post, format_, dict(_flat(front)), block)


def _flat(front: FrontMatter) -> Iterable[tuple[str, Any]]:
    for name, value in front.fields.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", entry) for inner, entry in value.items())
        else:
            yield str(name), value


def _fields(reads: Sequence[_Read], separator: str) -> tuple[Field, ...]:
    """The fields that new posts get, in the order of the newest post that has most of them."""
    counts = Counter(name for post in reads for name in post.fields)
    found = {name: field for name in counts if (field := _constant(name, reads))}
    for role, names in ((Role.TITLE, _TITLES), (Role.DATE, _DATES), (Role.TAGS, _TAGS)):
        if name := _name(names, counts):
            found[name] = _field(role, name, reads)
    for name in (name for name in counts if name.lower() in _ADDRESSES and _is_habit(counts[name], reads)):
        if address := _address(name, reads, separator):
            found[name] = address
    if not any(field.role is Role.TITLE for field in found.values()):
        found |= {PLAIN.fields[0].name: PLAIN.fields[0]}
    fullest = max(reads, key=lambda post: len(found.keys() & post.fields.keys()))
    order = [name for name in fullest.fields if name in found]
    return tuple(found[name] for name in [*order, *(name for name in found if name not in order)])


def _name(names: Sequence[str], counts: Counter[str]) -> str:
    """The name that the blog uses: of those that are known the most frequent, or else the first."""
    known = [name for wanted in names for name in counts if name.lower() == wanted]
    return max(known, key=lambda name: counts[name], default="")


def _is_habit(count: int, reads: Sequence[_Read]) -> bool:
    return count >= LEAST_SHARE * len(reads)


def _field(role: Role, name: str, reads: Sequence[_Read]) -> Field:
    having = [post for post in reads if post.fields.get(name) not in (None, "", [])]
    quoted = _most([_is_quoted(name, post) for post in having], default=False)
    if role is Role.TITLE:
        return Field(name, role, quoted=quoted)
    if role is Role.DATE:
        forms = [_date_form(_written(name, post).strip("\"'"), post.source.date) for post in having]
        return Field(name, role, _most([form for form in forms if form], default="%Y-%m-%d"), quoted=quoted)
    return Field(name, role, _most([_tags_form(name, post) for post in having], default=LIST))


def _constant(name: str, reads: Sequence[_Read]) -> Field | None:
    if _OWN.fullmatch(name) or len(reads) < 2:
        return None
    values = [post.fields[name] for post in reads if _is_simple(post.fields.get(name))]
    if not values or not _is_habit(len(values), reads):
        return None
    value = _most(values, default=None)
    agreeing = [post for post in reads if post.fields.get(name) == value]
    if not _is_habit(len(agreeing), reads):
        return None
    quoted = _most([_is_quoted(name, post) for post in agreeing], default=False)
    return Field(name, Role.CONSTANT, quoted=quoted, value=value)


def _address(name: str, reads: Sequence[_Read], separator: str) -> Field | None:
    """A field such as `path: 2024/03/01/the-title`."""
    forms = [_address_form(str(post.fields[name]), post, separator) for post in reads if name in post.fields]
    form = _most([form for form in forms if SLUG in form], default="")
    if not form or not _is_habit(forms.count(form), reads):
        return None
    return Field(name, Role.ADDRESS, form, quoted=_most([_is_quoted(name, post) for post in reads], default=False))


def _address_form(address: str, post: _Read, separator: str) -> str:
    """The slug in it may be the title's, or the file's name."""
    stem = PurePosixPath(post.source.path).stem
    in_name = re.sub(r"^\d{4}-\d\d?-\d\d?-", "", stem)
    for slug in (in_name, slug_of(str(post.fields.get("title", "")), separator)):
        if SLUG in (form := _dated(address, post.source.date, slug)):
            return form
    return address


def _is_simple(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(entry, str | int | float | bool) for entry in value)
    return isinstance(value, str | int | float | bool) and value != ""


def _written(name: str, post: _Read) -> str:
    """What stands behind a field's name in its line, quotes included; "" where the field has no line of its own."""
    key = re.escape(name.rpartition(".")[2])
    found = re.search(rf"""^\s*["']?{key}["']?\s*[:=][ \t]*(.*?)[ \t]*,?$""", post.block, re.MULTILINE)
    return found[1] if found else ""


def _is_quoted(name: str, post: _Read) -> bool:
    return _written(name, post).startswith(('"', "'"))


def _tags_form(name: str, post: _Read) -> str:
    value = post.fields[name]
    if isinstance(value, list):
        short = re.escape(name.rpartition(".")[2])
        is_block = post.format == YAML and re.search(rf"^\s*{short}\s*:\s*(#.*)?\n\s*-\s", post.block, re.M)
        return BLOCK if is_block else LIST
    # One word says nothing of what parts two.
    return WORDS if " " in str(value).strip() and "," not in str(value) else COMMAS


def _date_form(written: str, date: str) -> str:
    """A date as `strftime` would write it; "" where it is not the post's."""
    if not date:
        return ""
    day = Date.fromisoformat(date)
    for form in DATE_FORMS:
        text = day.strftime(form)
        if text in written:
            before, _, after = written.partition(text)
            return f"{before.replace('%', '%%')}{form}{after.replace('%', '%%')}"
    return ""


def _path(sources: Sequence[Source]) -> tuple[str, str]:
    """The form of the files' paths, and what parts the words of their names."""
    names = [PurePosixPath(post.path).stem for post in sources]
    separator = (
        "_" if sum("_" in name for name in names) > sum("-" in re.sub(r"\d+-", "", name) for name in names) else "-"
    )
    forms = [_file_form(post) for post in sources]
    return _most([form for form in forms if SLUG in form], default=PLAIN.path), separator


def _file_form(post: Source) -> str:
    """`_posts/2024-03-01-the-title.md` as `_posts/%Y-%m-%d-{slug}.md`."""
    path = PurePosixPath(_dated(post.path, post.date))
    *folders, _ = path.parts
    if folders and is_named_by_folder(path.stem):
        return "/".join([*folders[:-1], _slugged(folders[-1]), path.name])
    return "/".join([*folders, f"{_slugged(path.stem)}{path.suffix}"])


def _slugged(stem: str) -> str:
    """What stands in a name behind its date, as SLUG."""
    dated = re.match(r"(%[Ymd][-_.]?)*", stem)
    start = dated.end() if dated else 0
    return f"{stem[:start]}{SLUG}" if start < len(stem) else stem


def _dated(text: str, date: str, slug: str = "") -> str:
    """A text with the post's date, and its slug, replaced by their forms."""
    text = text.replace("%", "%%")
    if slug:
        text = text.replace(slug, SLUG)
    if not date:
        return text
    year, month, day = date.split("-")
    text = re.sub(rf"(?<!\d){year}([-_./])0?{int(month)}\1(?:{day}|{int(day)})(?!\d)", r"%Y\1%m\1%d", text)
    text = re.sub(rf"(?<!\d){year}([-_./]){month}(?!\d)", r"%Y\1%m", text)
    return re.sub(rf"(?<![^/]){year}(?=/)", "%Y", text)


def _most(values: Sequence[Any], *, default: Any) -> Any:
    """The most frequent value; of equals the first, which is the newest."""
    return max(values, key=values.count, default=default)

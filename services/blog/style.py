"""How a blog writes its posts: the lines above each, in their order, and the name of its file.

    Style("yaml", (Field("layout", Role.CONSTANT, value="post"), Field("title", Role.TITLE, quoted=True),
                   Field("date", Role.DATE, "%Y-%m-%d 10:00:00 +0100"), Field("tags", Role.TAGS, "block")),
          "_posts/%Y-%m-%d-{slug}.md")

In: nothing but values. Learned in services/corpus/habits.py, kept with a dataset and a model, used in composing.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

YAML, TOML, JSON, LINES = "yaml", "toml", "json", "lines"
FORMATS = (YAML, TOML, JSON, LINES)
# Of tags: [a, b]; one a line; "a, b"; "a b".
LIST, BLOCK, COMMAS, WORDS = "list", "block", "commas", "words"
TAG_FORMS = (LIST, BLOCK, COMMAS, WORDS)
# Of a day, as blogs write it.
DATE_FORMS = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y", "%d.%m.%Y")
SLUG = "{slug}"


class Role(StrEnum):
    """What stands in a field."""

    TITLE = "title"
    TAGS = "tags"
    DATE = "date"
    ADDRESS = "address"
    """Where the post is found on the site."""
    CONSTANT = "constant"
    """What it is in every post."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of front matter.

    Args:
        name: as the blog writes it; parts of a nested one are joined by dots.
        role: what stands in it.
        form: of tags one of TAG_FORMS; of a date as `strftime` reads it; of an address that with SLUG.
        quoted: a string that is in quotes also where it need not be.
        value: of a constant: a string, number, truth value, or a list of them. Of YAML without quotes always a string,
            and written as it is: `0.8`, `no`, `~`.
    """

    name: str
    role: Role
    form: str = ""
    quoted: bool = False
    value: Any = None


@dataclass(frozen=True, slots=True)
class Style:
    """Of one blog.

    Args:
        format: one of FORMATS: YAML between `---`, TOML between `+++`, a JSON object, or lines `Title: ...`.
        fields: in order.
        path: of a post's file in the blog's folder, as `strftime` reads it, with SLUG.
        separator: of a slug's words.
    """

    format: str
    fields: tuple[Field, ...]
    path: str
    separator: str = "-"

    def as_json(self) -> dict[str, Any]:
        """Plain values that `read_style` reads."""
        return asdict(self)


PLAIN = Style(
    YAML,
    (Field("title", Role.TITLE), Field("date", Role.DATE, "%Y-%m-%d"), Field("tags", Role.TAGS, LIST)),
    f"%Y-%m-%d-{SLUG}.md",
)
"""Where nothing is known of the blog."""


def is_named_by_folder(stem: str) -> bool:
    """Whether a post has its name from its folder, `the-heron/index.md`, given its file's name without suffix."""
    return stem.lower() in ("index", "_index")


def read_style(values: Mapping[str, Any]) -> Style:
    """The style that `as_json` told.

    Raises:
        ValueError: it is none; says what is wrong.
    """
    try:
        fields = tuple(_field(field) for field in values.get("fields", ()))
        style = Style(str(values["format"]), fields, str(values["path"]), str(values.get("separator", "-")))
    except (TypeError, KeyError) as error:
        raise ValueError(f"it does not describe a style: {error}") from None
    if style.format not in FORMATS or SLUG not in style.path:
        raise ValueError(f"format {style.format!r} or path {style.path!r} is none of a style")
    return style


def _field(values: Mapping[str, Any]) -> Field:
    return Field(**{**values, "role": Role(values["role"]), "value": _whole(values.get("value"))})


def _whole(value: Any) -> Any:
    """The value of a constant with its whole numbers whole: messages know no other numbers than 3.0."""
    if isinstance(value, list):
        return [_whole(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value

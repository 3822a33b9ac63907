"""Front matter: the block of metadata that stands above a post.

YAML between `---` lines (Jekyll and most others), TOML between `+++` lines (Hugo, Zola), one JSON object, or
plain `Title: …` lines (Pelican).
A post that merely opens with a `---` rule keeps every character. A block that is meant as front matter but
does not parse is taken off the text, what is plain in it is kept, and the problem is told.

YAML is read by its base loader: every scalar stays the string that the author typed, so `title: 1984`,
`title: No` and a date that does not exist are no trouble, and no tag builds an object.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_CHARACTERS = 64 * 1024  # real front matter is below 2,000
MAX_DEPTH = 20
MAX_ALIASES = 16  # a "billion laughs" needs about ten for each of its levels

# Fields that front matter has and prose between two rules has not.
_KNOWN = re.compile(
    "title|date|tags|categories|category|draft|published|layout|authors?|description|slug|permalink|status|path|"
    "aliases|keywords|summary|taxonomies|lang|image|excerpt|subtitle|template|weight|url|extra|updated",
    re.IGNORECASE,
)
_KEY_LINE = re.compile(r"""\s*["']?([A-Za-z_][\w-]*)["']?\s*[:=]\s*(.*)""")
_HEADER_LINE = re.compile(r"([A-Za-z][\w-]*):(?=\s|$)[ \t]*(.*)")
_FIRST_OF_HEADER = re.compile(
    r"(?:title|date|modified|tags|keywords|category|categories|slug|"
    r"authors?|summary|lang|status|template|layout):[ \t]+\S",
    re.IGNORECASE,
)
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # the C loader is ten times as fast


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """A post's text split in two.

    Args:
        fields: the metadata; empty if there is none.
        body: the text below it; the whole text if there is none.
        problem: what is wrong with the block, for the import report; None if nothing is.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    body: str = ""
    problem: str | None = None


def split(text: str) -> FrontMatter:
    """Separate a post's front matter from its body; never raises, never loses prose."""
    opened = text.lstrip("\n \t") if text[:1] in "\n \t" else text
    if opened.startswith("{"):
        return _split_json(opened, text)
    first_line, _, rest = opened.partition("\n")
    fence = first_line.rstrip()
    if fence in ("---json", "---js", "---toml", "---yaml", "---yml") and (found := _split_named(fence[3:], rest)):
        return found
    if fence == "---":
        return _split_fenced(rest, text, ("---", "..."), "YAML", _parse_yaml)
    if fence == "+++":
        return _split_fenced(rest, text, ("+++",), "TOML", tomllib.loads)
    return _split_header(opened, text)


def _split_named(name: str, rest: str) -> FrontMatter | None:
    """Front matter that names its language behind its first line, as Eleventy and Gatsby allow."""
    if name == "toml":
        found = _split_fenced(rest, "", ("---",), "TOML", tomllib.loads)
    elif name in ("json", "js"):
        found = _split_fenced(rest, "", ("---",), name.upper(), json.loads)
    else:
        found = _split_fenced(rest, "", ("---", "..."), "YAML", _parse_yaml)
    return found if found.fields or found.body or found.problem else None


def _split_header(opened: str, text: str) -> FrontMatter:
    """Lines `Title: …`, `Date: …` without a fence around them, as Pelican reads them, up to a blank line."""
    if not _FIRST_OF_HEADER.match(opened):
        return FrontMatter(body=text)
    end = opened.find("\n\n", 0, MAX_CHARACTERS)
    if unopened := _split_unopened(opened, end):
        return unopened
    if end < 0 and (len(opened) > MAX_CHARACTERS or opened.count("\n") < 1):
        return FrontMatter(body=text)
    block = opened if end < 0 else opened[:end]
    fields: dict[str, Any] = {}
    key = ""
    for line in block.split("\n"):
        found = _HEADER_LINE.match(line)
        if found:
            key = found[1]
            fields[key] = f"{fields[key]}, {found[2].strip()}" if key in fields else found[2].strip()
        elif key and line[:1] in " \t" and line.strip():
            fields[key] = f"{fields[key]} {line.strip()}".strip()
        elif line.strip():
            return FrontMatter(body=text)  # a paragraph that begins with such a word
    if not {"title", "date"} & {name.lower() for name in fields}:
        return FrontMatter(body=text)
    return FrontMatter(fields, "" if end < 0 else opened[end + 2 :])


def _split_unopened(opened: str, end: int) -> FrontMatter | None:
    """YAML without the line above it, as Hexo allows; one line above a rule is a heading's."""
    closing = opened.find("\n---\n", 0, MAX_CHARACTERS)
    if closing < 0 or 0 <= end < closing or "\n" not in opened[:closing]:
        return None
    try:
        fields = _parse_yaml(opened[:closing])
    except (ValueError, RecursionError, yaml.YAMLError):
        return None
    if not isinstance(fields, dict) or len(fields) < 2 or not _are_fields(fields):
        return None
    return FrontMatter(fields, opened[closing + 5 :])


def _split_fenced(rest: str, text: str, closings: tuple[str, ...], name: str, parse: Any) -> FrontMatter:
    block, body = _cut(rest, closings)
    if block is None:
        return _unclosed(rest, text, name)
    if not block.strip():
        return FrontMatter(body=body)
    try:
        if len(block) > MAX_CHARACTERS:
            raise ValueError(f"it has {len(block)} characters, more than {MAX_CHARACTERS}")
        fields = parse(block)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        if not _looks_like_fields(block):
            return FrontMatter(body=text)
        return FrontMatter(_salvage(block), body, f"{name} front matter does not parse: {_one_line(error)}")
    if not isinstance(fields, dict) or not _are_fields(fields):
        return FrontMatter(body=text)  # prose between two rules
    return FrontMatter(fields, body)


def _cut(rest: str, closings: tuple[str, ...]) -> tuple[str | None, str]:
    """Split at the first line that is a closing fence; (None, "") if there is none."""
    start = 0
    while start < len(rest):
        end = rest.find("\n", start)
        end = len(rest) if end < 0 else end
        if rest[start:end].rstrip() in closings:
            return rest[:start], rest[end + 1 :]
        start = end + 1
    return None, ""


def _unclosed(rest: str, text: str, name: str) -> FrontMatter:
    """A fence without its pair: a rule, or front matter that ends with its first blank line."""
    block, blank, body = rest.partition("\n\n")
    lines = block.splitlines()
    if not blank or len(block) > MAX_CHARACTERS or not _looks_like_fields(block):
        return FrontMatter(body=text)
    if not all(_KEY_LINE.match(line) or line[:1] in " \t-#" for line in lines):
        return FrontMatter(body=text)
    return FrontMatter(_salvage(block), body, f"{name} front matter has no closing line")


def _split_json(opened: str, text: str) -> FrontMatter:
    try:
        fields, end = json.JSONDecoder().raw_decode(opened[: MAX_CHARACTERS + 1])
    except (ValueError, RecursionError) as error:
        if not re.match(r'\{\s*"(title|date|tags|draft)"\s*:', opened):
            return FrontMatter(body=text)
        block, closing, body = opened.partition("\n}")
        if not closing:
            return FrontMatter(body=text, problem=f"JSON front matter does not parse: {_one_line(error)}")
        return FrontMatter(
            _salvage(block), body.partition("\n")[2], f"JSON front matter does not parse: {_one_line(error)}"
        )
    after = opened[end:]
    if not isinstance(fields, dict) or not _are_fields(fields) or after.partition("\n")[0].strip():
        return FrontMatter(body=text)
    return FrontMatter(fields, after.partition("\n")[2])


def _parse_yaml(block: str) -> Any:
    """Parse within bounds on depth and aliases, which are checked on the event stream first."""
    # Each level needs a sign of its own, and an alias a star; most front matter has too few to be looked at twice.
    if "*" not in block and sum(map(block.count, "[{-:?")) <= MAX_DEPTH:
        return yaml.load(block, Loader=_LOADER)
    depth = aliases = 0
    for event in yaml.parse(block, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        if depth > MAX_DEPTH or aliases > MAX_ALIASES:
            raise ValueError(f"it nests deeper than {MAX_DEPTH} levels or has more than {MAX_ALIASES} aliases")
    return yaml.load(block, Loader=_LOADER)  # the base loader builds only strings, lists and mappings


def _are_fields(fields: dict[Any, Any]) -> bool:
    """Whether a mapping is metadata, and not a sentence with a colon between two rules."""
    keys = [key for key in fields if isinstance(key, str)]
    return any(_KNOWN.fullmatch(key) for key in keys) or all(re.fullmatch(r"[a-z][\w.-]*", key) for key in keys)


def _looks_like_fields(block: str) -> bool:
    """Whether a block that does not parse was meant as fields: it begins with one, most lines are, one is known."""
    lines = [line for line in block[:MAX_CHARACTERS].splitlines() if line.strip()]
    matches = [_KEY_LINE.match(line) for line in lines]
    if not any(found is not None and _KNOWN.fullmatch(found[1]) for found in matches):
        return False
    prose = [found is None and line[0] not in " \t-#[]{}\"'" for line, found in zip(lines, matches, strict=True)]
    return not prose[0] and 2 * sum(prose) <= len(prose)


def _salvage(block: str) -> dict[str, Any]:
    """The `key: value` lines of a block that does not parse; a draft must stay one."""
    fields: dict[str, Any] = {}
    for line in block[:MAX_CHARACTERS].splitlines():
        found = _KEY_LINE.match(line)
        if (found and found.group(2).strip() and not line[:1].isspace()) or (found and line.startswith('  "')):
            value = found.group(2).strip().rstrip(",").strip()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            if value.startswith("[") and value.endswith("]"):
                fields.setdefault(found.group(1), [part.strip(" \"'") for part in value[1:-1].split(",")])
            else:
                fields.setdefault(found.group(1), value)
    return fields


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

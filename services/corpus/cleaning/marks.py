"""Marks: what a post says of itself that bears on whether it is taken: a draft, unlisted, due later.

Found in front matter and path while a post is cleaned, stored with it, and weighed in choosing.py, so that other
rules of choosing need no post to be read again.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from datetime import date as Date
from pathlib import PurePosixPath
from typing import Any

_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0"})
_NEVER = frozenset({"never", "local", *_NO})
# Jekyll, Hexo, Zola, Ghost, Pelican and WordPress between them.
_DRAFT_STATUSES = frozenset({"draft", "drafts", "private", "pending", "scheduled", "trash", "auto-draft", "skip"})
_DRAFT_FOLDERS = frozenset({"_drafts", "drafts"})
_DAY = re.compile(r"\s*(\d{4})[-/](\d{1,2})[-/](\d{1,2})")


@dataclass(frozen=True, slots=True)
class Marks:
    """What a post says of itself; each field is "" if it says nothing of the kind.

    Args:
        draft: how it says that it is a draft, as a sentence.
        unlisted: how it says that it is not to be listed, as a sentence.
        due: the day from which it is public, `YYYY-MM-DD`, if it names one beside its date.
        secrets: which secrets were found in it, in words.
    """

    draft: str = ""
    unlisted: str = ""
    due: str = ""
    secrets: str = ""

    def to_json(self) -> str:
        """What is said, as one line."""
        if self == _NOTHING:
            return "{}"
        said = {key: value for key, value in dataclasses.asdict(self).items() if value}
        return json.dumps(said, ensure_ascii=False)


_NOTHING = Marks()


def find_marks(fields: dict[str, Any], path: PurePosixPath) -> Marks:
    """Read the marks in a post's front matter and path; `secrets` stays empty.

    A post that has expired (Hugo's `expiryDate`) was published once and has no mark. Nor has one that only search
    engines are told to pass by (`sitemap: false`, `noindex`).
    """
    lower = {str(key).lower(): value for key, value in fields.items()}
    return Marks(draft=_draft(lower, path), unlisted=_unlisted(lower), due=_due(lower))


def _draft(fields: dict[str, Any], path: PurePosixPath) -> str:
    for name, meaning in (("draft", _YES), ("published", _NO), ("publish", _NO), ("private", _YES)):
        if _word(fields.get(name)) in meaning:
            return _says(name, fields)
    if _word(fields.get("status")) in _DRAFT_STATUSES:
        return _says("status", fields)
    for part in path.parts[:-1]:
        if part.lower() in _DRAFT_FOLDERS:
            return f"it lies in the folder {part}"
    return ""


def _unlisted(fields: dict[str, Any]) -> str:
    # Docusaurus; Hexo's and Jekyll's plug-ins; Hugo's bundles without pages; Eleventy's collections.
    for name in ("unlisted", "hidden", "headless", "eleventyExcludeFromCollections"):
        if _word(fields.get(name.lower())) in _YES:
            return _says(name, fields)
    for name in ("listed", "render", "permalink"):  # no page at all: Zola, Eleventy
        if _word(fields.get(name)) in _NO:
            return _says(name, fields)
    if _word(fields.get("status")) in ("hidden", "unlisted"):  # Pelican: a page, but in no list
        return _says("status", fields)
    for name in ("build", "_build"):  # Hugo
        build = fields.get(name)
        if isinstance(build, dict):
            for key in ("list", "render"):
                value = _word(build.get(key))
                if value in _NEVER and not (key == "render" and value == "local"):
                    return f"its front matter says `{name}: {{{key}: {value}}}`"
    return ""


def _due(fields: dict[str, Any]) -> str:
    for name in ("publishdate", "publish_date"):  # Hugo; `date` may then be that of the writing
        value = fields.get(name)
        found = _DAY.match(str(value)) if isinstance(value, (str, Date)) else None
        if found:
            try:
                return Date(int(found[1]), int(found[2]), int(found[3])).isoformat()
            except ValueError:
                continue
    return ""


def _says(name: str, fields: dict[str, Any]) -> str:
    return f"its front matter says `{name}: {_word(fields[name.lower()])}`"


def _word(value: Any) -> str:
    """A scalar in lower case; "" for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(str(value).split()).lower()[:100] if isinstance(value, (str, int)) else ""

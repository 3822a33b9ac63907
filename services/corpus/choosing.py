"""Choosing: the rules and the facts of a post -> why it is left out, or that it is taken.

Pure, and one post at a time: what depends on other posts (duplicates) and on what a person said is in selection.py.
Knows neither the catalogue nor files.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date as Date
from typing import Any, Self

from services.common.errors import InvalidRequest
from services.corpus.cleaning.documents import Document
from services.corpus.cleaning.marks import Marks
from services.corpus.reasons import Code, Reason
from services.corpus.rules import Rules

MAX_ENTRIES = 100  # of each list in the rules
MAX_LENGTH = 1000  # of each entry
LEAST_SIMILARITY = 0.5  # below it, posts that merely share a footer would be alike

_LANGUAGE = re.compile(r"[a-z]{2}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Facts:
    """What choosing looks at.

    Args:
        date: `YYYY-MM-DD`, or "" if unknown.
        language: ISO 639-1 code, or "" if the text is too short to tell.
    """

    path: str
    date: str
    tags: tuple[str, ...]
    language: str
    marks: Marks

    @classmethod
    def of(cls, path: str, document: Document) -> Self:
        """The facts of a document."""
        return cls(path, document.date, document.tags, document.language, document.marks)

    @property
    def day(self) -> str:
        """The day on which the post was or will be public; "" if unknown."""
        return self.marks.due or self.date


class Choosing:
    """The rules, made ready for many posts.

    Args:
        rules: as `check_rules` returned them.
        today: day of the import, `YYYY-MM-DD`. Without a cutoff in the rules, later posts are future ones.
    """

    def __init__(self, rules: Rules, today: str) -> None:
        self._rules = rules
        self._today = today
        self._include_paths = [(pattern, path_pattern(pattern)) for pattern in rules.include_paths]
        self._exclude_paths = [(pattern, path_pattern(pattern)) for pattern in rules.exclude_paths]
        self._include_tags = {tag.casefold() for tag in rules.include_tags}
        self._exclude_tags = {tag.casefold() for tag in rules.exclude_tags}

    def reason(self, post: Facts) -> Reason | None:
        """Why the rules leave a post out; None if they take it."""
        return self._by_marks(post) or self._by_path(post) or self._by_tags(post) or self._by_date(post)

    def is_future(self, post: Facts) -> bool:
        """Whether a post is dated after the cutoff; one without a date is not."""
        return post.day > (self._rules.cutoff_date or self._today)

    def _by_marks(self, post: Facts) -> Reason | None:
        rules, marks = self._rules, post.marks
        if marks.draft and not rules.include_drafts:
            return Reason(Code.DRAFT, marks.draft)
        if marks.unlisted and not rules.include_unlisted:
            return Reason(Code.UNLISTED, marks.unlisted)
        if not rules.include_future and self.is_future(post):
            after = f"the cutoff {rules.cutoff_date}" if rules.cutoff_date else "the day of the import"
            return Reason(Code.FUTURE, f"it is dated {post.day}, after {after}")
        if marks.secrets and rules.secrets == "leave_out":
            return Reason(Code.SECRET, f"it holds {marks.secrets}")
        return None

    def _by_path(self, post: Facts) -> Reason | None:
        for pattern, matches in self._exclude_paths:
            if matches(post.path):
                return Reason(Code.EXCLUDED, f"its path matches {pattern!r}, which the rules leave out")
        if self._include_paths and not any(matches(post.path) for _, matches in self._include_paths):
            return Reason(Code.EXCLUDED, "its path matches none of the patterns that the rules take in")
        return None

    def _by_tags(self, post: Facts) -> Reason | None:
        if not (self._include_tags or self._exclude_tags):
            return None
        for tag in post.tags:
            if tag.casefold() in self._exclude_tags:
                return Reason(Code.EXCLUDED, f"it has the tag {tag!r}, which the rules leave out")
        if self._include_tags and not any(tag.casefold() in self._include_tags for tag in post.tags):
            return Reason(Code.EXCLUDED, "it has none of the tags that the rules take in")
        return None

    def _by_date(self, post: Facts) -> Reason | None:
        rules = self._rules
        if (rules.first_date or rules.last_date) and not post.date:
            return Reason(Code.EXCLUDED, "it has no date, and the rules take in dated posts alone")
        if rules.first_date and post.date < rules.first_date:
            return Reason(Code.EXCLUDED, f"it is dated {post.date}, before {rules.first_date}")
        if rules.last_date and post.date > rules.last_date:
            return Reason(Code.EXCLUDED, f"it is dated {post.date}, after {rules.last_date}")
        # Where a text is too short to tell, nothing says that it is in another language.
        if post.language and post.language in rules.exclude_languages:
            return Reason(Code.EXCLUDED, f"it is in the language {post.language!r}, which the rules leave out")
        if post.language and rules.include_languages and post.language not in rules.include_languages:
            return Reason(
                Code.EXCLUDED, f"it is in the language {post.language!r}, none of those that the rules take in"
            )
        return None


def check_rules(rules: Rules) -> Rules:
    """Rules in one form: lists without repeats in a fixed order, codes in lower case.

    Raises:
        InvalidRequest: a date, share, pattern or language that is none; the field is `rules.<name>`.
    """
    for name in ("cutoff_date", "first_date", "last_date"):
        _check_date(name, getattr(rules, name))
    if rules.first_date and rules.last_date and rules.first_date > rules.last_date:
        raise InvalidRequest(
            f"no day is on or after {rules.first_date} and on or before {rules.last_date}; swap the two",
            field="rules.first_date",
        )
    if not LEAST_SIMILARITY <= rules.near_duplicate_similarity <= 1:
        raise InvalidRequest(
            f"a similarity of {rules.near_duplicate_similarity:g} is not possible; "
            f"give a share from {LEAST_SIMILARITY:g} to 1",
            field="rules.near_duplicate_similarity",
        )
    lists: dict[str, Any] = {
        name: _check_list(name, getattr(rules, name))
        for name in ("include_paths", "exclude_paths", "include_tags", "exclude_tags")
    }
    for name in ("include_languages", "exclude_languages"):
        lists[name] = _check_list(name, tuple(code.strip().lower() for code in getattr(rules, name)))
        for code in lists[name]:
            if not _LANGUAGE.fullmatch(code):
                raise InvalidRequest(
                    f"{code!r} is no language; give two-letter codes of ISO 639-1, such as 'en' or 'de'",
                    field=f"rules.{name}",
                )
    for name in ("include_paths", "exclude_paths"):
        for pattern in lists[name]:
            _check_pattern(name, pattern)
    return dataclasses.replace(rules, **lists)


def path_pattern(pattern: str) -> Callable[[str], bool]:
    """A test of whether a path matches: `*` and `?` within a folder's or file's name, `**` for any folders.

    >>> path_pattern("2019/**/*.md")("2019/09/bees.md")
    True
    """
    parts = [
        part if part == "**" else _name_pattern(part)
        for part in (f"{pattern}**" if pattern[-1:] == "/" else pattern).split("/")
    ]

    def matches(path: str) -> bool:
        names = path.split("/")
        at = part = 0
        back: tuple[int, int] | None = None  # where the last `**` stands, and the first name that it does not cover
        while at < len(names):
            wanted = parts[part] if part < len(parts) else None
            if wanted == "**":
                back = (part, at)
                part += 1
                if part == len(parts):
                    return True
            elif wanted is not None and not isinstance(wanted, str) and wanted.match(names[at]):
                at, part = at + 1, part + 1
            elif back is not None:
                back = (back[0], back[1] + 1)
                part, at = back[0] + 1, back[1]
            else:
                return False
        return part == len(parts)

    return matches


def _name_pattern(part: str) -> re.Pattern[str]:
    # Brackets are letters here: sites have files named `[slug].md`. fnmatch's expressions take linear time.
    return re.compile(fnmatch.translate(part.replace("[", "[[]")))


def _check_date(name: str, value: str) -> None:
    try:
        # Python reads `2019-W01-1` too, which does not sort among days.
        if not value or (_DAY.fullmatch(value) and Date.fromisoformat(value)):
            return
    except ValueError:
        pass
    raise InvalidRequest(f"{value[:100]!r} is no day; write YYYY-MM-DD", field=f"rules.{name}")


def _check_list(name: str, values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) > MAX_ENTRIES:
        raise InvalidRequest(f"{len(values)} entries are more than the {MAX_ENTRIES} possible", field=f"rules.{name}")
    for value in values:
        if not value.strip() or len(value) > MAX_LENGTH:
            raise InvalidRequest(
                f"{value[:100]!r} is no entry: write 1 to {MAX_LENGTH} characters", field=f"rules.{name}"
            )
    return tuple(sorted({value.strip() for value in values}))


def _check_pattern(name: str, pattern: str) -> None:
    parts = pattern.removesuffix("/").split("/")
    if pattern.startswith("/") or "\\" in pattern or any(part in ("", ".", "..") for part in parts):
        raise InvalidRequest(
            f"{pattern!r} matches no path; write it relative to the imported folder, such as 'notes/**' or '**/*.txt'",
            field=f"rules.{name}",
        )
    if any("**" in part and part != "**" for part in parts):
        raise InvalidRequest(
            f"{pattern!r}: `**` stands for whole folders, so put it between slashes, as in '**/*.txt'",
            field=f"rules.{name}",
        )

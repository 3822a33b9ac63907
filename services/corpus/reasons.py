"""Reasons: why a post is not among the documents, or what was mended in one that is.

The words are stored in the catalogue and go over the wire; add to them, never rename one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """The kinds of reason; the names are those of the wire's `ReasonCode`."""

    EMPTY = "EMPTY"
    NOT_TEXT = "NOT_TEXT"
    UNKNOWN_KIND = "UNKNOWN_KIND"
    TOO_LARGE = "TOO_LARGE"
    LINK_OUTSIDE = "LINK_OUTSIDE"
    DRAFT = "DRAFT"
    DUPLICATE = "DUPLICATE"
    CLEANING_FAILED = "CLEANING_FAILED"
    UNREADABLE = "UNREADABLE"
    BROKEN_FRONT_MATTER = "BROKEN_FRONT_MATTER"
    LEGACY_ENCODING = "LEGACY_ENCODING"
    MENDED_TEXT = "MENDED_TEXT"
    UNLISTED = "UNLISTED"
    FUTURE = "FUTURE"
    NEAR_DUPLICATE = "NEAR_DUPLICATE"
    SECRET = "SECRET"
    EXCLUDED = "EXCLUDED"
    OVERRIDDEN = "OVERRIDDEN"
    BAD_ARCHIVE = "BAD_ARCHIVE"
    BAD_MEMBER = "BAD_MEMBER"


@dataclass(frozen=True, slots=True)
class Reason:
    """A kind for programs and a sentence with the values at hand for people."""

    code: Code
    message: str


class LeftOut(Exception):
    """A post does not become a document, for this reason."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.reason = Reason(code, message)

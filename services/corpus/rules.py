"""Rules: how posts become documents. They are part of a snapshot's digest."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Self

# Raised by one whenever the same post and rules would give another document; posts are then cleaned anew.
CLEANING_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an author can choose for a corpus.

    Args:
        keep_code: keep fenced and indented code blocks.
        keep_image_alt: keep the alternative text of images.
        include_drafts: take in posts that say that they are drafts.
        cleaning: version of the cleaning that made the documents.
    """

    keep_code: bool = True
    keep_image_alt: bool = True
    include_drafts: bool = False
    cleaning: int = CLEANING_VERSION

    def to_json(self) -> str:
        """The rules in one canonical line."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def of_now(cls, rules: Self) -> Self:
        """The same choices under the present version of cleaning."""
        return dataclasses.replace(rules, cleaning=CLEANING_VERSION)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The rules that `to_json` wrote."""
        return cls(**json.loads(text))

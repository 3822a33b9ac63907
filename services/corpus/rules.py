"""Rules: how posts become documents, and which of those are taken. They are part of a snapshot's digest."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Self

# Raised by one whenever the same post and rules would give another document; posts are then cleaned anew.
CLEANING_VERSION = 3

FORMS = ("text", "markdown")
SECRETS = ("mask", "leave_out", "keep")
NEAR_DUPLICATES = ("report", "drop", "ignore")

# These decide what a document looks like; a change of any other one needs no post to be cleaned anew.
CLEANING = (
    *("form", "keep_code", "keep_image_alt", "keep_headings", "keep_tables", "keep_quotations", "keep_footnotes"),
    *("keep_maths", "keep_link_targets", "mend_text", "secrets", "mask_addresses"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an author can choose for a corpus; the proto's `CleaningRules` says what each field means.

    Args:
        form: one of FORMS.
        keep_link_targets: None is False in the form `text` and True in the form `markdown`.
        secrets: one of SECRETS.
        cutoff_date: `YYYY-MM-DD`; "" until the first import, which sets it.
        near_duplicates: one of NEAR_DUPLICATES.
        near_duplicate_similarity: 0.5 to 1.
        cleaning: version of the cleaning that made the documents.
    """

    form: str = "text"
    keep_code: bool = True
    keep_image_alt: bool = True
    keep_headings: bool = True
    keep_tables: bool = True
    keep_quotations: bool = True
    keep_footnotes: bool = True
    keep_maths: bool = True
    keep_link_targets: bool | None = None
    mend_text: bool = True
    secrets: str = "mask"
    mask_addresses: bool = False

    include_drafts: bool = False
    include_unlisted: bool = False
    include_future: bool = False
    cutoff_date: str = ""
    near_duplicates: str = "report"
    near_duplicate_similarity: float = 0.8
    include_paths: tuple[str, ...] = ()
    exclude_paths: tuple[str, ...] = ()
    include_tags: tuple[str, ...] = ()
    exclude_tags: tuple[str, ...] = ()
    first_date: str = ""
    last_date: str = ""
    include_languages: tuple[str, ...] = ()
    exclude_languages: tuple[str, ...] = ()

    cleaning: int = CLEANING_VERSION

    @property
    def keeps_addresses(self) -> bool:
        """Whether the addresses of links are kept."""
        return self.form == "markdown" if self.keep_link_targets is None else self.keep_link_targets

    def cleans_as(self, other: Self) -> bool:
        """Whether both make the same document of every post."""
        return self.cleaning == other.cleaning and all(getattr(self, name) == getattr(other, name) for name in CLEANING)

    def to_json(self) -> str:
        """The rules in one canonical line."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def of_now(cls, rules: Self) -> Self:
        """The same choices under the present version of cleaning."""
        return dataclasses.replace(rules, cleaning=CLEANING_VERSION)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The rules that `to_json` wrote; what an earlier version did not know has its default."""
        fields: dict[str, Any] = json.loads(text)
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        return cls(**known)

"""A document as the tokenizer sees it, and the text that a model reads.

Where documents come from is the caller's: anything that can be read twice, one document at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from services.tokens.header import HEADER_V1, compose_header


@dataclass(frozen=True, slots=True)
class Document:
    """A post after cleaning. `date` is `YYYY-MM-DD` or empty; `id` is stable between snapshots.

    `split` puts it on a side of the dataset (services/tokens/split.py); None lets its id decide.
    """

    id: str
    path: str
    title: str
    tags: Sequence[str]
    date: str
    text: str
    split: int | None = None


# Opens the snapshot's documents anew, in order of id. Closing the iterator ends the reading.
OpenDocuments = Callable[[], Iterator[Document]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An immutable version of a corpus: its digest (64 hex digits) and how many documents it holds."""

    corpus: str
    digest: str
    num_documents: int


def text_for_model(document: Document, header_format: str) -> str:
    """The document's text, with title, tags and date in front of it where the format has a header."""
    if header_format != HEADER_V1:
        return document.text
    return compose_header(document.title, document.tags, document.date) + document.text

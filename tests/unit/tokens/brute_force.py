"""A corpus searched by looking at all of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.tokens.corpus_index import CorpusIndex
from services.tokens.suffixes import sort_suffixes

END = 5  # end-of-text in the tests' corpora; other ids are below it
Documents = list[list[int]]


def make_index(documents: Documents, dtype: type = np.uint16, end: int = END) -> CorpusIndex:
    """The index of documents given without their end-of-text."""
    tokens = np.array([token for document in documents for token in (*document, end)], dtype)
    ends = np.cumsum([len(document) + 1 for document in documents])
    return CorpusIndex(tokens, ends, sort_suffixes(tokens, ends), end)


def places(documents: Documents, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Document and position of each occurrence of a run."""
    ids, n = list(ids), len(ids)
    return [
        (number, start)
        for number, document in enumerate(documents)
        for start in range(len(document) - n + 1)
        if document[start : start + n] == ids
    ]


def runs(documents: Documents, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Start and length of each run of a text that cannot be made longer."""
    found: list[tuple[int, int]] = []
    for start in range(len(ids)):
        length = 0
        while start + length < len(ids) and places(documents, ids[start : start + length + 1]):
            length += 1
        if length and (not found or sum(found[-1]) < start + length):
            found.append((start, length))
    return found

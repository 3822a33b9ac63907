"""What stands in a corpus, word for word: how often a run of tokens occurs, in which documents, and what follows.

In: token ids. Out: counts, places, ids. All runs that begin with the same tokens stand together in the order of
suffixes, so a range of it stands for a run, and one more token narrows the range by halving. A run never holds the
end-of-text id, so it never reaches from one document into the next.

N tokens of the corpus, n of a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.tokens import suffix_search
from services.tokens.index_files import read_index
from services.tokens.suffix_search import Positions, Tokens

_PIECE = 1 << 20  # tokens that are counted at once


class Found(NamedTuple):
    """Where a run occurs: the suffixes `first` to before `last` begin with its `length` tokens."""

    first: int
    last: int
    length: int

    @property
    def num_places(self) -> int:
        """How often it occurs."""
        return self.last - self.first


NOWHERE = Found(0, 0, 0)  # a run of no tokens: nothing ends there that occurs


class Place(NamedTuple):
    """A token of the corpus: the document's number, and how many tokens of it stand before."""

    document: int
    position: int


class Run(NamedTuple):
    """A piece of a text that stands in the corpus and cannot be made longer on either side.

    Attributes:
        start, length: in tokens of the text.
        found: where it stands.
    """

    start: int
    length: int
    found: Found


class CorpusIndex:
    """The index of one corpus. Never changes, safe to share between threads.

    Args:
        tokens: uint16 or uint32 [N].
        ends: int64 [documents], exclusive, the end-of-text id included.
        suffixes: uint32 [N], as sort_suffixes gives them.
        end_of_text_id: ends each document.
    """

    def __init__(self, tokens: Tokens, ends: NDArray[np.int64], suffixes: Positions, end_of_text_id: int) -> None:
        self.tokens, self.ends, self.suffixes = tokens, ends, suffixes
        self.end_of_text_id = end_of_text_id
        # Where those begin in `suffixes` that begin with each id: the first step of every search.
        counts = np.zeros(max(end_of_text_id, int(tokens.max(initial=0))) + 1, np.int64)
        for start in range(0, len(tokens), _PIECE):  # counting takes eight bytes a token
            piece = np.bincount(tokens[start : start + _PIECE])
            counts[: len(piece)] += piece
        self._begins = np.concatenate([[0], np.cumsum(counts)])  # int64 [ids + 1]
        self._commonest: dict[int, int] = {}  # after each id that was asked for
        self._arrays = (self.tokens, self.suffixes, self._begins, end_of_text_id)

    @classmethod
    def open(cls, folder: Path, end_of_text_id: int, vocabulary_size: int | None = None) -> CorpusIndex:
        """Map the files of a folder.

        Args:
            vocabulary_size: no id may reach it; None: ids are what they are.

        Raises:
            Corrupt: one is missing or damaged, or they do not belong together; names it.
        """
        index = cls(*read_index(folder, end_of_text_id, vocabulary_size), end_of_text_id)
        index._warm()
        return index

    def _warm(self) -> None:
        """Ask everything once: compiling takes seconds, for which no text that is being written should wait."""
        token_id = int(self.tokens[0])
        found = self.find([token_id])
        self.longer(found, token_id)
        self.longest_end([token_id])
        self.follow(found, [token_id] * 2)
        self.followers(found)
        self.commonest_after(token_id)
        self.runs([token_id])

    def find(self, ids: Sequence[int] | NDArray[Any]) -> Found:
        """Where a run of at least one id occurs; of none where it does not. The end-of-text id occurs in no run."""
        first, last = suffix_search.find(*self._arrays, np.array(ids, np.int64), 0, len(ids))
        return Found(first, last, len(ids))

    def longer(self, found: Found, token_id: int) -> Found:
        """Where a run occurs with one more id after it."""
        first, last = suffix_search.longer(*self._arrays, found.first, found.last, found.length, token_id)
        return Found(first, last, found.length + 1)

    def longest_after(self, run: Found, ids: Sequence[int], token_id: int) -> Found:
        """The longest run that ends with an id.

        Args:
            run: the longest that ends before it.
            ids: of that run.
        """
        found = self.longer(run, token_id)
        return found if found.first < found.last else self.longest_end([*ids, token_id])

    def longest_end(self, ids: Sequence[int] | NDArray[Any]) -> Found:
        """Where the longest end of these ids occurs; `length` is 0 when not even the last id does."""
        array = np.array(ids, np.int64)
        return Found(*suffix_search.longest_end(*self._arrays, array, 0, len(array)))

    def follow(self, run: Found, ids: Sequence[int]) -> tuple[list[int], Found]:
        """Of each id of a text that goes on after a run, the length of the longest run that ends with it; and the last.

        Args:
            run: the longest that ends where the new ids begin; its own ids are the first `run.length` of `ids`.
        """
        array = np.array(ids, np.int64)
        lengths = np.empty(len(array), np.int64)
        last = suffix_search.follow(*self._arrays, array, run.length, run.first, run.last, lengths)
        return lengths[run.length :].tolist(), Found(*last)

    def followers(self, found: Found, most: int = 64) -> dict[int, int]:
        """Which ids follow a run, in order of id, and how often each; of more than `most`, the first.

        The end-of-text id is one of them where a document ends there.
        """
        ids, counts = np.empty(most, np.int64), np.empty(most, np.int64)
        count = suffix_search.followers(*self._arrays, found.first, found.last, found.length, ids, counts)
        return dict(zip(ids[:count].tolist(), counts[:count].tolist(), strict=True))

    def commonest_after(self, token_id: int) -> int:
        """The id that follows an id most often, end-of-text too; one of the commonest if there are many places.

        -1: the id does not occur.
        """
        known = self._commonest.get(token_id)
        if known is None:
            first, last = suffix_search.longer(*self._arrays, 0, len(self.suffixes), 0, token_id)
            known = suffix_search.commonest(self.tokens, self.suffixes, first, last, 1)
            self._commonest[token_id] = known
        return known

    def positions(self, found: Found, most: int) -> NDArray[np.int64]:
        """Where a run begins in `tokens`, [places]; of more than `most` places, the first in the order of suffixes."""
        return self.suffixes[found.first : min(found.last, found.first + most)].astype(np.int64)

    def documents(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the document in which each position lies."""
        return np.searchsorted(self.ends, positions, side="right")

    def place(self, position: int) -> Place:
        """The same position, told by its document."""
        document = int(np.searchsorted(self.ends, position, side="right"))
        return Place(document, position - self.begin(document))

    def begin(self, document: int) -> int:
        """Where a document begins in `tokens`."""
        return int(self.ends[document - 1]) if document else 0

    def places(self, found: Found, most: int = 16) -> list[Place]:
        """Where a run begins; of more than `most` places, the first in the order of suffixes."""
        return [self.place(position) for position in self.positions(found, most).tolist()]

    def runs(self, ids: Sequence[int] | NDArray[Any]) -> list[Run]:
        """All runs of a text that cannot be made longer, in order; they may overlap."""
        array = np.array(ids, np.int64)
        found = np.empty((len(array), 4), np.int64)
        count = suffix_search.runs(*self._arrays, array, found)
        return [Run(start, length, Found(a, b, length)) for start, length, a, b in found[:count].tolist()]

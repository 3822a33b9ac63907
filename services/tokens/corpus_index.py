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

import numba
import numpy as np
from numpy.typing import NDArray

from services.common.errors import Corrupt
from services.tokens.dataset import DOCUMENTS_FILE, TOKENS_FILE, map_array
from services.tokens.index_files import SUFFIXES_FILE

Tokens = NDArray[Any]  # uint16 or uint32
Positions = NDArray[np.uint32]


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
    """The index of one corpus. Immutable, safe to share between threads.

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
        counts = np.bincount(tokens, minlength=end_of_text_id + 1)
        self._begins = np.concatenate([[0], np.cumsum(counts)])  # int64 [ids + 1]
        self._arrays = (self.tokens, self.suffixes, self._begins, end_of_text_id)

    @classmethod
    def open(cls, folder: Path, end_of_text_id: int) -> CorpusIndex:
        """Map the files of a folder.

        Raises:
            Corrupt: one is missing or damaged, or they do not belong together; names it.
        """
        tokens, suffixes = map_array(folder / TOKENS_FILE), map_array(folder / SUFFIXES_FILE)
        ends = np.ascontiguousarray(map_array(folder / DOCUMENTS_FILE)["end"])
        if suffixes.dtype != np.uint32 or suffixes.shape != tokens.shape:
            raise Corrupt(
                f"{folder / SUFFIXES_FILE} holds {suffixes.dtype} {suffixes.shape} for {len(tokens)} tokens; "
                "build it again",
                metadata={"file": str(folder / SUFFIXES_FILE)},
            )
        return cls(np.asarray(tokens), ends, np.asarray(suffixes), end_of_text_id)

    def find(self, ids: Sequence[int] | NDArray[Any]) -> Found:
        """Where a run of at least one id occurs; of none where it does not. The end-of-text id occurs in no run."""
        first, last = _find(*self._arrays, np.asarray(ids, np.int64), 0, len(ids))
        return Found(first, last, len(ids))

    def longer(self, found: Found, token_id: int) -> Found:
        """Where a run occurs with one more id after it."""
        first, last = _longer(*self._arrays, found.first, found.last, found.length, token_id)
        return Found(first, last, found.length + 1)

    def longest_end(self, ids: Sequence[int] | NDArray[Any]) -> Found:
        """Where the longest end of these ids occurs; `length` is 0 when not even the last id does."""
        array = np.asarray(ids, np.int64)
        return Found(*_longest_end(*self._arrays, array, 0, len(array)))

    def follow(self, run: Found, ids: Sequence[int]) -> tuple[list[int], Found]:
        """Of each id of a text that goes on after a run, the length of the longest run that ends with it; and the last.

        Args:
            run: the longest that ends where the new ids begin; its own ids are the first `run.length` of `ids`.
        """
        array = np.asarray(ids, np.int64)
        lengths = np.empty(len(array), np.int64)
        last = _follow(*self._arrays, array, run.length, run.first, run.last, lengths)
        return lengths[run.length :].tolist(), Found(*last)

    def followers(self, found: Found, most: int = 64) -> dict[int, int]:
        """Which ids follow a run, in order of id, and how often each; of more than `most`, the first.

        The end-of-text id is one of them where a document ends there.
        """
        ids, counts = np.empty(most, np.int64), np.empty(most, np.int64)
        count = _followers(*self._arrays, found.first, found.last, found.length, ids, counts)
        return dict(zip(ids[:count].tolist(), counts[:count].tolist(), strict=True))

    def places(self, found: Found, most: int = 16) -> list[Place]:
        """Where a run begins; of more than `most` places, the first in the order of suffixes."""
        positions = self.suffixes[found.first : min(found.last, found.first + most)].astype(np.int64)
        documents = np.searchsorted(self.ends, positions, side="right")
        before = np.where(documents > 0, self.ends[documents - 1], 0)
        return [Place(*place) for place in zip(documents.tolist(), (positions - before).tolist(), strict=True)]

    def runs(self, ids: Sequence[int] | NDArray[Any]) -> list[Run]:
        """All runs of a text that cannot be made longer, in order; they may overlap."""
        array = np.asarray(ids, np.int64)
        found = np.empty((len(array), 4), np.int64)
        count = _runs(*self._arrays, array, found)
        return [Run(start, length, Found(a, b, length)) for start, length, a, b in found[:count].tolist()]


@numba.njit(nogil=True, cache=True)
def _bound(tokens: Tokens, suffixes: Positions, first: int, last: int, depth: int, token_id: int) -> int:
    """The first place from `first` to `last` whose id at `depth` is not below `token_id`."""
    while first < last:
        middle = (first + last) // 2
        if tokens[suffixes[middle] + depth] < token_id:
            first = middle + 1
        else:
            last = middle
    return first


@numba.njit(nogil=True, cache=True)
def _longer(
    tokens: Tokens,
    suffixes: Positions,
    begins: NDArray[np.int64],
    end_of_text: int,
    first: int,
    last: int,
    depth: int,
    token_id: int,
) -> tuple[int, int]:
    """Those of a range of suffixes that are alike in `depth` tokens whose next is `token_id`."""
    if token_id < 0 or token_id >= len(begins) - 1 or token_id == end_of_text or first >= last:
        return 0, 0
    if depth == 0:
        return begins[token_id], begins[token_id + 1]
    first = _bound(tokens, suffixes, first, last, depth, token_id)
    if first == last or tokens[suffixes[first] + depth] != token_id:
        return 0, 0
    # Most ranges are small, or end soon: look at twice as many each time.
    step = 1
    while first + step < last and tokens[suffixes[first + step] + depth] == token_id:
        step *= 2
    return first, _bound(tokens, suffixes, first + step // 2, min(last, first + step), depth, token_id + 1)


@numba.njit(nogil=True, cache=True)
def _find(
    tokens: Tokens,
    suffixes: Positions,
    begins: NDArray[np.int64],
    end_of_text: int,
    ids: NDArray[np.int64],
    start: int,
    end: int,
) -> tuple[int, int]:
    """The range of what begins with `ids[start:end]`."""
    first, last = 0, len(suffixes)
    for i in range(start, end):
        first, last = _longer(tokens, suffixes, begins, end_of_text, first, last, i - start, ids[i])
        if first == last:
            break
    return first, last


@numba.njit(nogil=True, cache=True)
def _longest_end(
    tokens: Tokens,
    suffixes: Positions,
    begins: NDArray[np.int64],
    end_of_text: int,
    ids: NDArray[np.int64],
    start: int,
    end: int,
) -> tuple[int, int, int]:
    """Range and length of the longest end of `ids[start:end]` that occurs."""
    # What occurs from some id on occurs from each later one on too. Most ends are short: twice as long each time.
    best, first, last = 0, 0, 0
    step = 1
    while best < end - start:
        length = min(best + step, end - start)
        a, b = _find(tokens, suffixes, begins, end_of_text, ids, end - length, end)
        if a < b:
            best, first, last = length, a, b
            step *= 2
        elif step == 1:
            break
        else:
            step = (length - best) // 2 if length - best > 1 else 1
    return first, last, best


@numba.njit(nogil=True, cache=True)
def _follow(
    tokens: Tokens,
    suffixes: Positions,
    begins: NDArray[np.int64],
    end_of_text: int,
    ids: NDArray[np.int64],
    start: int,
    first: int,
    last: int,
    lengths: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Write of each id from `start` on the length of the longest run that ends with it; return the last one's range."""
    length = start
    for i in range(start, len(ids)):
        if length == 0:
            first, last = 0, len(suffixes)
        a, b = _longer(tokens, suffixes, begins, end_of_text, first, last, length, ids[i])
        if a < b:
            first, last, length = a, b, length + 1
        else:
            first, last, length = _longest_end(tokens, suffixes, begins, end_of_text, ids, i - length, i + 1)
        lengths[i] = length
    return first, last, length


@numba.njit(nogil=True, cache=True)
def _followers(
    tokens: Tokens,
    suffixes: Positions,
    begins: NDArray[np.int64],
    end_of_text: int,
    first: int,
    last: int,
    depth: int,
    ids: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Write the ids that stand at `depth` in a range, and how often; return how many were written."""
    count = 0
    while first < last and count < len(ids):
        token_id = tokens[suffixes[first] + depth]
        following = _bound(tokens, suffixes, first, last, depth, token_id + 1)
        ids[count], counts[count] = token_id, following - first
        first = following
        count += 1
    return count


@numba.njit(nogil=True, cache=True)
def _runs(
    tokens: Tokens,
    suffixes: Positions,
    begins: NDArray[np.int64],
    end_of_text: int,
    ids: NDArray[np.int64],
    found: NDArray[np.int64],
) -> int:
    """Write start, length and range of each run that cannot be made longer; return how many."""
    count, start, end = 0, 0, 0
    first, last = 0, len(suffixes)
    while end < len(ids):
        a, b = _longer(tokens, suffixes, begins, end_of_text, first, last, end - start, ids[end])
        if a < b:
            first, last, end = a, b, end + 1
            continue
        if end > start:
            found[count, 0], found[count, 1], found[count, 2], found[count, 3] = start, end - start, first, last
            count += 1
        # What still occurs when the id is added that the run could not have.
        first, last, length = _longest_end(tokens, suffixes, begins, end_of_text, ids, start, end + 1)
        end += 1
        start = end - length
        if length == 0:
            first, last = 0, len(suffixes)
    if end > start:
        found[count, 0], found[count, 1], found[count, 2], found[count, 3] = start, end - start, first, last
        count += 1
    return count

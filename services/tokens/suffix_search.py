"""Searching sorted suffixes, compiled: the range of those that begin with some ids, by halving.

In: what CorpusIndex holds, and ids. Out: ranges of suffixes, as `first` and `last` (exclusive). Whatever the order of
the suffixes, nothing is read from beyond the tokens: a damaged file gives wrong answers at worst.

N tokens of the corpus, n of a text.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[Any]  # uint16 or uint32
Positions = NDArray[np.uint32]

LOOKS = 256  # each may have to come from memory


@numba.njit(nogil=True, cache=True)
def _at(tokens: Tokens, position: int) -> int:
    """The id at a position; at one beyond the last, the last."""
    token_id: int = tokens[min(position, len(tokens) - 1)]
    return token_id


@numba.njit(nogil=True, cache=True)
def bound(tokens: Tokens, suffixes: Positions, first: int, last: int, depth: int, token_id: int) -> int:
    """The first place from `first` to `last` whose id at `depth` is not below `token_id`."""
    while first < last:
        middle = (first + last) // 2
        if _at(tokens, suffixes[middle] + depth) < token_id:
            first = middle + 1
        else:
            last = middle
    return first


@numba.njit(nogil=True, cache=True)
def longer(
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
    first = bound(tokens, suffixes, first, last, depth, token_id)
    if first == last or _at(tokens, suffixes[first] + depth) != token_id:
        return 0, 0
    # Most ranges are small, or end soon: look at twice as many each time.
    step = 1
    while first + step < last and _at(tokens, suffixes[first + step] + depth) == token_id:
        step *= 2
    return first, bound(tokens, suffixes, first + step // 2, min(last, first + step), depth, token_id + 1)


@numba.njit(nogil=True, cache=True)
def find(
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
        first, last = longer(tokens, suffixes, begins, end_of_text, first, last, i - start, ids[i])
        if first == last:
            break
    return first, last


@numba.njit(nogil=True, cache=True)
def longest_end(
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
        a, b = find(tokens, suffixes, begins, end_of_text, ids, end - length, end)
        if a < b:
            best, first, last = length, a, b
            step *= 2
        elif step == 1:
            break
        else:
            step = (length - best) // 2 if length - best > 1 else 1
    return first, last, best


@numba.njit(nogil=True, cache=True)
def follow(
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
        a, b = longer(tokens, suffixes, begins, end_of_text, first, last, length, ids[i])
        if a < b:
            first, last, length = a, b, length + 1
        else:
            first, last, length = longest_end(tokens, suffixes, begins, end_of_text, ids, i - length, i + 1)
        lengths[i] = length
    return first, last, length


@numba.njit(nogil=True, cache=True)
def followers(
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
        token_id = _at(tokens, suffixes[first] + depth)
        following = bound(tokens, suffixes, first, last, depth, token_id + 1)
        ids[count], counts[count] = token_id, following - first
        first = following
        count += 1
    return count


@numba.njit(nogil=True, cache=True)
def commonest(tokens: Tokens, suffixes: Positions, first: int, last: int, depth: int) -> int:
    """The id that stands most often at `depth` in a range; in a long one, of LOOKS places or twice as many."""
    step = max(1, (last - first) // LOOKS)
    best, most, before, count = -1, 0, -1, 0
    for place in range(first, last, step):  # equal ids stand together
        token_id = _at(tokens, suffixes[place] + depth)
        count = count + 1 if token_id == before else 1
        before = token_id
        if count > most:
            best, most = token_id, count
    return best


@numba.njit(nogil=True, cache=True)
def runs(
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
        a, b = longer(tokens, suffixes, begins, end_of_text, first, last, end - start, ids[end])
        if a < b:
            first, last, end = a, b, end + 1
            continue
        if end > start:
            found[count, 0], found[count, 1], found[count, 2], found[count, 3] = start, end - start, first, last
            count += 1
        # What still occurs when the id is added that the run could not have.
        first, last, length = longest_end(tokens, suffixes, begins, end_of_text, ids, start, end + 1)
        end += 1
        start = end - length
        if length == 0:
            first, last = 0, len(suffixes)
    if end > start:
        found[count, 0], found[count, 1], found[count, 2], found[count, 3] = start, end - start, first, last
        count += 1
    return count

"""The greatest of a row of logits: the first, or the first k.

Nothing is sorted that need not be: the k greatest are looked for in the k stretches of the row with the greatest
maxima. Equals rank by index.
Compiled code for compiled.py. It calls nothing outside this file, so Numba sees each change of what it keeps.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Row = NDArray[np.floating[Any]]
Bits = NDArray[np.signedinteger[Any]]

NONE = -1  # no index

_STRETCH = 64  # logits whose maximum is taken, many at once


@numba.njit(cache=True, nogil=True)
def greatest(row: Row, bits: Bits, excluded: NDArray[np.int32]) -> int:
    """The index of the greatest; NONE when all are excluded or -inf, or one is no number.

    Args:
        row: float32 or float64 [V].
        bits: the same, seen as whole numbers of its size.
        excluded: indices that do not count; few.
    """
    maxima = _maxima(row, bits, excluded)
    best = 0
    for stretch in range(len(maxima)):
        if maxima[stretch] != maxima[stretch]:
            return NONE
        if maxima[stretch] > maxima[best]:
            best = stretch
    if maxima[best] == -np.inf:
        return NONE
    i = best * _STRETCH
    while row[i] != maxima[best] or _is_in(excluded, i):
        i += 1
    return i


@numba.njit(cache=True, nogil=True)
def k_greatest(row: Row, bits: Bits, k: int, excluded: NDArray[np.int32]) -> Ids:
    """Indices of the k greatest, ascending, no -inf; none at all when one is no number. Arguments as of `greatest`.

    They lie in the k stretches with the greatest maxima: each of these has one that is no less than any outside.
    """
    maxima = _maxima(row, bits, excluded)
    heap = np.empty(min(k, len(maxima)), np.int64)
    size = 0
    worst = row.dtype.type(-np.inf)  # what a value must exceed
    for stretch in range(len(maxima)):
        if maxima[stretch] != maxima[stretch]:
            return np.empty(0, np.int64)
        if maxima[stretch] > worst:
            size = _offer(heap, size, maxima, stretch)
            if size == len(heap):
                worst = maxima[heap[0]]
    stretches = np.sort(heap[:size])
    # k maxima reach it, so the k greatest do.
    floor = worst if size == k else row.dtype.type(-np.inf)
    heap = np.empty(k, np.int64)
    size = 0
    worst = row.dtype.type(-np.inf)
    for stretch in stretches:
        for i in range(stretch * _STRETCH, min((stretch + 1) * _STRETCH, len(row))):
            if row[i] >= floor and row[i] > worst and not _is_in(excluded, i):
                size = _offer(heap, size, row, i)
                if size == k:
                    worst = row[heap[0]]
    return np.sort(heap[:size])


@numba.njit(cache=True, nogil=True)
def _maxima(row: Row, bits: Bits, excluded: NDArray[np.int32]) -> Row:
    """The greatest of each stretch that is not excluded, -inf where none is; NaN where one is no number.

    The bits of floats compare as the floats do once those below the sign are turned around in negative ones, and
    whole numbers are compared many at once. Numbers lie between the two infinities.
    """
    sign = 8 * bits.itemsize - 1
    below_sign = (1 << sign) - 1
    infinite = np.array([-np.inf, np.inf], row.dtype).view(bits.dtype)
    lowest, highest = infinite[0] ^ below_sign, infinite[1]
    found = np.empty(-(-len(row) // _STRETCH), bits.dtype)
    for stretch in range(len(found)):
        part = bits[stretch * _STRETCH : (stretch + 1) * _STRETCH]
        least, greatest = highest, lowest
        for i in range(len(part)):
            key = part[i] ^ ((part[i] >> sign) & below_sign)
            least, greatest = min(least, key), max(greatest, key)
        if least < lowest:
            greatest = highest + 1  # the first NaN
        found[stretch] = greatest ^ ((greatest >> sign) & below_sign)
    maxima = found.view(row.dtype)
    for token_id in excluded:
        stretch = token_id // _STRETCH
        if row[token_id] == maxima[stretch]:
            top = row.dtype.type(-np.inf)
            for i in range(stretch * _STRETCH, min((stretch + 1) * _STRETCH, len(row))):
                if row[i] > top and not _is_in(excluded, i):
                    top = row[i]
            maxima[stretch] = top
    return maxima


@numba.njit(cache=True, nogil=True)
def _offer(heap: Ids, size: int, values: Row, i: int) -> int:
    """Put index i into a heap of the greatest values, for the worst at its root if it is full; the new size.

    Indices come in ascending order, so of two equals the new one is the worse.
    """
    value = values[i]
    if size < len(heap):
        child = size
        while child > 0:
            parent = (child - 1) // 2
            if values[heap[parent]] < value:
                break
            heap[child] = heap[parent]
            child = parent
        heap[child] = i
        return size + 1
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and _worse(values, heap[child + 1], heap[child]):
            child += 1
        if not _worse(values, heap[child], i):
            break
        heap[hole] = heap[child]
        hole = child
    heap[hole] = i
    return size


@numba.njit(inline="always")
def _worse(row: Row, a: int, b: int) -> bool:
    return row[a] < row[b] or (row[a] == row[b] and a > b)


@numba.njit(inline="always")
def _is_in(excluded: NDArray[np.int32], token_id: int) -> bool:
    for i in range(len(excluded)):  # noqa: SIM110 (compiled)
        if excluded[i] == token_id:
            return True
    return False

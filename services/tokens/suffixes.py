"""The suffix array of a corpus: its positions in the order of the text that begins at each.

In: token ids and where documents end. Out: positions, sorted. Everything that occurs in the corpus then stands
together, and is found by halving.

Source: Manber and Myers, "Suffix arrays: a new method for on-line string searches"; positions are sorted by their
first tokens, then by twice as many as before, until no two are alike (prefix doubling). A document's end is the end of
each text in it, so no text reaches into the next document.

N tokens, A positions whose order is not known yet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_TOKENS = 2**32 - 1  # a position has four bytes


def sort_suffixes(tokens: NDArray[Any], ends: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the positions of `tokens` in the order of the ids from there to the end of their document.

    Those that are alike to the end stand in order of position. Memory: about 40 bytes a token.

    Args:
        tokens: uint16 or uint32 [N]; the last id of each document occurs nowhere else in it.
        ends: int64 [documents], where each document ends, exclusive; the last is N.

    Raises:
        ValueError: more tokens than positions have numbers.
    """
    if len(tokens) > MOST_TOKENS:
        raise ValueError(f"{len(tokens)} tokens; an index holds {MOST_TOKENS} at most")
    left = np.repeat(ends, np.diff(ends, prepend=0)) - np.arange(len(tokens))  # [N], tokens to the document's end
    left = np.minimum(left, MOST_TOKENS).astype(np.uint32)
    known = 8 // tokens.dtype.itemsize  # tokens by which positions are sorted
    keys = _first_tokens(tokens, left, known)
    order = np.argsort(keys).astype(np.uint32)  # [N]
    keys = keys[order]
    ranks = np.empty(len(tokens), np.uint32)  # of each position: the place of the first that is like it
    places = np.arange(len(tokens))  # [A], of those that are like another, in `order`
    while len(places):
        heads = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))  # [groups], where those begin that are alike
        sizes = np.diff(heads, append=len(places))
        ranks[order[places]] = np.repeat(places[heads], sizes)
        places = places[np.repeat(sizes > 1, sizes)]
        positions = order[places].astype(np.int64)  # [A]
        # Alike and at their end: the position decides. Else what follows does, whose rank is known.
        ended = left[positions] <= known
        following = np.where(ended, positions, ranks[np.where(ended, 0, positions + known)])
        keys = ranks[positions].astype(np.uint64) << np.uint64(32) | following.astype(np.uint64)
        sorting = np.argsort(keys)
        order[places] = positions[sorting]
        keys = keys[sorting]
        known *= 2
    return order


def _first_tokens(tokens: NDArray[Any], left: NDArray[np.uint32], count: int) -> NDArray[np.uint64]:
    """The first `count` ids of each position as one number, zeros after the end of its document. uint64 [N]"""
    bits = np.uint64(64 // count)
    keys = np.zeros(len(tokens), np.uint64)
    for i in range(count):
        keys <<= bits
        there = left[: max(0, len(tokens) - i)] > i
        keys[: len(there)] |= np.where(there, tokens[i:], 0).astype(np.uint64)
    return keys

"""What attention does with one block of one head, and the working memory it does it in, compiled by Numba.

attention.py says what it computes, and why every result is the same in every bit.

D head size, C channels, P = 64 positions of a block, K tokens of a tile, S positions of all blocks of the longest
sequence. E and F are D rounded up: to whole pairs, and to whole vectors of 16.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from services.litert.cache import BLOCK, Floats, Layer, widths
from services.litert.memory import zeros
from services.litert.numbers import (
    ROUND,
    TINY,
    dots_1_16,
    dots_1_64,
    dots_4_64,
    exp,
    fma,
    largest_of,
    prefetch,
    round_to_int16,
    widest,
)

TILE = 16  # tokens of one sequence that read a block together

Shorts = NDArray[np.int16]


class Scratch(NamedTuple):
    """Working memory of one thread.

    Attributes:
        scores: float32 [K, S]: first scores, then the weights of the values.
        queries: float32 [K, E].
        mixed: float32 [K, F], weighted sums.
        lanes: float32 [P].
        rounded_queries: int16 [K, E].
        rounded_weights: int16 [K, S].
        sums: int32 [K, the larger of P and F].
        query_scales, weight_scales, totals: float32 [K].
    """

    scores: Floats
    queries: Floats
    mixed: Floats
    lanes: Floats
    rounded_queries: Shorts
    rounded_weights: Shorts
    sums: NDArray[np.int32]
    query_scales: Floats
    weight_scales: Floats
    totals: Floats


def new_scratch(head_size: int, context: int) -> Scratch:
    """Working memory for sequences of up to `context` tokens."""
    S = -(-context // BLOCK) * BLOCK
    E, F = widths(head_size)
    return Scratch(
        scores=zeros((TILE, S), np.float32),
        queries=zeros((TILE, E), np.float32),
        mixed=zeros((TILE, F), np.float32),
        lanes=zeros(BLOCK, np.float32),
        rounded_queries=zeros((TILE, E), np.int16),
        rounded_weights=zeros((TILE, S), np.int16),
        sums=zeros((TILE, max(BLOCK, F)), np.int32),
        query_scales=zeros(TILE, np.float32),
        weight_scales=zeros(TILE, np.float32),
        totals=zeros(TILE, np.float32),
    )


_0, _1, _127 = np.float32(0), np.float32(1), np.float32(127)
_MINUS_INFINITY = np.float32(-np.inf)
_WEIGHT = np.float32(32767)  # the largest weight; 64 times 127 times it is below 2**31


# What is done with int8 and with float32 are functions of their own: in one, Numba counts references to arrays around
# each branch, which takes four times as long as the products.


@numba.njit(nogil=True, forceinline=True)
def store(qkv: Floats, row: int, head: int, layer: Layer, block: int, place: int, D: int) -> None:
    """Write key and value of one token and head. In int8 the largest number of each becomes 127."""
    if layer.keys.itemsize == 4:
        _store_floats(qkv, row, head, layer, block, place, D)
    else:
        _store_bytes(qkv, row, head, layer, block, place, D)


@numba.njit(nogil=True, forceinline=True)
def _store_floats(qkv: Floats, row: int, head: int, layer: Layer, block: int, place: int, D: int) -> None:
    C = layer.keys.shape[1] * D
    layer.key_scales[block, head, place] = _1
    layer.value_scales[block, head, place] = _1
    for d in range(D):
        layer.keys[block, head, d // 2, place, d % 2] = qkv[row, C + head * D + d]
        layer.values[block, head, place // 2, d, place % 2] = qkv[row, 2 * C + head * D + d]


@numba.njit(nogil=True, forceinline=True, error_model="numpy")
def _store_bytes(qkv: Floats, row: int, head: int, layer: Layer, block: int, place: int, D: int) -> None:
    widest()
    C = layer.keys.shape[1] * D
    key = qkv[row, C + head * D : C + (head + 1) * D]
    value = qkv[row, 2 * C + head * D : 2 * C + (head + 1) * D]
    keys, values = layer.keys[block, head], layer.values[block, head, place // 2]  # [E/2, P, 2], [F, 2]
    largest = largest_of(key)
    inverse = _127 / largest if largest > TINY else _0
    layer.key_scales[block, head, place] = largest / _127
    for d in range(D):
        keys[d // 2, place, d % 2] = (key[d] * inverse + ROUND) - ROUND
    largest = largest_of(value)
    inverse = _127 / largest if largest > TINY else _0
    layer.value_scales[block, head, place] = largest / _127
    for d in range(D):
        values[d, place % 2] = (value[d] * inverse + ROUND) - ROUND


@numba.njit(nogil=True, forceinline=True)
def scores(first: int, count: int, keys: NDArray, block: int, scratch: Scratch, following: int) -> None:
    """Scores of the tile's tokens from `first` on with one block of one head, without the scale of the keys.

    `following` is the address of the block that is read next; it is asked for where a single token is computed.
    """
    if keys.itemsize == 4:
        _scores_of_floats(first, count, keys, block, scratch)
    else:
        _scores_of_bytes(first, count, keys, block, scratch, following)


@numba.njit(nogil=True, forceinline=True)
def _scores_of_floats(first: int, count: int, keys: NDArray, block: int, scratch: Scratch) -> None:
    widest()
    begin = block * BLOCK
    for i in range(first, count):
        s = scratch.scores[i, begin : begin + BLOCK]
        for p in range(BLOCK):
            s[p] = _0
        for d in range(scratch.queries.shape[1]):
            q = scratch.queries[i, d]
            for p in range(BLOCK):
                s[p] = fma(q, np.float32(keys[d // 2, p, d % 2]), s[p])


@numba.njit(nogil=True, forceinline=True)
def _scores_of_bytes(first: int, count: int, keys: NDArray, block: int, scratch: Scratch, following: int) -> None:
    widest()
    E = scratch.queries.shape[1]
    begin = block * BLOCK
    q, k, o = scratch.rounded_queries, keys.ctypes.data, scratch.sums
    i = first
    while i < count:
        if i + 4 <= count:
            dots_4_64(q[i:].ctypes.data, 2 * E, k, 2 * BLOCK, E // 2, o[i:].ctypes.data, 4 * o.shape[1], 0)
            i += 4
        else:
            dots_1_64(q[i:].ctypes.data, 2 * E, k, 2 * BLOCK, E // 2, o[i:].ctypes.data, 4 * o.shape[1], following)
            i += 1
    for i in range(first, count):
        scale = scratch.query_scales[i]
        s, sums = scratch.scores[i, begin : begin + BLOCK], scratch.sums[i]
        for p in range(BLOCK):
            s[p] = np.float32(sums[p]) * scale


@numba.njit(nogil=True, forceinline=True)
def mix(first: int, count: int, position: int, values: NDArray, block: int, scratch: Scratch, following: int) -> None:
    """Add one block's values to the weighted sums of the tile's tokens from `first` on; the tile is at `position`.

    `following` as with `_scores`.
    """
    if values.itemsize == 4:
        _mix_floats(first, count, position, values, block, scratch)
    else:
        _mix_bytes(first, count, position, values, block, scratch, following)


@numba.njit(nogil=True, forceinline=True)
def _mix_floats(first: int, count: int, position: int, values: NDArray, block: int, scratch: Scratch) -> None:
    widest()
    begin = block * BLOCK
    for i in range(first, count):
        mixed, w = scratch.mixed[i], scratch.scores[i, begin : begin + BLOCK]
        # What stands after a token may be no number, and 0 times that would be none either.
        for p in range(min(BLOCK, position + i + 1 - begin)):
            for d in range(scratch.mixed.shape[1]):
                mixed[d] = fma(w[p], np.float32(values[p // 2, d, p % 2]), mixed[d])


@numba.njit(nogil=True, forceinline=True)
def _mix_bytes(
    first: int, count: int, position: int, values: NDArray, block: int, scratch: Scratch, following: int
) -> None:
    widest()
    F = scratch.mixed.shape[1]
    begin = block * BLOCK
    pairs = min(BLOCK // 2, (position + count - 1 - begin) // 2 + 1)  # after the last token's all weigh 0
    weights, o = scratch.rounded_weights, scratch.sums
    step, row, out = 2 * weights.shape[1], 2 * F, 4 * o.shape[1]
    for d in range(0, F, 64 if F % 64 == 0 else 16):
        v = values.ctypes.data + 2 * d
        i = first
        while i < count:
            if F % 64 != 0:
                dots_1_16(
                    weights[i, begin:].ctypes.data, step, v, row, pairs, o[i, d:].ctypes.data, out, following + 2 * d
                )
                i += 1
            elif i + 4 <= count:
                dots_4_64(weights[i, begin:].ctypes.data, step, v, row, pairs, o[i, d:].ctypes.data, out, 0)
                i += 4
            else:
                dots_1_64(
                    weights[i, begin:].ctypes.data, step, v, row, pairs, o[i, d:].ctypes.data, out, following + 2 * d
                )
                i += 1
    for i in range(first, count):
        mixed, sums = scratch.mixed[i], scratch.sums[i]
        for d in range(F):
            mixed[d] += np.float32(sums[d])


@numba.njit(nogil=True, forceinline=True)
def fetch(values: NDArray) -> None:
    """Ask for the first half of a block of one head while another is computed; the processor then reads on by itself.

    It does not begin to by itself: a block may be a memory page, and it reads ahead only within one.
    """
    address = values.ctypes.data
    for begin in range(0, values.size * values.itemsize // 2, 64):
        prefetch(address + begin)


@numba.njit(nogil=True, forceinline=True)
def softmax(i: int, position: int, table: NDArray[np.int32], head: int, layer: Layer, scratch: Scratch) -> None:
    """Scores of the tile's token `i` to the weights of its values, not yet divided by their sum.

    What stands in places after `position` may be anything and counts as nothing.
    """
    widest()
    lanes, blocks = scratch.lanes, position // BLOCK + 1
    for p in range(BLOCK):
        lanes[p] = _MINUS_INFINITY
    for b in range(blocks):
        scale = layer.key_scales[table[b], head]
        s = scratch.scores[i, b * BLOCK : (b + 1) * BLOCK]
        left = np.int32(position + 1 - b * BLOCK)
        for p in range(BLOCK):
            score = s[p] * scale[p] if np.int32(p) < left else _MINUS_INFINITY
            s[p] = score
            lanes[p] = score if score > lanes[p] else lanes[p]
    width = BLOCK // 2
    while width:
        for p in range(width):
            lanes[p] = max(lanes[p], lanes[p + width])
        width //= 2
    largest = lanes[0]
    for p in range(BLOCK):
        lanes[p] = _0
    for b in range(blocks):
        scale = layer.value_scales[table[b], head]
        s = scratch.scores[i, b * BLOCK : (b + 1) * BLOCK]
        left = np.int32(position + 1 - b * BLOCK)
        for p in range(BLOCK):
            w = exp(s[p] - largest)
            lanes[p] += w if np.int32(p) < left else _0
            s[p] = w * scale[p] if np.int32(p) < left else _0
    width = BLOCK // 2
    while width:
        for p in range(width):
            lanes[p] += lanes[p + width]
        width //= 2
    scratch.totals[i] = lanes[0]
    if layer.keys.itemsize == 4:
        scratch.weight_scales[i] = _1
        return
    weights = scratch.scores[i, : blocks * BLOCK]
    scratch.weight_scales[i] = round_to_int16(weights, largest_of(weights), _WEIGHT, scratch.rounded_weights[i])

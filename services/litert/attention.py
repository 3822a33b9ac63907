"""Attention over the paged cache, compiled by Numba.

In: q|k|v of a flat batch of tokens, where each token belongs (block table, position), the cache of one layer.
Out: the keys and values in the cache, and what each token attends to.

Keys and values are int8 with a scale per token and head. A query is rounded to int16, and so are the weights of its
values: products of these are sums of whole numbers, which are the same in any order, and the processor makes 32 of them
at once. What lies between, the softmax, is done element by element, and summed in a fixed order. So a token's result is
the same in every bit whatever else is in the batch, and tokens of one sequence may share the reading of a block.
A float32 cache is for comparisons: its products are summed in the order of channels and positions.
No fast-math, so the compiler changes no order.

N tokens of the batch, H heads, D head size, C channels (H * D), P = 64 positions of a block, B blocks, R runs of
tokens, K tokens of a tile, S positions of all blocks of the longest sequence. E and F are D rounded up: to whole pairs,
and to whole vectors of 16. Blocks hold pairs side by side, since the processor multiplies pairs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from services.litert.cache import BLOCK, Floats, Layer, widths
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
        scores=np.zeros((TILE, S), np.float32),
        queries=np.zeros((TILE, E), np.float32),
        mixed=np.zeros((TILE, F), np.float32),
        lanes=np.zeros(BLOCK, np.float32),
        rounded_queries=np.zeros((TILE, E), np.int16),
        rounded_weights=np.zeros((TILE, S), np.int16),
        sums=np.zeros((TILE, max(BLOCK, F)), np.int32),
        query_scales=np.zeros(TILE, np.float32),
        weight_scales=np.zeros(TILE, np.float32),
        totals=np.zeros(TILE, np.float32),
    )


_0, _1, _127 = np.float32(0), np.float32(1), np.float32(127)
_MINUS_INFINITY = np.float32(-np.inf)
_WEIGHT = np.float32(32767)  # the largest weight; 64 times 127 times it is below 2**31


@numba.njit(nogil=True)
def _store(qkv: Floats, row: int, head: int, layer: Layer, block: int, place: int, D: int) -> None:
    """Write key and value of one token and head. In int8 the largest number of each becomes 127."""
    C = layer.keys.shape[1] * D
    key = qkv[row, C + head * D : C + (head + 1) * D]
    value = qkv[row, 2 * C + head * D : 2 * C + (head + 1) * D]
    keys, values = layer.keys[block, head], layer.values[block, head, place // 2]  # [E/2, P, 2], [F, 2]
    half = place % 2
    if keys.itemsize == 4:
        layer.key_scales[block, head, place] = _1
        layer.value_scales[block, head, place] = _1
        for d in range(D):
            keys[d // 2, place, d % 2] = key[d]
            values[d, half] = value[d]
        return
    largest = largest_of(key)
    inverse = _127 / largest if largest > TINY else _0
    layer.key_scales[block, head, place] = largest / _127
    for d in range(D):
        keys[d // 2, place, d % 2] = (key[d] * inverse + ROUND) - ROUND
    largest = largest_of(value)
    inverse = _127 / largest if largest > TINY else _0
    layer.value_scales[block, head, place] = largest / _127
    for d in range(D):
        values[d, half] = (value[d] * inverse + ROUND) - ROUND


# What is done with int8 and with float32 are functions of their own: in one, Numba counts references to arrays around
# each branch, which takes four times as long as the products.


@numba.njit(nogil=True, forceinline=True)
def _scores(first: int, count: int, keys: NDArray, block: int, scratch: Scratch, following: int) -> None:
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
def _mix(first: int, count: int, position: int, values: NDArray, block: int, scratch: Scratch, following: int) -> None:
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
def _fetch(values: NDArray) -> None:
    """Ask for the first half of a block of one head while another is computed; the processor then reads on by itself.

    It does not begin to by itself: a block may be a memory page, and it reads ahead only within one.
    """
    address = values.ctypes.data
    for begin in range(0, values.size * values.itemsize // 2, 64):
        prefetch(address + begin)


@numba.njit(nogil=True, forceinline=True)
def _softmax(i: int, position: int, table: NDArray[np.int32], head: int, layer: Layer, scratch: Scratch) -> None:
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


@numba.njit(nogil=True, forceinline=True)
def _attend_tile(
    qkv: Floats,
    attended: Floats,
    row: int,
    count: int,
    position: int,
    table: NDArray[np.int32],
    head: int,
    layer: Layer,
    scratch: Scratch,
    D: int,
    scale: Any,
    limit: Any,
    next_keys: NDArray,
) -> None:
    """Attend for `count` tokens of one sequence that stand one after another, the first at `position`.

    Queries are multiplied by `scale`, and rounded so that the largest number becomes `limit`. `next_keys` is the block
    that will be read after this tile.
    """
    widest()
    for i in range(count):
        query, mixed = scratch.queries[i], scratch.mixed[i]
        for d in range(D):
            query[d] = qkv[row + i, head * D + d] * scale
        for d in range(mixed.shape[0]):
            mixed[d] = _0
        if layer.keys.itemsize == 1:
            scratch.query_scales[i] = round_to_int16(query, largest_of(query), limit, scratch.rounded_queries[i])
    blocks = (position + count - 1) // BLOCK + 1
    for b in range(blocks):
        _fetch(layer.keys[table[b + 1], head] if b + 1 < blocks else layer.values[table[0], head])
        _scores(
            max(0, b * BLOCK - position),
            count,
            layer.keys[table[b], head],
            b,
            scratch,
            layer.keys[table[b], head].ctypes.data,
        )
    for i in range(count):
        _softmax(i, position + i, table, head, layer, scratch)
    for b in range(blocks):
        _fetch(layer.values[table[b + 1], head] if b + 1 < blocks else next_keys)
        _mix(
            max(0, b * BLOCK - position),
            count,
            position,
            layer.values[table[b], head],
            b,
            scratch,
            layer.values[table[b], head].ctypes.data,
        )
    for i in range(count):
        factor = scratch.weight_scales[i] / scratch.totals[i]
        for d in range(D):
            attended[row + i, head * D + d] = scratch.mixed[i, d] * factor


@numba.njit(nogil=True, forceinline=True)
def _attend_token(
    qkv: Floats,
    attended: Floats,
    row: int,
    position: int,
    table: NDArray[np.int32],
    first_head: int,
    last_head: int,
    layer: Layer,
    scratch: Scratch,
    D: int,
    scale: Any,
    limit: Any,
    next_block: int,
) -> None:
    """Attend for a single token with up to TILE heads, each in a row of its own of the working memory.

    Block after block for all heads, as they stand in memory: read in turns of heads, memory gives half as much.
    """
    widest()
    heads = last_head - first_head
    for i in range(heads):
        query, mixed = scratch.queries[i], scratch.mixed[i]
        for d in range(D):
            query[d] = qkv[row, (first_head + i) * D + d] * scale
        for d in range(mixed.shape[0]):
            mixed[d] = _0
        if layer.keys.itemsize == 1:
            scratch.query_scales[i] = round_to_int16(query, largest_of(query), limit, scratch.rounded_queries[i])
    blocks = position // BLOCK + 1
    for b in range(blocks):
        for i in range(heads):
            if i + 1 < heads:
                following = layer.keys[table[b], first_head + i + 1].ctypes.data
            elif b + 1 < blocks:
                following = layer.keys[table[b + 1], first_head].ctypes.data
            else:
                following = layer.values[table[0], first_head].ctypes.data
            _scores(i, i + 1, layer.keys[table[b], first_head + i], b, scratch, following)
    for i in range(heads):
        _softmax(i, position, table, first_head + i, layer, scratch)
    for b in range(blocks):
        for i in range(heads):
            if i + 1 < heads:
                following = layer.values[table[b], first_head + i + 1].ctypes.data
            elif b + 1 < blocks:
                following = layer.values[table[b + 1], first_head].ctypes.data
            else:
                following = next_block
            _mix(i, i + 1, position - i, layer.values[table[b], first_head + i], b, scratch, following)
    for i in range(heads):
        factor = scratch.weight_scales[i] / scratch.totals[i]
        for d in range(D):
            attended[row, (first_head + i) * D + d] = scratch.mixed[i, d] * factor


@numba.njit(nogil=True)
def attend(
    qkv: Floats,
    attended: Floats,
    runs: NDArray[np.int32],
    tables: NDArray[np.int32],
    layer: Layer,
    first_head: int,
    last_head: int,
    scratch: Scratch,
) -> None:
    """Write keys and values of all tokens and attend, for the heads from `first_head` to before `last_head`.

    Args:
        qkv: float32 [N, 3C].
        attended: float32 [N, C], written.
        runs: int32 [R, 3]: first row, number of rows, position of the first; rows of one sequence in order.
        tables: int32 [R, blocks]: where the blocks of each run's sequence stand in the cache.
    """
    widest()
    D = attended.shape[1] // layer.keys.shape[1]
    scale = _1 / np.sqrt(np.float32(D))
    limit = np.float32(min(2**15 - 1, (2**31 - 1) // (127 * D) - 1))  # a sum of D products must stay below 2**31
    R = runs.shape[0]
    for r in range(R):
        row, count, position = runs[r, 0], runs[r, 1], runs[r, 2]
        table = tables[r]
        if count == 1:
            for head in range(first_head, last_head):
                _store(qkv, row, head, layer, table[position // BLOCK], position % BLOCK, D)
            for head in range(first_head, last_head, TILE):
                end = min(head + TILE, last_head)
                after = (
                    layer.keys[table[0], end]
                    if end < last_head
                    else layer.keys[tables[min(r + 1, R - 1), 0], first_head]
                )
                _attend_token(
                    qkv, attended, row, position, table, head, end, layer, scratch, D, scale, limit, after.ctypes.data
                )
            continue
        for head in range(first_head, last_head):
            if head + 1 < last_head:
                next_keys = layer.keys[table[0], head + 1]
            else:
                next_keys = layer.keys[tables[min(r + 1, R - 1), 0], first_head]
            for i in range(count):
                at = position + i
                _store(qkv, row + i, head, layer, table[at // BLOCK], at % BLOCK, D)
            for i in range(0, count, TILE):
                tile, at = min(TILE, count - i), position + i
                _attend_tile(qkv, attended, row + i, tile, at, table, head, layer, scratch, D, scale, limit, next_keys)

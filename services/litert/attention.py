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

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from services.litert.block import TILE, Scratch, fetch, mix, scores, softmax, store
from services.litert.cache import BLOCK, Floats, Layer
from services.litert.numbers import largest_of, round_to_int16, widest

_0, _1 = np.float32(0), np.float32(1)


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
        fetch(layer.keys[table[b + 1], head] if b + 1 < blocks else layer.values[table[0], head])
        scores(
            max(0, b * BLOCK - position),
            count,
            layer.keys[table[b], head],
            b,
            scratch,
            layer.keys[table[b], head].ctypes.data,
        )
    for i in range(count):
        softmax(i, position + i, table, head, layer, scratch)
    for b in range(blocks):
        fetch(layer.values[table[b + 1], head] if b + 1 < blocks else next_keys)
        mix(
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
            scores(i, i + 1, layer.keys[table[b], first_head + i], b, scratch, following)
    for i in range(heads):
        softmax(i, position, table, first_head + i, layer, scratch)
    for b in range(blocks):
        for i in range(heads):
            if i + 1 < heads:
                following = layer.values[table[b], first_head + i + 1].ctypes.data
            elif b + 1 < blocks:
                following = layer.values[table[b + 1], first_head].ctypes.data
            else:
                following = next_block
            mix(i, i + 1, position - i, layer.values[table[b], first_head + i], b, scratch, following)
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
                store(qkv, row, head, layer, table[position // BLOCK], position % BLOCK, D)
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
                store(qkv, row + i, head, layer, table[at // BLOCK], at % BLOCK, D)
            for i in range(0, count, TILE):
                tile, at = min(TILE, count - i), position + i
                _attend_tile(qkv, attended, row + i, tile, at, table, head, layer, scratch, D, scale, limit, next_keys)

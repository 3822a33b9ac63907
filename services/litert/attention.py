"""Attention over the paged cache, compiled by Numba.

In: q|k|v of a flat batch of tokens, where each token belongs (block table, position), the cache of one layer.
Out: the keys and values in the cache, and what each token attends to.

A token's result is computed by the same operations in the same order whatever else is in the batch, so it is the same
in every bit: scores over the head in order of channel, weights by whole blocks of 64 positions, the weighted sum in
order of position. Tokens of one sequence that stand one after another share the reading of a block (`_attend_tile`),
not a single operation of arithmetic. No fast-math, so the compiler changes no order either.

N tokens of the batch, H heads, D head size, C channels (H * D), P = 64 positions of a block, B blocks, R runs of
tokens, K tokens of a tile, S positions of all blocks of the longest sequence.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from services.litert.numbers import float_of_bits, fma, prefetch

BLOCK = 64  # positions of a block
TILE = 16  # tokens of one sequence that read a block together
ALONE = 2  # up to so many tokens read a block as it stands; more are worth turning it into float32 first

Floats = NDArray[np.float32]


class Layer(NamedTuple):
    """The cache of one layer, or of all with one more axis in front.

    Attributes:
        keys: int8 or float32 [B, H, D, P]: what a block's 64 scores need stands together.
        values: int8 or float32 [B, H, P, D].
        key_scales, value_scales: float32 [B, H, P]: the number that 1 stands for; 1 in float32.
    """

    keys: NDArray
    values: NDArray
    key_scales: Floats
    value_scales: Floats


class Scratch(NamedTuple):
    """Working memory of one thread, all float32.

    Attributes:
        scores: [K, S]: first scores, then the weights of the values.
        queries: [K, D].
        keys: [D, P], a block.
        values: [P, D], a block.
        mixed: [K, D], weighted sums.
        totals: [K], sums of the weights.
        lanes: [P].
    """

    scores: Floats
    queries: Floats
    keys: Floats
    values: Floats
    mixed: Floats
    totals: Floats
    lanes: Floats


def new_scratch(head_size: int, context: int) -> Scratch:
    """Working memory for sequences of up to `context` tokens."""
    S, D = -(-context // BLOCK) * BLOCK, head_size
    shapes = [(TILE, S), (TILE, D), (D, BLOCK), (BLOCK, D), (TILE, D), (TILE,), (BLOCK,)]
    return Scratch(*(np.zeros(shape, np.float32) for shape in shapes))


_0, _1, _127 = np.float32(0), np.float32(1), np.float32(127)
_MINUS_INFINITY = np.float32(-np.inf)
_SMALLEST = np.float32(-87)
_LOG2_E = np.float32(1.44269504088896)
_LN_2_HIGH = np.float32(0.693145751953125)  # few bits, so that a whole number times it is exact
_LN_2_LOW = np.float32(1.42860682030941723212e-6)
_ROUND = np.float32(1.5 * 2**23)  # adding and subtracting it rounds to the nearest whole number


@numba.njit(inline="always")
def _exp(x: Any) -> Any:
    """e**x for x at most 0, to 2 units in the last place; below -87 it stays at e**-87. Source: Cephes, expf."""
    x = max(x, _SMALLEST)
    n = (x * _LOG2_E + _ROUND) - _ROUND
    r = fma(n, -_LN_2_LOW, fma(n, -_LN_2_HIGH, x))
    p = np.float32(1.9875691500e-4)
    p = fma(p, r, np.float32(1.3981999507e-3))
    p = fma(p, r, np.float32(8.3334519073e-3))
    p = fma(p, r, np.float32(4.1665795894e-2))
    p = fma(p, r, np.float32(1.6666665459e-1))
    p = fma(p, r, np.float32(5.0000001201e-1))
    p = fma(p, r * r, r + _1)
    return p * float_of_bits((np.int32(n) + np.int32(127)) << np.int32(23))


@numba.njit(nogil=True)
def _store(qkv: Floats, row: int, head: int, layer: Layer, block: int, place: int) -> None:
    """Write key and value of one token and head. In int8 the largest number of each becomes 127."""
    keys, values = layer.keys[block, head], layer.values[block, head]  # [D, P], [P, D]
    D = keys.shape[0]
    C = layer.keys.shape[1] * D
    key, value = qkv[row, C + head * D : C + (head + 1) * D], qkv[row, 2 * C + head * D : 2 * C + (head + 1) * D]
    if keys.itemsize == 4:
        layer.key_scales[block, head, place] = _1
        layer.value_scales[block, head, place] = _1
        for d in range(D):
            keys[d, place] = key[d]
            values[place, d] = value[d]
        return
    key_largest, value_largest = _0, _0
    for d in range(D):
        key_largest = max(key_largest, abs(key[d]))
        value_largest = max(value_largest, abs(value[d]))
    layer.key_scales[block, head, place] = key_largest / _127
    layer.value_scales[block, head, place] = value_largest / _127
    key_inverse = _127 / key_largest if key_largest > _0 else _0
    value_inverse = _127 / value_largest if value_largest > _0 else _0
    for d in range(D):
        keys[d, place] = (key[d] * key_inverse + _ROUND) - _ROUND
        values[place, d] = (value[d] * value_inverse + _ROUND) - _ROUND


@numba.njit(nogil=True)
def _scores(q: Floats, k: NDArray, s: Floats) -> None:
    """s[p] = sum over d of q[d] * k[d, p]; k holds int8 numbers, or the same as float32. [D], [D, P] -> [P]"""
    D = q.shape[0]
    for p in range(BLOCK):
        s[p] = _0
    d = 0
    while d + 8 <= D:
        q0, q1, q2, q3, q4, q5, q6, q7 = q[d], q[d + 1], q[d + 2], q[d + 3], q[d + 4], q[d + 5], q[d + 6], q[d + 7]
        k0, k1, k2, k3, k4, k5, k6, k7 = k[d], k[d + 1], k[d + 2], k[d + 3], k[d + 4], k[d + 5], k[d + 6], k[d + 7]
        for p in range(BLOCK):
            a = fma(q0, np.float32(k0[p]), s[p])
            a = fma(q1, np.float32(k1[p]), a)
            a = fma(q2, np.float32(k2[p]), a)
            a = fma(q3, np.float32(k3[p]), a)
            a = fma(q4, np.float32(k4[p]), a)
            a = fma(q5, np.float32(k5[p]), a)
            a = fma(q6, np.float32(k6[p]), a)
            s[p] = fma(q7, np.float32(k7[p]), a)
        d += 8
    while d < D:
        q0, k0 = q[d], k[d]
        for p in range(BLOCK):
            s[p] = fma(q0, np.float32(k0[p]), s[p])
        d += 1


@numba.njit(nogil=True)
def _weigh(w: Floats, v: NDArray, out: Floats) -> None:
    """out[d] += sum over p of w[p] * v[p, d]; v as k in _scores. [P], [P, D] -> [D]"""
    for p in range(0, BLOCK, 8):
        w0, w1, w2, w3, w4, w5, w6, w7 = w[p], w[p + 1], w[p + 2], w[p + 3], w[p + 4], w[p + 5], w[p + 6], w[p + 7]
        v0, v1, v2, v3, v4, v5, v6, v7 = v[p], v[p + 1], v[p + 2], v[p + 3], v[p + 4], v[p + 5], v[p + 6], v[p + 7]
        for d in range(out.shape[0]):
            a = fma(w0, np.float32(v0[d]), out[d])
            a = fma(w1, np.float32(v1[d]), a)
            a = fma(w2, np.float32(v2[d]), a)
            a = fma(w3, np.float32(v3[d]), a)
            a = fma(w4, np.float32(v4[d]), a)
            a = fma(w5, np.float32(v5[d]), a)
            a = fma(w6, np.float32(v6[d]), a)
            out[d] = fma(w7, np.float32(v7[d]), a)


@numba.njit(nogil=True)
def _as_float(values: NDArray, floats: Floats) -> None:
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            floats[i, j] = np.float32(values[i, j])


@numba.njit(nogil=True)
def _fetch(values: NDArray) -> None:
    """Ask for a block of one head while another is computed: it is a memory page, which no processor reads ahead."""
    address = values.ctypes.data
    for begin in range(0, values.size * values.itemsize, 64):
        prefetch(address + np.uintp(begin))


@numba.njit(nogil=True)
def _softmax(s: Floats, position: int, table: NDArray[np.int32], head: int, layer: Layer, lanes: Floats) -> Any:
    """Scores of one token to the weights of its values, not yet divided by their sum, which is returned.

    What stands in places after `position` may be anything and counts as nothing.
    """
    blocks = position // BLOCK + 1
    for p in range(BLOCK):
        lanes[p] = _MINUS_INFINITY
    for b in range(blocks):
        scale = layer.key_scales[table[b], head]
        part = s[b * BLOCK : (b + 1) * BLOCK]
        left = position + 1 - b * BLOCK
        for p in range(BLOCK):
            part[p] = part[p] * scale[p] if p < left else _MINUS_INFINITY
            lanes[p] = max(lanes[p], part[p])
    largest = lanes[0]
    for p in range(1, BLOCK):
        largest = max(largest, lanes[p])
    for p in range(BLOCK):
        lanes[p] = _0
    for b in range(blocks):
        scale = layer.value_scales[table[b], head]
        part = s[b * BLOCK : (b + 1) * BLOCK]
        left = position + 1 - b * BLOCK
        for p in range(BLOCK):
            w = _exp(part[p] - largest)
            lanes[p] += w if p < left else _0
            part[p] = w * scale[p] if p < left else _0
    total = _0
    for p in range(BLOCK):
        total += lanes[p]
    return total


@numba.njit(nogil=True)
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
) -> None:
    """Attend for `count` tokens of one sequence that stand one after another, the first at `position`."""
    D = layer.keys.shape[2]
    scale = _1 / np.sqrt(np.float32(D))
    for i in range(count):
        for d in range(D):
            scratch.queries[i, d] = qkv[row + i, head * D + d] * scale
            scratch.mixed[i, d] = _0
    blocks = (position + count - 1) // BLOCK + 1
    for b in range(blocks):
        keys = layer.keys[table[b], head]
        _fetch(layer.keys[table[b + 1], head] if b + 1 < blocks else layer.values[table[0], head])
        first = max(0, b * BLOCK - position)  # tokens before it see nothing of this block
        if count > ALONE:
            _as_float(keys, scratch.keys)
        for i in range(first, count):
            s = scratch.scores[i, b * BLOCK : (b + 1) * BLOCK]
            if count > ALONE:
                _scores(scratch.queries[i], scratch.keys, s)
            else:
                _scores(scratch.queries[i], keys, s)
    for i in range(count):
        scratch.totals[i] = _softmax(scratch.scores[i], position + i, table, head, layer, scratch.lanes)
    for b in range(blocks):
        values = layer.values[table[b], head]
        if b + 1 < blocks:
            _fetch(layer.values[table[b + 1], head])
        first = max(0, b * BLOCK - position)
        if count > ALONE:
            _as_float(values, scratch.values)
        for i in range(first, count):
            w = scratch.scores[i, b * BLOCK : (b + 1) * BLOCK]
            if count > ALONE:
                _weigh(w, scratch.values, scratch.mixed[i])
            else:
                _weigh(w, values, scratch.mixed[i])
    for i in range(count):
        inverse = _1 / scratch.totals[i]
        for d in range(D):
            attended[row + i, head * D + d] = scratch.mixed[i, d] * inverse


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
    for r in range(runs.shape[0]):
        row, count, position = runs[r, 0], runs[r, 1], runs[r, 2]
        table = tables[r]
        for head in range(first_head, last_head):
            for i in range(count):
                at = position + i
                _store(qkv, row + i, head, layer, table[at // BLOCK], at % BLOCK)
            for i in range(0, count, TILE):
                tile = min(TILE, count - i)
                _attend_tile(qkv, attended, row + i, tile, position + i, table, head, layer, scratch)

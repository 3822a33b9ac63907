"""The product of a batch's rows with a matrix of weights, and what is done with it on the way out.

In: codes of rows with their scales and zeros, a matrix (weights.py). Out: float32, written over or added to. Columns
are taken 32 at a time, a panel of weights, and rows 32 at a time. On AMX the sums of a block of both are finished while
the tiles multiply the next one: other parts of the processor do that, and of a prompt it is as much work.

N rows, F features, K channels rounded up to 64.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from services.litert.crew import take
from services.litert.numbers import fma, pointer, prefetch, widest
from services.litert.rows import gelu
from services.litert.tiles import (
    AHEAD,
    AMX,
    GROUP,
    PANEL,
    clear_tiles,
    configure,
    multiply_16,
    multiply_32,
    num_panels,
    store_16,
    store_32,
    with_tiles,
)
from services.litert.tiles import CHANNELS as TILE_CHANNELS
from services.litert.vectors import on_vectors
from services.litert.weights import BIAS, CHANNELS, FEATURE_SCALES, FEATURE_SUMS, FEATURES, WEIGHTS

STORE, GELU, ADD = range(3)  # what is done with a product

# What a block is that is not finished: how many rows and columns; where its sums, its first number of the result and
# the bytes to the next row; where the scales and zeros of its rows and its columns' scales, sums and biases; what is
# done with it.
_COUNT, _WIDTH, _SUMS, _OUT, _STEP, _SCALES, _ZEROS, _FEATURE_SCALES, _FEATURE_SUMS, _BIAS, _THEN = range(11)
BLOCK = 11
_LINE = 64  # bytes that come from memory together
_FEW = 8  # panels that a thread takes at once where they are read from memory: taking waits for what is under way
SCRATCH = 2 * GROUP * PANEL * 4 + 64 + BLOCK * 8  # bytes: sums of two blocks, the tiles' shape, a block


@numba.njit(nogil=True, error_model="numpy")  # without the branch for a division by zero
def _finish_row(block: NDArray[np.int64], i: int) -> None:
    """Make of whole sums what they stand for, in row `i` of a block."""
    widest()
    scale = pointer(block[_SCALES], np.float32)[i]
    zero = pointer(block[_ZEROS], np.int32)[i]
    if block[_WIDTH] == PANEL:  # a number that the compiler knows
        _finish_columns(block, i, PANEL, scale, zero)
    else:
        _finish_columns(block, i, block[_WIDTH], scale, zero)


@numba.njit(nogil=True, error_model="numpy", inline="always")
def _finish_columns(block: NDArray[np.int64], i: int, width: int, scale: Any, zero: Any) -> None:
    sums = numba.carray(pointer(block[_SUMS] + i * 4 * PANEL, np.int32), (width,))
    y = numba.carray(pointer(block[_OUT] + i * block[_STEP], np.float32), (width,))
    feature_scales = numba.carray(pointer(block[_FEATURE_SCALES], np.float32), (width,))
    feature_sums = numba.carray(pointer(block[_FEATURE_SUMS], np.int32), (width,))
    bias = numba.carray(pointer(block[_BIAS], np.float32), (width,))
    if block[_THEN] == STORE:
        for c in range(width):
            y[c] = fma(np.float32(sums[c] - zero * feature_sums[c]), scale * feature_scales[c], bias[c])
    elif block[_THEN] == GELU:
        for c in range(width):
            y[c] = gelu(fma(np.float32(sums[c] - zero * feature_sums[c]), scale * feature_scales[c], bias[c]))
    else:
        for c in range(width):
            y[c] += fma(np.float32(sums[c] - zero * feature_sums[c]), scale * feature_scales[c], bias[c])


@numba.njit(nogil=True)
def _on_tiles(
    codes: int,
    K: int,
    rows: int,
    panel: int,
    ahead: int,
    fetch: int,
    lines: int,
    sums: int,
    block: NDArray[np.int64],
) -> int:
    """Sums of products on AMX, see `multiply_block`; return how many rows of the block are finished."""
    with_tiles()
    tiles = K // TILE_CHANNELS
    finished, due = 0, 0
    clear_tiles()
    for tile in range(tiles):
        if rows > 16:
            multiply_32(codes, K, panel, tile, tiles, ahead)
        else:
            multiply_16(codes, K, panel, tile, tiles, ahead)
        for _ in range(lines):
            prefetch(fetch)
            fetch += _LINE
        due += block[_COUNT]
        while due >= tiles:
            due -= tiles
            _finish_row(block, finished)
            finished += 1
    if rows > 16:
        store_32(sums)
    else:
        store_16(sums)
    return finished


@numba.njit(nogil=True)
def multiply_block(
    instructions: int,
    codes: int,
    K: int,
    rows: int,
    panel: int,
    ahead: int,
    fetch: int,
    lines: int,
    sums: int,
    block: NDArray[np.int64],
) -> None:
    """Sums of products of up to GROUP rows with a panel; the block before is finished. Memory is given by its address.

    Args:
        codes: uint8 [rows, K]; with AMX what follows, up to 16 or 32 rows, is read as well.
        panel: int8 [2, K/64, 16, 16, 4], see tiles.pack.
        ahead: bytes of each half of the panel that are asked for before they are used; 0 where they are near.
        fetch, lines: what else is asked for, with AMX: so many times 64 bytes per 64 channels.
        sums: int32 [GROUP, PANEL], written; not those of the block before.
        block: int64 [BLOCK], the one before; of no rows if there is none.
    """
    finished = 0
    if instructions == AMX:
        finished = _on_tiles(codes, K, rows, panel, ahead, fetch, lines, sums, block)
    else:
        on_vectors(codes, K, rows, panel, ahead, sums)
    for i in range(finished, block[_COUNT]):
        _finish_row(block, i)


@numba.njit(nogil=True)
def multiply(
    instructions: int,
    thread: int,
    threads: int,
    matrix: NDArray[np.int64],
    codes: int,
    scales: int,
    zeros: int,
    N: int,
    then: int,
    target: int,
    scratch: int,
    turns: int,
) -> None:
    """This thread's columns of the product of N rows with a matrix. All memory is given by its address.

    Args:
        matrix: int64 [weights.MATRIX].
        codes, scales, zeros: uint8 [N, K], float32 [N], int32 [N], see rows.round_to_bytes.
        then: STORE or ADD, or GELU, which is taken before it is stored.
        target: float32 [N, F].
        scratch: SCRATCH bytes of this thread's own.
        turns: see crew.take.
    """
    K, F = matrix[CHANNELS], matrix[FEATURES]
    panels, groups = num_panels(F), -(-N // GROUP)
    # A panel takes longer to read than to multiply with a group; of many groups each asks for a part of the next panel.
    lines = 0 if groups == 1 else -(-PANEL * TILE_CHANNELS // (groups * _LINE))
    one, other = scratch, scratch + GROUP * PANEL * 4
    block = numba.carray(pointer(other + GROUP * PANEL * 4 + 64, np.int64), (BLOCK,))
    block[_COUNT], block[_STEP], block[_THEN] = 0, 4 * F, then
    if instructions == AMX:
        configure(numba.carray(pointer(other + GROUP * PANEL * 4, np.uint8), (64,)), N)
    most = _FEW if groups == 1 else 1
    for offset in range(threads):
        owner = (thread + offset) % threads
        taken, end = take(turns, owner, panels, threads, most)
        while taken < end:
            for panel in range(taken, end):
                first = panel * PANEL
                place = matrix[WEIGHTS] + first * K
                fetch = place + PANEL * K
                for row in range(0, N, GROUP):
                    count = min(GROUP, N - row)
                    ahead = AHEAD if row == 0 else 0
                    multiply_block(instructions, codes + row * K, K, count, place, ahead, fetch, lines, one, block)
                    fetch += lines * _LINE * (K // TILE_CHANNELS)
                    block[_COUNT], block[_WIDTH] = count, min(PANEL, F - first)
                    block[_SUMS], block[_OUT] = one, target + 4 * (row * F + first)
                    block[_SCALES], block[_ZEROS] = scales + 4 * row, zeros + 4 * row
                    block[_FEATURE_SCALES] = matrix[FEATURE_SCALES] + 4 * first
                    block[_FEATURE_SUMS] = matrix[FEATURE_SUMS] + 4 * first
                    block[_BIAS] = matrix[BIAS] + 4 * first
                    one, other = other, one
            taken, end = take(turns, owner, panels, threads, most)
    for i in range(block[_COUNT]):
        _finish_row(block, i)

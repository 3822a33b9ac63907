"""Products of bytes on vectors (AVX-512 VNNI), which multiply one row by 16 columns, 4 channels at once.

In: rows of unsigned bytes, a panel of signed ones (tiles.py). Out: sums of their products, int32, the same as tiles
give. Source: Intel, Intrinsics Guide, VPDPBUSD.

K channels, rounded up to 64.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from services.litert.numbers import call, widest
from services.litert.tiles import CHANNELS, PANEL, TILE, ahead_of, fetch, number

MOST_ROWS = 9  # of a pass: a draft of 8 ids and the one before; their sums take 18 of the 32 vectors


_VECTOR = ir.VectorType(ir.IntType(32), 16)


@intrinsic
def _pass(typing: Any, rows: Any, codes: Any, step: Any, weights: Any, tiles: Any, ahead: Any, sums: Any) -> Any:
    """The product of 1 to MOST_ROWS rows with a panel, see on_vectors: of each number of rows code of its own."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, *others = arguments
        for count in range(1, MOST_ROWS + 1):
            with builder.if_then(builder.icmp_signed("==", rows, number(count))):
                _products(builder, count, *others)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 7), generate


def _products(builder: Any, rows: int, codes: Any, step: Any, weights: Any, tiles: Any, ahead: Any, sums: Any) -> None:
    """Write: the product of that many rows with a panel."""

    def at(address: Any, offset: Any, kind: Any) -> Any:
        return builder.inttoptr(builder.add(address, offset), ir.PointerType(kind))

    totals = [[cgutils.alloca_once(builder, _VECTOR) for _ in range(2)] for _ in range(rows)]
    for halves in totals:
        for total in halves:
            builder.store(ir.Constant(_VECTOR, [0] * 16), total)
    with cgutils.for_range(builder, tiles) as tile:
        across = builder.mul(tile.index, number(CHANNELS))
        down = builder.add(weights, builder.mul(tile.index, number(TILE)))
        halves = [down, builder.add(down, builder.mul(tiles, number(TILE)))]
        places = ahead_of(builder, halves, tile.index, tiles, ahead)
        with cgutils.for_range(builder, number(16)) as four:  # channels
            line = builder.mul(four.index, number(64))
            fetch(builder, places, ahead, [line])  # many at once would hold up the products
            columns = [builder.load(at(half, line, _VECTOR), align=64) for half in halves]
            begin = builder.add(across, builder.mul(four.index, number(4)))
            for row in range(rows):
                place = at(codes, builder.add(begin, builder.mul(step, number(row))), ir.IntType(32))
                nothing = ir.Constant(_VECTOR, ir.Undefined)
                one = builder.insert_element(nothing, builder.load(place, align=4), number(0, 32))
                same = builder.shuffle_vector(one, nothing, ir.Constant(_VECTOR, [0] * 16))
                for total, column in zip(totals[row], columns, strict=True):
                    values = [builder.load(total), same, column]
                    builder.store(call(builder, "llvm.x86.avx512.vpdpbusd.512", values, _VECTOR), total)
    for row in range(rows):
        for half in range(2):
            place = at(sums, number(row * 4 * PANEL + half * 64), _VECTOR)
            builder.store(builder.load(totals[row][half]), place, align=4)


@numba.njit(nogil=True)
def on_vectors(codes: int, K: int, rows: int, panel: int, ahead: int, sums: int) -> None:
    """Sums of products of some rows with a panel on VNNI, see product.py.

    A panel takes longer to come from memory than up to 9 rows take to compute, so it is read once for them.
    """
    widest()
    tiles = K // CHANNELS
    row, passes = 0, -(-rows // MOST_ROWS)
    while passes:
        count = -(-(rows - row) // passes)  # about as many in each
        _pass(count, codes + row * K, K, panel, tiles, ahead, sums + row * 4 * PANEL)
        row, passes, ahead = row + count, passes - 1, 0

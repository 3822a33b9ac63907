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


def _vector_products(rows: int) -> Any:
    """Make the product of that many rows with a panel on VNNI, see on_vectors."""
    vector = ir.VectorType(ir.IntType(32), 16)

    @intrinsic
    def multiply(typing: Any, codes: Any, step: Any, weights: Any, tiles: Any, ahead: Any, sums: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            codes, step, weights, tiles, ahead, sums = arguments

            def at(address: Any, offset: Any, kind: Any) -> Any:
                return builder.inttoptr(builder.add(address, offset), ir.PointerType(kind))

            totals = [[cgutils.alloca_once(builder, vector) for _ in range(2)] for _ in range(rows)]
            for places in totals:
                for place in places:
                    builder.store(ir.Constant(vector, [0] * 16), place)
            with cgutils.for_range(builder, tiles) as tile:
                across = builder.mul(tile.index, number(CHANNELS))
                down = builder.add(weights, builder.mul(tile.index, number(TILE)))
                halves = [down, builder.add(down, builder.mul(tiles, number(TILE)))]
                places = ahead_of(builder, halves, tile.index, tiles, ahead)
                with cgutils.for_range(builder, number(16)) as four:  # channels
                    line = builder.mul(four.index, number(64))
                    fetch(builder, places, ahead, [line])  # many at once would hold up the products
                    columns = [builder.load(at(half, line, vector), align=64) for half in halves]
                    begin = builder.add(across, builder.mul(four.index, number(4)))
                    for row in range(rows):
                        place = at(codes, builder.add(begin, builder.mul(step, number(row))), ir.IntType(32))
                        nothing = ir.Constant(vector, ir.Undefined)
                        one = builder.insert_element(nothing, builder.load(place, align=4), number(0, 32))
                        same = builder.shuffle_vector(one, nothing, ir.Constant(vector, [0] * 16))
                        for total, column in zip(totals[row], columns, strict=True):
                            values = [builder.load(total), same, column]
                            builder.store(call(builder, "llvm.x86.avx512.vpdpbusd.512", values, vector), total)
            for row in range(rows):
                for half in range(2):
                    place = at(sums, number(row * 4 * PANEL + half * 64), vector)
                    builder.store(builder.load(totals[row][half]), place, align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), generate

    return multiply


_vectors_1, _vectors_2, _vectors_3 = (_vector_products(rows) for rows in (1, 2, 3))
_vectors_4, _vectors_5, _vectors_6 = (_vector_products(rows) for rows in (4, 5, 6))
_vectors_7, _vectors_8, _vectors_9 = (_vector_products(rows) for rows in (7, 8, 9))


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
        x, y = codes + row * K, sums + row * 4 * PANEL
        if count == 1:
            _vectors_1(x, K, panel, tiles, ahead, y)
        elif count == 2:
            _vectors_2(x, K, panel, tiles, ahead, y)
        elif count == 3:
            _vectors_3(x, K, panel, tiles, ahead, y)
        elif count == 4:
            _vectors_4(x, K, panel, tiles, ahead, y)
        elif count == 5:
            _vectors_5(x, K, panel, tiles, ahead, y)
        elif count == 6:
            _vectors_6(x, K, panel, tiles, ahead, y)
        elif count == 7:
            _vectors_7(x, K, panel, tiles, ahead, y)
        elif count == 8:
            _vectors_8(x, K, panel, tiles, ahead, y)
        else:
            _vectors_9(x, K, panel, tiles, ahead, y)
        row, passes, ahead = row + count, passes - 1, 0

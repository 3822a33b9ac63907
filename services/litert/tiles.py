"""Products of bytes: the processor's instructions for them, and the order in which they want the weights.

In: rows of unsigned bytes, a panel of signed ones. Out: sums of their products, int32, which are exact: whatever
instruction computes them, and in whatever company, a row's sums are the same.
Knows no layers, scales or threads.

`amx` multiplies tiles of 16 rows by 16 columns, 64 channels at once (Intel, from Sapphire Rapids on), here; `vnni` one
row by 16 columns, 4 channels at once (AVX-512 VNNI: Intel from Ice Lake, AMD from Zen 4 on), in vectors.py. Source:
Intel, Intrinsics Guide, TDPBUSD.

F features (a matrix's rows as stored, the product's columns), K channels, rounded up to 64.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import codegen, config
from numba.extending import intrinsic, register_jitable
from numpy.typing import NDArray

from services.litert.numbers import call, call_prefetch, prefetch

PANEL = 32  # features whose weights stand together
GROUP = 32  # rows that are computed together
CHANNELS = 64  # of a tile; K is a multiple
# Bytes of each half of a panel that are asked for before they are used; 3072 is slower, and so is 8192.
AHEAD = 6144
TILE = 1024  # bytes

AMX, VNNI = 1, 2  # what a product is computed with
NAMES = {0: "litert", AMX: "amx", VNNI: "vnni"}

_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18  # linux/arch/x86/include/uapi/asm/prctl.h


def find_instructions() -> int:
    """Return AMX or VNNI, the better that this processor and system have, or 0.

    What Numba is told to compile for counts, so that its settings can take instructions away.
    """
    features = set((config.CPU_FEATURES or codegen.get_host_cpu_features()).split(","))
    if config.CPU_FEATURES == "" or platform.machine() != "x86_64" or "+avx512vnni" not in features:
        return 0
    return AMX if "+amx-int8" in features and platform.system() == "Linux" and _may_use_tiles() else VNNI


def _may_use_tiles() -> bool:
    """Ask Linux for the tiles, for all threads of this process; it gives them to those who ask only."""
    return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0)


@register_jitable
def padded(channels: int) -> int:
    """K of a number of channels."""
    return -(-channels // CHANNELS) * CHANNELS


@register_jitable
def num_panels(features: int) -> int:
    """How many panels hold that many features."""
    return -(-features // PANEL)


@numba.njit(nogil=True, cache=True)
def pack(matrix: NDArray[np.int8], panels: NDArray[np.int8], sums: NDArray[np.int32]) -> None:
    """Put weights into the order in which they are read.

    Args:
        matrix: int8 [F, C].
        panels: int8 [panels, 2, K/64, 16, 16, 4], zeros, written: of each half of a panel's features one tile after
            another, in which 4 channels of each of 16 features stand together.
        sums: int32 [panels * PANEL], zeros, written: of each feature's weights.
    """
    F, C = matrix.shape
    for f in range(F):
        panel, half, column = panels[f // PANEL], (f % PANEL) // 16, f % 16
        total = np.int32(0)
        for c in range(C):
            weight = matrix[f, c]
            panel[half, c // 64, c % 64 // 4, column, c % 4] = weight
            total += np.int32(weight)
        sums[f] = total


def number(value: int, bits: int = 64) -> Any:
    """A whole number, for code that is written here."""
    return ir.Constant(ir.IntType(bits), value)


def ahead_of(builder: Any, halves: Sequence[Any], tile: Any, tiles: Any, ahead: Any) -> list[Any]:
    """Write: where that is read which comes `ahead` bytes after these tiles, number `tile` of each half.

    After the last tile of a half comes the first one of the same half of the next panel.
    """
    distance = builder.mul(builder.sub(tiles, tile), number(TILE))
    beyond = builder.icmp_signed(">=", ahead, distance)
    skipped = builder.select(beyond, builder.mul(tiles, number(TILE)), number(0))
    distance = builder.add(ahead, skipped)
    return [builder.add(half, distance) for half in halves]


def fetch(builder: Any, places: Sequence[Any], ahead: Any, lines: Sequence[Any]) -> None:
    """Write: ask for these lines of each place, unless `ahead` is 0."""
    with builder.if_then(builder.icmp_signed("!=", ahead, number(0))):
        for place in places:
            for line in lines:
                call_prefetch(builder, builder.add(place, line))


def _do(builder: Any, name: str, *numbers: int, at: tuple[Any, ...] = ()) -> None:
    """Write a tile instruction: the tiles' numbers, and the address and step of what it loads or stores."""
    place = [builder.inttoptr(at[0], ir.PointerType(ir.IntType(8))), at[1]] if at else []
    call(builder, f"llvm.x86.{name}", [*(number(value, 8) for value in numbers), *place])


@intrinsic
def clear_tiles(typing: Any) -> Any:
    """Begin a product of up to 32 rows with a panel: 0 in tiles 0 to 3, which hold its sums.

    The rows are loaded to 4 and 5, the panel's columns to 6 and 7.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        for tile in range(4):
            _do(builder, "tilezero", tile)
        return context.get_dummy_value()

    return types.void(), generate


def _tile_products(row_tiles: int) -> Any:
    """Make what adds the products of 64 channels of 16 or 32 rows with a panel on AMX, see product.py."""

    @intrinsic
    def multiply(typing: Any, codes: Any, step: Any, weights: Any, tile: Any, tiles: Any, ahead: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            codes, step, weights, tile, tiles, ahead = arguments
            across = builder.add(codes, builder.mul(tile, number(CHANNELS)))
            down = builder.add(weights, builder.mul(tile, number(TILE)))
            columns = [down, builder.add(down, builder.mul(tiles, number(TILE)))]
            for row in range(row_tiles):
                begin = builder.add(across, builder.mul(step, number(16 * row)))
                _do(builder, "tileloadd64", 4 + row, at=(begin, step))
            lines = [number(line) for line in range(0, TILE, 64)]
            fetch(builder, ahead_of(builder, columns, tile, tiles, ahead), ahead, lines)
            for column, begin in enumerate(columns):
                _do(builder, "tileloadd64", 6 + column, at=(begin, number(64)))
            for row in range(row_tiles):
                for column in range(2):
                    _do(builder, "tdpbusd", 2 * row + column, 4 + row, 6 + column)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), generate

    return multiply


def _tile_stores(row_tiles: int) -> Any:
    """Make what writes the sums of 16 or 32 rows, int32 [GROUP, PANEL]."""

    @intrinsic
    def store(typing: Any, sums: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            for row in range(row_tiles):
                for column in range(2):
                    begin = builder.add(arguments[0], number(row * 16 * 4 * PANEL + column * 64))
                    _do(builder, "tilestored64", 2 * row + column, at=(begin, number(4 * PANEL)))
            return context.get_dummy_value()

        return types.void(types.intp), generate

    return store


multiply_16, multiply_32 = _tile_products(1), _tile_products(2)
store_16, store_32 = _tile_stores(1), _tile_stores(2)


@intrinsic
def with_tiles(typing: Any) -> Any:
    """Let the function that says so use AMX, which it is compiled for also where the processor has none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"target-features"="+avx512vnni,+amx-int8,+amx-tile"')
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _load_configuration(typing: Any, address: Any) -> Any:
    """Shape this thread's tiles as the 64 bytes at an address say."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        call(builder, "llvm.x86.ldtilecfg", [builder.inttoptr(arguments[0], ir.PointerType(ir.IntType(8)))])
        return context.get_dummy_value()

    return types.void(types.intp), generate


@intrinsic
def _release(typing: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        call(builder, "llvm.x86.tilerelease", [])
        return context.get_dummy_value()

    return types.void(), generate


@numba.njit(nogil=True)
def release() -> None:
    """Let this thread's tiles go, so that the system need not keep them for it."""
    with_tiles()
    _release()


@numba.njit(nogil=True)
def configure(tiles: NDArray[np.uint8], rows: int) -> None:
    """Shape this thread's tiles for that many rows: few rows cost less. `tiles` is uint8 [64], written."""
    with_tiles()
    for i in range(64):
        tiles[i] = 0
    tiles[0] = 1  # the palette
    for tile in range(8):
        tiles[16 + 2 * tile] = 64  # bytes of a row, the lower of two
        tiles[48 + tile] = 16  # rows
    for tile in (0, 1, 4):
        tiles[48 + tile] = min(rows, 16)
    _load_configuration(tiles.ctypes.data)


@numba.njit(nogil=True)
def expect(panel: int, K: int) -> None:
    """Ask for the begin of both halves of a panel, at that address, before its turn comes."""
    for half in range(2):
        begin = panel + half * K * 16
        for line in range(0, min(AHEAD, K * 16), 64):
            prefetch(begin + line)

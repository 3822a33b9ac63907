"""What Numba has no name for: fused multiply-add, products of pairs, bits of a float, fetching memory ahead; and what
follows from them for rows of numbers: powers of e, the largest, rounding.

Each is written in LLVM's terms, so it runs on every processor that LLVM knows, and uses the instruction made for it
where there is one. Without fast-math, compiled code does exactly the operations that stand in the source: one result,
however the loop around it is cut into vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

TINY = np.float32(1e-30)  # below it numbers count as zeros: 127 divided by them might be none
_SMALLEST = np.float32(-87)
_LOG2_E = np.float32(1.44269504088896)
_LN_2_HIGH = np.float32(0.693145751953125)  # few bits, so that a whole number times it is exact
_LN_2_LOW = np.float32(1.42860682030941723212e-6)
ROUND = np.float32(1.5 * 2**23)  # adding and subtracting it rounds to the nearest whole number
VOID = ir.VoidType()
_0, _1 = np.float32(0), np.float32(1)


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """`a * b + c` of float32 numbers, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), generate


@intrinsic
def float_of_bits(typing: Any, bits: Any) -> Any:
    """The float32 that the 32 bits of an int32 stand for."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def pointer(typing: Any, address: Any, dtype: Any) -> Any:
    """The pointer to numbers of a NumPy type that stand at an address."""
    kind = types.CPointer(dtype.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(kind))

    return kind(types.int64, dtype), generate


def call(builder: Any, name: str, values: Sequence[Any], result: Any = VOID) -> Any:
    """Write the call of one of LLVM's own functions."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [value.type for value in values]), name)
    return builder.call(function, values)


def call_prefetch(builder: Any, address: Any, level: int = 1) -> None:
    """Write: begin to fetch the 64 bytes at an address, an int64, into the cache of a level; 1 is nearest."""
    read, keep, data = (ir.Constant(ir.IntType(32), value) for value in (0, 4 - level, 1))
    place = builder.inttoptr(address, ir.PointerType(ir.IntType(8)))
    call(builder, "llvm.prefetch.p0i8", [place, read, keep, data])


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """Begin to fetch the 64 bytes at an address into the cache that is nearest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        call_prefetch(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(types.uintp), generate


@intrinsic
def cycles(typing: Any) -> Any:
    """The processor's clock, in ticks of a fixed length."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return call(builder, "llvm.readcyclecounter", [], ir.IntType(64))

    return types.int64(), generate


@intrinsic
def pause(typing: Any) -> Any:
    """Tell the processor that this thread only waits; for x86."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        call(builder, "llvm.x86.sse2.pause", [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def atomic_add(typing: Any, address: Any, value: Any) -> Any:
    """Add to the int64 at an address so that no other thread's addition is lost; others see what was written before.

    Returns what stood there.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, value = arguments
        return builder.atomic_rmw("add", builder.inttoptr(address, ir.PointerType(ir.IntType(64))), value, "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def atomic_load(typing: Any, address: Any) -> Any:
    """The int64 at an address as it is now; what other threads wrote before they added to it is seen afterwards."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.PointerType(ir.IntType(64)))
        return builder.load_atomic(place, "seq_cst", 8)

    return types.int64(types.int64), generate


@intrinsic
def bits_of_float(typing: Any, number: Any) -> Any:
    """The 32 bits of a float32, as an int32. Of numbers at least 0 the larger has the larger bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


def _dots(rows: int, vectors: int) -> Any:
    """Make the integer matrix product of `rows` rows and 16 * `vectors` columns, see `dots_1_64`."""

    @intrinsic
    def dots(
        typing: Any,
        left: Any,
        left_step: Any,
        right: Any,
        right_step: Any,
        pairs: Any,
        out: Any,
        out_step: Any,
        following: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            left, left_step, right, right_step, pairs, out, out_step, following = arguments
            i8, i16, i32 = (ir.IntType(bits) for bits in (8, 16, 32))
            sums_type, halves, bytes_ = ir.VectorType(i32, 16), ir.VectorType(i16, 32), ir.VectorType(i8, 32)
            wide = ir.VectorType(i32, 32)
            number = left.type

            def at(base: Any, step: Any, index: Any, kind: Any) -> Any:
                address = builder.add(base, builder.mul(step, index))
                return builder.inttoptr(address, ir.PointerType(kind))

            def fixed(value: int) -> Any:
                return ir.Constant(number, value)

            def shuffled(vector: Any, lanes: list[int]) -> Any:
                mask = ir.Constant(ir.VectorType(i32, len(lanes)), lanes)
                return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)

            sums = [[cgutils.alloca_once(builder, sums_type) for _ in range(vectors)] for _ in range(rows)]
            for places in sums:
                for place in places:
                    builder.store(ir.Constant(sums_type, [0] * 16), place)
            with cgutils.for_range(builder, pairs) as loop:
                columns = []
                offset = builder.mul(right_step, loop.index)
                base = builder.add(right, offset)
                if rows == 1:
                    for line in range(0, 32 * vectors, 64):
                        call_prefetch(builder, builder.add(builder.add(following, offset), fixed(line)), 2)
                for vector in range(vectors):
                    values = builder.load(at(base, fixed(32), fixed(vector), bytes_), align=1)
                    columns.append(builder.sext(builder.sext(values, halves), wide))
                for row in range(rows):
                    row_base = builder.add(left, builder.mul(left_step, fixed(row)))
                    pair = builder.load(at(row_base, fixed(4), loop.index, i32), align=4)
                    first = builder.insert_element(ir.Constant(sums_type, ir.Undefined), pair, ir.Constant(i32, 0))
                    weights = builder.sext(builder.bitcast(shuffled(first, [0] * 16), halves), wide)
                    for vector in range(vectors):
                        products = builder.mul(columns[vector], weights)
                        even, odd = shuffled(products, list(range(0, 32, 2))), shuffled(products, list(range(1, 32, 2)))
                        place = sums[row][vector]
                        builder.store(builder.add(builder.load(place), builder.add(even, odd)), place)
            for row in range(rows):
                row_base = builder.add(out, builder.mul(out_step, fixed(row)))
                for vector in range(vectors):
                    target = at(row_base, fixed(64), fixed(vector), sums_type)
                    builder.store(builder.load(sums[row][vector]), target, align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 8), generate

    return dots


# Products of pairs: out[r, c] = sum over i of left[r, 2 i] * right[i, c, 0] + left[r, 2 i + 1] * right[i, c, 1], with
# left int16, right int8, out int32: one instruction for 16 columns where the processor has it. `dots_4_64`: 4 rows, 64
# columns. Arguments: address of left and bytes from row to row, address of right and bytes from i to i + 1, number
# of i, address of out and bytes from row to row, address of what will be `right` next: with a single row, which takes
# less time than memory, it is asked for meanwhile.
dots_1_16, dots_1_64, dots_4_64 = _dots(1, 1), _dots(1, 4), _dots(4, 4)


@intrinsic
def widest(typing: Any) -> Any:
    """Let the compiler use the processor's widest vectors in the function that says so; by default it may not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@numba.njit(inline="always")
def exp(x: Any) -> Any:
    """e**x for x at most 0, to 2 units in the last place; below -87 it stays at e**-87. Source: Cephes, expf."""
    x = max(x, _SMALLEST)
    n = (x * _LOG2_E + ROUND) - ROUND
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
def largest_of(x: NDArray[np.float32]) -> Any:
    """The largest distance from zero. Compared as whole numbers, which compilers do many at a time."""
    widest()
    largest = np.int32(0)
    for i in range(x.shape[0]):
        largest = max(largest, bits_of_float(abs(x[i])))
    return float_of_bits(largest)


@numba.njit(nogil=True)
def round_to_int16(x: NDArray[np.float32], largest: Any, limit: Any, rounded: NDArray[np.int16]) -> Any:
    """Round to int16 so that `largest` becomes `limit`; return the number that 1 stands for."""
    widest()
    inverse = limit / largest if largest > TINY else _0
    for i in range(x.shape[0]):
        rounded[i] = np.int16((x[i] * inverse + ROUND) - ROUND)
    return largest / limit

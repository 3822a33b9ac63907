"""What GPT-2 does to single rows of numbers between its products: layer normalisation, GELU, rounding to bytes.

Each row's result is computed in one order of operations, whatever stands in other rows.

K channels rounded up (tiles.py), C channels.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from services.litert.numbers import ROUND, TINY, bits_of_float, exp, float_of_bits, fma, widest

Floats = NDArray[np.float32]

LANES = 64  # sums of a row are taken of every 64th number first, so that many are computed at once

_0, _1, _255 = np.float32(0), np.float32(1), np.float32(255)
_INFINITY, _NO_NUMBER = np.float32(np.inf), np.float32(np.nan)
_EPSILON = np.float32(1e-5)  # of LN, as in openai/gpt-2
_GELU_SLOPE = np.float32(-2 * np.sqrt(2 / np.pi))  # source: Hendrycks and Gimpel, GELU, the tanh form
_GELU_CUBE = np.float32(0.044715)


@numba.njit(nogil=True)
def _sum_of_lanes(lanes: Floats) -> Any:
    widest()
    width = LANES // 2
    while width:
        for i in range(width):
            lanes[i] += lanes[i + width]
        width //= 2
    return lanes[0]


@numba.njit(nogil=True, error_model="numpy")
def normalise(x: Floats, gain: Floats, bias: Floats, lanes: Floats, y: Floats) -> None:
    """Layer normalisation of a row. float32 [C] each; `lanes` float32 [LANES] and `y` are written."""
    widest()
    C = x.shape[0]
    whole = C // LANES * LANES
    for i in range(LANES):
        lanes[i] = _0
    for begin in range(0, whole, LANES):
        for i in range(LANES):
            lanes[i] += x[begin + i]
    for i in range(C - whole):
        lanes[i] += x[whole + i]
    mean = _sum_of_lanes(lanes) / np.float32(C)
    for i in range(LANES):
        lanes[i] = _0
    for begin in range(0, whole, LANES):
        for i in range(LANES):
            d = x[begin + i] - mean
            lanes[i] = fma(d, d, lanes[i])
    for i in range(C - whole):
        d = x[whole + i] - mean
        lanes[i] = fma(d, d, lanes[i])
    scale = _1 / np.sqrt(_sum_of_lanes(lanes) / np.float32(C) + _EPSILON)
    for c in range(C):
        y[c] = fma((x[c] - mean) * scale, gain[c], bias[c])


@numba.njit(nogil=True, error_model="numpy")
def round_to_bytes(x: Floats, codes: NDArray[np.uint8]) -> Any:
    """Write codes with `scale * (codes - zero)` near `x`, zero itself exactly; return scale, zero (an int32).

    Where `x` holds what is no number, or numbers further apart than float32 goes, the scale is none either.

    Args:
        x: float32 [C].
        codes: uint8 [K], written up to C; the weights of what follows are zeros.
    """
    widest()
    # Of numbers above 0 the larger has the larger bits, and what is no number has larger ones than any.
    high, low = np.int32(0), np.int32(0)
    for c in range(x.shape[0]):
        high = max(high, bits_of_float(x[c]))
        low = max(low, bits_of_float(-x[c]))
    span = float_of_bits(high) + float_of_bits(low)
    if not span < _INFINITY:
        return _NO_NUMBER, np.int32(0)
    inverse = _255 / span if span > TINY else _0
    zero = (float_of_bits(low) * inverse + ROUND) - ROUND
    for c in range(x.shape[0]):
        code = ((x[c] * inverse + ROUND) - ROUND) + zero
        code = code if code > _0 else _0
        codes[c] = np.uint8(np.int32(code if code < _255 else _255))
    return span / _255, np.int32(zero)


@numba.njit(inline="always")
def gelu(x: Any) -> Any:
    """GELU in its tanh form, as x times the logistic function."""
    u = x * _GELU_SLOPE * fma(_GELU_CUBE * x, x, _1)  # minus twice what tanh is taken of
    e = exp(u if u < _0 else -u)
    return x * (_1 if u < _0 else e) / (_1 + e)

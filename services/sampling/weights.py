"""Weights of candidates, probabilities but for a common factor: made of logits, thinned out, drawn from.

The shortest beginning of an order is found by adding up bins of equal leading bits, not by sorting.
Compiled code for compiled.py. It calls nothing outside this file, so Numba sees each change of what it keeps.

Legend: V vocabulary, K candidates.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Row = NDArray[np.floating[Any]]

_STRETCH = 64  # weights whose sum is taken, many at once
_BIN_BITS = 50  # a bin is a quarter of an octave: sign, exponent and two leading bits agree
_NUM_BINS = 1 << (63 - _BIN_BITS)
# exp(x) = 2**n * exp(r) with |r| <= ln(2) / 2; ln(2) in two parts, so that r loses nothing.
_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
_FACTORIALS = tuple(1.0 / math.factorial(n) for n in range(14))
_ONE_BITS = np.int64(0x3FF0000000000000)


@numba.njit(cache=True, nogil=True)
def weigh(row: Row, top: float, temperature: float) -> Floats:
    """exp((row - top) / temperature), [V]: as math.exp within 2 units in the last place, many at once.

    What is below 1e-300 is 0.
    """
    weights = np.empty(len(row))
    bits = weights.view(np.int64)
    for i in range(len(row)):
        x = max((np.float64(row[i]) - top) / temperature, -700.0)
        n = math.floor(x * _LOG2_E + 0.5)
        bits[i] = np.int64(n + 1023.0) << 52
    for i in range(len(row)):
        x = (np.float64(row[i]) - top) / temperature
        n = math.floor(x * _LOG2_E + 0.5)
        r = (x - n * _LN2_HIGH) - n * _LN2_LOW
        p = _FACTORIALS[13]
        p = p * r + _FACTORIALS[12]
        p = p * r + _FACTORIALS[11]
        p = p * r + _FACTORIALS[10]
        p = p * r + _FACTORIALS[9]
        p = p * r + _FACTORIALS[8]
        p = p * r + _FACTORIALS[7]
        p = p * r + _FACTORIALS[6]
        p = p * r + _FACTORIALS[5]
        p = p * r + _FACTORIALS[4]
        p = p * r + _FACTORIALS[3]
        p = p * r + _FACTORIALS[2]
        p = p * r + _FACTORIALS[1]
        p = p * r + _FACTORIALS[0]
        weights[i] = p * weights[i] if x > -690.0 else 0.0
    return weights


@numba.njit(cache=True, nogil=True)
def pick(weights: Floats, u: float) -> int:
    """The first index at which the running sum exceeds u times the whole; the last with a weight at the end."""
    num_stretches = -(-len(weights) // _STRETCH)
    sums = np.empty(num_stretches)
    total = 0.0
    for stretch in range(num_stretches):
        sums[stretch] = _sum(weights[stretch * _STRETCH : (stretch + 1) * _STRETCH])
        total += sums[stretch]
    target = u * total
    running = 0.0
    last = 0
    for stretch in range(num_stretches):
        if running + sums[stretch] <= target and stretch < num_stretches - 1:
            running += sums[stretch]
            continue
        for i in range(stretch * _STRETCH, min((stretch + 1) * _STRETCH, len(weights))):
            running += weights[i]
            if running > target and weights[i] > 0.0:
                return i
    for i in range(len(weights)):  # rounding left the target out of reach
        if weights[i] > 0.0:
            last = i
    return last


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _sum(weights: Floats) -> float:
    total = 0.0
    for i in range(len(weights)):
        total += weights[i]
    return total


@numba.njit(cache=True, nogil=True)
def heaviest(weights: Floats, top_p: float) -> NDArray[np.bool_]:
    """Which to keep: the heaviest, until they reach `top_p` of all. The greatest weight is 1."""
    return _beginning(_ONE_BITS - weights.view(np.int64), weights, top_p * weights.sum())


@numba.njit(cache=True, nogil=True)
def typical(weights: Floats, typical_p: float) -> NDArray[np.bool_]:
    """Which to keep: those whose surprise is nearest the expected one, until they reach `typical_p`."""
    total = weights.sum()
    surprise = np.log(total) - np.log(weights)
    entropy = (weights / total * surprise).sum()
    distance = np.abs(surprise - entropy)
    return _beginning(distance.view(np.int64), weights, typical_p * total)


@numba.njit(cache=True, nogil=True)
def _beginning(order: Ids, weights: Floats, mass: float) -> NDArray[np.bool_]:
    """Which belong to the shortest beginning, in ascending order, whose weights reach `mass`.

    Args:
        order: what to order by: the bits of floats that are not negative, or their distance from a greater
            one's, which rank as the floats do; equals rank by index. Not negative, [K].
    """
    sums = np.zeros(_NUM_BINS)
    for i in range(len(order)):
        sums[order[i] >> _BIN_BITS] += weights[i]
    before = 0.0  # of the bins that are kept whole
    last_bin = 0
    while last_bin < _NUM_BINS - 1 and before + sums[last_bin] < mass:
        before += sums[last_bin]
        last_bin += 1
    keep = np.empty(len(order), np.bool_)
    inside = np.empty(len(order), np.int64)
    size = 0
    for i in range(len(order)):
        keep[i] = order[i] >> _BIN_BITS < last_bin
        if order[i] >> _BIN_BITS == last_bin:
            inside[size] = i
            size += 1
    ranked = inside[:size][np.argsort(order[inside[:size]], kind="mergesort")]  # stable: equals by index
    for i in ranked:
        keep[i] = True
        before += weights[i]
        if before >= mass:
            break
    return keep

"""Random numbers by counter: each position of each sample of each seed owns one.

So a text does not depend on what else runs, on how a batch is cut, or on how often a step is repeated.
"""

from __future__ import annotations

import secrets

import numba
import numpy as np

MAX_SEED = 2**64 - 1


def uniform(seed: int, sample: int, position: int) -> float:
    """The random number of one position, in [0, 1), with 53 bits.

    Philox 4x64 with the seed as key and (position, sample) as counter; the same numbers as NumPy's
    `Philox(key=seed, counter=[position, sample, 0, 0])`.

    Args:
        seed: 0 to 2**64-1.
        sample: index of the sample within its request, from 0.
        position: index of the new token within its sample, from 0.
    """
    return float(philox(np.uint64(seed), np.uint64(sample), np.uint64(position)))


def new_seed() -> int:
    """A seed for a request that named none; below 2**53, so that it survives JSON."""
    return secrets.randbelow(2**53)


# Philox 4x64 with 10 rounds (Salmon et al. 2011): multipliers of the counter, and what is added to the key.
_MULTIPLIERS = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_WEYL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@numba.njit(cache=True, nogil=True)
def philox(seed: np.uint64, sample: np.uint64, position: np.uint64) -> float:
    """As `uniform`, for compiled code; all three uint64, since Numba makes float64 of mixed ones."""
    a, b, c, d = position + np.uint64(1), sample, np.uint64(0), np.uint64(0)  # NumPy counts on before it draws
    key, other_key = seed, np.uint64(0)
    for _ in range(10):
        high_a, low_a = _multiply(_MULTIPLIERS[0], a)
        high_c, low_c = _multiply(_MULTIPLIERS[1], c)
        a, b, c, d = high_c ^ b ^ key, low_c, high_a ^ d ^ other_key, low_a
        key += _WEYL[0]
        other_key += _WEYL[1]
    return float(a >> np.uint64(11)) * 2.0**-53


@numba.njit(inline="always")
def _multiply(x: np.uint64, y: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The upper and the lower 64 bits of a product."""
    x0, x1, y0, y1 = x & _LOW, x >> _HALF, y & _LOW, y >> _HALF
    middle = x1 * y0 + ((x0 * y0) >> _HALF)
    other = x0 * y1 + (middle & _LOW)
    return x1 * y1 + (middle >> _HALF) + (other >> _HALF), x * y

"""Random numbers by counter: each position of each sample of each seed owns one.

So a text does not depend on what else runs, on how a batch is cut, or on how often a step is repeated.
"""

from __future__ import annotations

import secrets

import numpy as np

from services.sampling.compiled import philox

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

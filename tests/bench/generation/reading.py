"""The machine's limit: how fast all cores together read memory.

One number per run: `decode_s` is what reading once over `settings["bytes"]` takes, the fastest of several passes.
A step reads the same bytes over and over, so that on a large machine they may lie in a cache that it shares with
others; the same is done here.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from tests.bench.generation.case import Case, InThisProcess, Outcome, Settings

FILES = ""
PASSES = 30


def title() -> str:
    """As in the benchmark's lines."""
    return "limit"


class Reading(InThisProcess):
    """See Contestant."""

    def __init__(self, folder: Path, case: Case, settings: Settings) -> None:
        import numba

        @numba.njit(parallel=True, fastmath=True)
        def total(words: np.ndarray, parts: int) -> int:
            size = len(words) // parts
            sums = np.zeros(parts, np.int64)
            for part in numba.prange(parts):
                piece = words[part * size : (part + 1) * size]
                found = 0
                for index in range(size):
                    found += piece[index]
                sums[part] = found
            return sums.sum()

        self._words = np.ones(settings["bytes"] // 8, np.int64)
        self._parts = numba.get_num_threads()
        self._total = total

    def run(self, prompts: np.ndarray, new: int) -> Outcome:
        seconds = []
        for _ in range(PASSES):
            begun = time.perf_counter()
            self._total(self._words, self._parts)
            seconds.append(time.perf_counter() - begun)
        return Outcome(0.0, float(np.min(seconds)), 0.0)


load = Reading

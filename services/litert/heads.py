"""Attention on several cores: each thread takes some of the heads, of all tokens.

Heads need nothing of each other. Beside LiteRT (`Attention`) one signal to begin and one when done are all that is
exchanged per layer: LiteRT's own threads sleep when they have nothing to do, and so do these, so the two do not get in
each other's way; with little work one core is faster than a signal. In forward.py `share` is a part of a longer work.

Compiled code takes addresses: Numba's way of taking arrays costs as much as a whole layer of a single token.

R runs of tokens, N tokens, H heads, D head size, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from services.common.sources import digest
from services.gpt2.config import GPT2Config
from services.litert import crew
from services.litert.attention import attend
from services.litert.block import TILE, Scratch, new_scratch
from services.litert.cache import BLOCK, Floats, Layer, widths
from services.litert.crew import JOB_BEGINS, MINE_BEGINS, Crew
from services.litert.numbers import pointer

# Products of numbers, per layer, below which waking another thread costs what it saves or more. 124M: a single token at
# position 224 takes 0.99 ms in all layers on one core and 1.2 on two, at position 900 2.7 on either.
SMALL_WORK = 1_500_000

# What all threads read in `job`; arrays stand there as addresses.
QKV, ATTENDED, ROWS, NUM_RUNS, LAYER, ALONE = range(JOB_BEGINS, JOB_BEGINS + 6)
_RUNS, _TABLES, _B, HEADS, HEAD_SIZE, _E, _F, _S, _ITEM = range(ALONE + 1, ALONE + 10)
_KEYS, _VALUES, _KEY_SCALES, _VALUE_SCALES = range(_ITEM + 1, _ITEM + 5)
JOB_ENDS = _VALUE_SCALES + 1
# What stands in a thread's own `mine`.
FIRST, LAST, _SCRATCH = range(MINE_BEGINS, MINE_BEGINS + 3)
MINE_ENDS = _SCRATCH + 10


@numba.njit(nogil=True)
def share(mine: NDArray[np.int64], job: NDArray[np.int64], first: int, last: int, kind: Any) -> None:
    """Attend in one layer for the heads from `first` to before `last`; the cache holds numbers of `kind`."""
    B, H, D, E, F, S, L = job[_B], job[HEADS], job[HEAD_SIZE], job[_E], job[_F], job[_S], job[LAYER]
    places = L * B * H * BLOCK
    layer = Layer(
        numba.carray(pointer(job[_KEYS] + places * E * job[_ITEM], kind), (B, H, E // 2, BLOCK, 2)),
        numba.carray(pointer(job[_VALUES] + places * F * job[_ITEM], kind), (B, H, BLOCK // 2, F, 2)),
        numba.carray(pointer(job[_KEY_SCALES] + places * 4, np.float32), (B, H, BLOCK)),
        numba.carray(pointer(job[_VALUE_SCALES] + places * 4, np.float32), (B, H, BLOCK)),
    )
    a = mine[_SCRATCH:]
    scratch = Scratch(
        numba.carray(pointer(a[0], np.float32), (TILE, S)),
        numba.carray(pointer(a[1], np.float32), (TILE, E)),
        numba.carray(pointer(a[2], np.float32), (TILE, F)),
        numba.carray(pointer(a[3], np.float32), (BLOCK,)),
        numba.carray(pointer(a[4], np.int16), (TILE, E)),
        numba.carray(pointer(a[5], np.int16), (TILE, S)),
        numba.carray(pointer(a[6], np.int32), (TILE, max(BLOCK, F))),
        numba.carray(pointer(a[7], np.float32), (TILE,)),
        numba.carray(pointer(a[8], np.float32), (TILE,)),
        numba.carray(pointer(a[9], np.float32), (TILE,)),
    )
    attend(
        numba.carray(pointer(job[QKV], np.float32), (job[ROWS], 3 * H * D)),
        numba.carray(pointer(job[ATTENDED], np.float32), (job[ROWS], H * D)),
        numba.carray(pointer(job[_RUNS], np.int32), (job[NUM_RUNS], 3)),
        numba.carray(pointer(job[_TABLES], np.int32), (job[NUM_RUNS], S // BLOCK)),
        layer,
        first,
        last,
        scratch,
    )


@cache
def _compiled(precision: str) -> Any:
    """Return the function that threads run, as `.ctypes`, see Crew. It is never let go.

    Args:
        precision: `int8` or `float32`, of the cache.
    """
    kind = np.int8 if precision == "int8" else np.float32
    sources = digest(Path(__file__).parent)

    @numba.cfunc(types.void(types.int64), nopython=True, cache=True)
    def run(address: int) -> None:
        _key = sources
        mine = numba.carray(pointer(address, np.int64), (MINE_ENDS,))
        job = numba.carray(pointer(mine[crew.JOB], np.int64), (JOB_ENDS,))
        if mine[crew.FOLLOWS]:
            while True:
                crew.wait(mine[crew.BEGIN])
                if job[crew.STOP]:
                    return
                share(mine, job, mine[FIRST], mine[LAST], kind)
                crew.say_done(mine)
        if job[ALONE]:
            share(mine, job, 0, job[HEADS], kind)
            return
        crew.wake_others(mine)
        share(mine, job, mine[FIRST], mine[LAST], kind)
        crew.wait_for_others(mine)

    return run


class Placement:
    """Which rows of a batch are which positions of which sequence, for compiled code to read.

    Args:
        cache: of all layers.
        max_rows: tokens of a batch.
        extra: places of `job` after JOB_ENDS.
    """

    def __init__(self, config: GPT2Config, cache: Layer, max_rows: int, extra: int = 0) -> None:
        H, D = config.n_head, config.head_size
        blocks = -(-config.n_ctx // BLOCK)
        self._runs = np.zeros((max_rows, 3), np.int32)
        self._tables = np.zeros((max_rows, blocks), np.int32)
        self._work_per_token = 2 * H * D
        self.job = np.zeros(JOB_ENDS + extra, np.int64)
        self.job[_RUNS:JOB_ENDS] = [
            *(self._runs.ctypes.data, self._tables.ctypes.data),
            *(cache.keys.shape[1], H, D, *widths(D), blocks * BLOCK, cache.keys.itemsize),
            *(array.ctypes.data for array in cache),
        ]
        self.kept: tuple[NDArray, ...] = (self._runs, self._tables, *cache)  # what `job` has the addresses of

    def place(
        self,
        rows: NDArray[np.int64],
        counts: NDArray[np.int64],
        positions: NDArray[np.int64],
        tables: Sequence[Sequence[int]],
    ) -> None:
        """Say which sequence each row of the next batch belongs to, and whether `Attention` is to do it alone.

        Args:
            rows: [R], the first row of each run.
            counts: [R], its number of rows.
            positions: [R], of its first row in its sequence.
            tables: its sequence's blocks, in order.
        """
        R = len(rows)
        self._runs[:R, 0], self._runs[:R, 1], self._runs[:R, 2] = rows, counts, positions
        for row, blocks in zip(self._tables, tables, strict=False):
            row[: len(blocks)] = blocks[: len(row)]
        self.job[NUM_RUNS] = R
        seen = int((counts * (positions + counts)).sum())
        self.job[ALONE] = seen * self._work_per_token < SMALL_WORK


def shares(config: GPT2Config, threads: int) -> tuple[list[list[int]], list[Scratch]]:
    """The heads of each thread and its working memory, as `mine` has them, and the arrays that hold it."""
    H = config.n_head
    scratch = [new_scratch(config.head_size, config.n_ctx) for _ in range(threads)]
    bounds = [(H * i // threads, H * (i + 1) // threads) for i in range(threads)]
    mine = [[*bound, *(array.ctypes.data for array in s)] for bound, s in zip(bounds, scratch, strict=True)]
    return mine, scratch


class Attention:
    """Attention over a cache, layer by layer.

    Args:
        cache: of all layers.
        placement: says where the rows of each batch belong.
        threads: at most; each has at least one head.
    """

    def __init__(self, config: GPT2Config, cache: Layer, placement: Placement, threads: int) -> None:
        self._job = placement.job
        mine, scratch = shares(config, min(threads, config.n_head) if crew.has_semaphores() else 1)
        compute = _compiled(cache.keys.dtype.name).ctypes
        self._crew = Crew(compute, self._job, mine, (*placement.kept, *scratch))

    def run(self, layer: int, qkv: Floats, attended: Floats) -> None:
        """Write keys and values of one layer, and what each row attends to. float32 [N, 3C] -> [N, C]

        Raises:
            RuntimeError: it is closed.
        """
        self._job[QKV : ROWS + 1] = (qkv.ctypes.data, attended.ctypes.data, len(qkv))
        self._job[LAYER] = layer
        self._crew.work()

    def close(self) -> None:
        """End the threads and free the cache; what is dropped without it does so as well."""
        self._crew.close()

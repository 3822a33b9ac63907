"""Attention on several cores: each thread takes some of the heads, of all tokens.

Heads need nothing of each other, so one signal to begin and one when done are all that is exchanged per layer. The
threads stay in compiled code, without Python's lock, and sleep between layers: LiteRT's own threads sleep as well when
they have nothing to do, so the two do not get in each other's way. With little work one core is faster than a signal.

Compiled code takes addresses: Numba's way of taking arrays costs as much as a whole layer of a single token.

R runs of tokens, N tokens, H heads, D head size, C channels.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from services.gpt2.config import GPT2Config
from services.litert import attention, numbers
from services.litert import cache as cache_module
from services.litert.attention import TILE, Scratch, attend, new_scratch
from services.litert.cache import BLOCK, Floats, Layer, widths
from services.litert.numbers import pointer

# Products of numbers, per layer, below which waking another thread costs what it saves or more. 124M: a single token at
# position 224 takes 0.99 ms in all layers on one core and 1.2 on two, at position 900 2.7 on either.
SMALL_WORK = 1_500_000

_sem_wait = types.ExternalFunction("sem_wait", types.int32(types.intp))
_sem_post = types.ExternalFunction("sem_post", types.int32(types.intp))
_SEM_BYTES = 64  # more than any system's sem_t

# What all threads read in `job` when they are woken; arrays stand there as addresses.
_STOP, _QKV, _ATTENDED, _ROWS, _NUM_RUNS, _LAYER = range(6)
_RUNS, _TABLES, _B, _H, _D, _E, _F, _S, _ITEM, _KEYS, _VALUES, _KEY_SCALES, _VALUE_SCALES = range(6, 19)
# What stands in a thread's own `mine`, before its scratch.
_JOB, _FOLLOWS, _BEGIN, _OTHERS, _DONE, _FIRST, _LAST, _SCRATCH = range(8)


@numba.njit(nogil=True)
def _share(mine: NDArray[np.int64], job: NDArray[np.int64], kind: Any) -> None:
    """Do one thread's heads of a layer, whose cache holds numbers of `kind`."""
    B, H, D, E, F, S, L = job[_B], job[_H], job[_D], job[_E], job[_F], job[_S], job[_LAYER]
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
        numba.carray(pointer(job[_QKV], np.float32), (job[_ROWS], 3 * H * D)),
        numba.carray(pointer(job[_ATTENDED], np.float32), (job[_ROWS], H * D)),
        numba.carray(pointer(job[_RUNS], np.int32), (job[_NUM_RUNS], 3)),
        numba.carray(pointer(job[_TABLES], np.int32), (job[_NUM_RUNS], S // BLOCK)),
        layer,
        mine[_FIRST],
        mine[_LAST],
        scratch,
    )


@cache
def _compiled(precision: str) -> Any:
    """Return the function that threads run, given the address of their `mine`, as `.ctypes`. It is never let go.

    A thread that follows waits to be woken, does its heads, says so, until told to stop. One that does not wakes the
    others, does its heads and waits until all are done. One function for both, so that it is compiled once.

    Args:
        precision: `int8` or `float32`, of the cache.
    """
    kind = np.int8 if precision == "int8" else np.float32
    # Numba keeps compiled code under a key that holds this. By itself it looks at the time of this file alone, and
    # would run old code after a change of what it calls.
    sources = zlib.crc32(
        b"".join(Path(module.__file__ or "").read_bytes() for module in (attention, cache_module, numbers))
    )

    @numba.cfunc(types.void(types.int64), nopython=True, cache=True)
    def run(address: int) -> None:
        _key = sources
        mine = numba.carray(pointer(address, np.int64), (_SCRATCH + 10,))
        job = numba.carray(pointer(mine[_JOB], np.int64), (_VALUE_SCALES + 1,))
        if mine[_FOLLOWS]:
            while True:
                while _sem_wait(mine[_BEGIN]) != 0:  # a signal to the process may wake it early
                    pass
                if job[_STOP]:
                    return
                _share(mine, job, kind)
                _sem_post(mine[_DONE])
        for other in range(mine[_OTHERS]):
            _sem_post(mine[_BEGIN] + other * _SEM_BYTES)
        _share(mine, job, kind)
        for _ in range(mine[_OTHERS]):
            while _sem_wait(mine[_DONE]) != 0:
                pass

    return run


class Attention:
    """Attention over a cache.

    Args:
        cache: of all layers.
        max_rows: tokens of a batch.
        threads: at most; each has at least one head.
    """

    def __init__(self, config: GPT2Config, cache: Layer, max_rows: int, threads: int) -> None:
        H, D = config.n_head, config.head_size
        blocks = -(-config.n_ctx // BLOCK)
        self._runs = np.zeros((max_rows, 3), np.int32)
        self._tables = np.zeros((max_rows, blocks), np.int32)
        self._work_per_token = 2 * H * D
        self._alone = True
        self._job = np.zeros(_VALUE_SCALES + 1, np.int64)
        self._job[_RUNS:] = [
            *(self._runs.ctypes.data, self._tables.ctypes.data),
            *(cache.keys.shape[1], H, D, *widths(D), blocks * BLOCK, cache.keys.itemsize),
            *(array.ctypes.data for array in cache),
        ]
        semaphores = ctypes.create_string_buffer(_SEM_BYTES * min(threads, H))
        # Where the system has none, all is done by the caller's thread.
        threads = min(threads, H) if all(_begin_semaphore(semaphores, i) for i in range(min(threads, H))) else 1
        done, first_begin = ctypes.addressof(semaphores), ctypes.addressof(semaphores) + _SEM_BYTES
        scratch = [new_scratch(D, config.n_ctx) for _ in range(threads)]

        def mine(thread: int, begin: int, end: int) -> NDArray[np.int64]:
            follows = min(thread, 1)
            signal = first_begin + _SEM_BYTES * (thread - follows)
            others = 0 if (begin, end) == (0, H) else threads - 1
            places = [array.ctypes.data for array in scratch[thread]]
            return np.array([self._job.ctypes.data, follows, signal, others, done, begin, end, *places], np.int64)

        shares = [mine(i, H * i // threads, H * (i + 1) // threads) for i in range(threads)]
        self._all, self._share = mine(0, 0, H), shares[0]
        self._compute: Callable[[int], None] = _compiled(cache.keys.dtype.name).ctypes
        # As addresses do not keep arrays alive, the threads' end does.
        kept = (self._job, self._runs, self._tables, *cache, *scratch, *shares, semaphores)
        others = [
            threading.Thread(target=self._compute, args=(share.ctypes.data,), name=f"attention-{i}", daemon=True)
            for i, share in enumerate(shares[1:], 1)
        ]
        for other in others:
            other.start()
        self._end = weakref.finalize(self, _end, self._job, semaphores, others, kept)
        self._addresses = (self._all.ctypes.data, self._share.ctypes.data)

    def place(
        self,
        rows: NDArray[np.int64],
        counts: NDArray[np.int64],
        positions: NDArray[np.int64],
        tables: Sequence[Sequence[int]],
    ) -> None:
        """Say which sequence each row of the next batch belongs to.

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
        self._job[_NUM_RUNS] = R
        seen = int((counts * (positions + counts)).sum())
        self._alone = seen * self._work_per_token < SMALL_WORK

    def run(self, layer: int, qkv: Floats, attended: Floats) -> None:
        """Write keys and values of one layer, and what each row attends to. float32 [N, 3C] -> [N, C]

        Raises:
            RuntimeError: it is closed.
        """
        if not self._end.alive:  # the addresses lead nowhere
            raise RuntimeError("this model is closed: load it again")
        self._job[_QKV : _ROWS + 1] = (qkv.ctypes.data, attended.ctypes.data, len(qkv))
        self._job[_LAYER] = layer
        self._compute(self._addresses[0 if self._alone else 1])

    def close(self) -> None:
        """End the threads and free the cache; what is dropped without it does so as well."""
        self._end()


def _end(
    job: NDArray[np.int64], semaphores: ctypes.Array, threads: Sequence[threading.Thread], kept: Sequence[Any]
) -> None:
    """End threads; `kept` is what they read until then."""
    job[_STOP] = 1
    for number in range(1, len(threads) + 1):
        ctypes.CDLL(None).sem_post(ctypes.byref(semaphores, number * _SEM_BYTES))
    for thread in threads:
        thread.join()


def _begin_semaphore(semaphores: ctypes.Array, number: int) -> bool:
    """Set up a POSIX semaphore at 0; False where the system has none without a name."""
    init = getattr(ctypes.CDLL(None), "sem_init", None)
    return init is not None and init(ctypes.byref(semaphores, number * _SEM_BYTES), 0, 0) == 0

"""Attention on several cores: each thread takes some of the heads, of all tokens.

Heads need nothing of each other, so one signal to begin and one when done are all that is exchanged per layer. The
threads stay in compiled code, without Python's lock, and sleep between layers: LiteRT's own threads sleep as well when
they have nothing to do, so the two do not get in each other's way. With little work one core is faster than a signal.

R runs of tokens, N tokens, H heads, D head size, C channels.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Sequence

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from services.litert.attention import BLOCK, Floats, Layer, Scratch, attend, new_scratch
from services.litert.numbers import floats_at

# Products of numbers below which waking another thread costs more than it saves.
SMALL_WORK = 400_000

_sem_wait = types.ExternalFunction("sem_wait", types.int32(types.uintp))
_sem_post = types.ExternalFunction("sem_post", types.int32(types.uintp))
_SEM_BYTES = 64  # more than any system's sem_t

# What a thread reads from `job` when it is woken.
_STOP, _QKV, _ATTENDED, _ROWS, _RUNS, _LAYER = range(6)


@numba.njit(nogil=True)
def _share(
    job: NDArray[np.int64],
    runs: NDArray[np.int32],
    tables: NDArray[np.int32],
    cache: Layer,
    first_head: int,
    last_head: int,
    scratch: Scratch,
) -> None:
    C = cache.keys.shape[2] * cache.keys.shape[3]
    qkv = numba.carray(floats_at(job[_QKV]), (job[_ROWS], 3 * C))
    attended = numba.carray(floats_at(job[_ATTENDED]), (job[_ROWS], C))
    at = job[_LAYER]
    layer = Layer(cache.keys[at], cache.values[at], cache.key_scales[at], cache.value_scales[at])
    attend(qkv, attended, runs[: job[_RUNS]], tables, layer, first_head, last_head, scratch)


@numba.njit(nogil=True, cache=True)
def _run(
    follow: int,
    begins: NDArray[np.uint64],
    done: int,
    job: NDArray[np.int64],
    runs: NDArray[np.int32],
    tables: NDArray[np.int32],
    cache: Layer,
    first_head: int,
    last_head: int,
    scratch: Scratch,
) -> None:
    """The caller's part, with `follow` 0: wake the others, do one's heads, wait until all are done.

    With `follow` a thread's life: wait to be woken, do one's heads, say so; until told to stop. One function for both,
    so that it is compiled once.
    """
    if follow:
        while True:
            while _sem_wait(begins[0]) != 0:  # a signal to the process may wake it early
                pass
            if job[_STOP]:
                return
            _share(job, runs, tables, cache, first_head, last_head, scratch)
            _sem_post(done)
    for begin in begins:
        _sem_post(begin)
    _share(job, runs, tables, cache, first_head, last_head, scratch)
    for _ in begins:
        while _sem_wait(done) != 0:
            pass


class Attention:
    """Attention over a cache.

    Args:
        cache: of all layers.
        max_rows: tokens of a batch.
        context: longest sequence, in tokens.
        threads: at most; each has at least one head.
    """

    def __init__(self, cache: Layer, max_rows: int, context: int, threads: int) -> None:
        H, D = cache.keys.shape[2:4]
        self._heads, self._head_size = H, D
        self._job = np.zeros(8, np.int64)
        self._runs = np.zeros((max_rows, 3), np.int32)
        self._tables = np.zeros((max_rows, -(-context // BLOCK)), np.int32)
        self._products = 0
        threads = min(threads, H)
        semaphores = [_semaphore() for _ in range(threads)]
        if not all(semaphores):
            threads = 1
        addresses = np.array([ctypes.addressof(each) if each else 0 for each in semaphores], np.uint64)
        self._done, self._begins = addresses[0], addresses[1:threads]
        self._nobody = self._begins[:0]
        self._arrays = (self._job, self._runs, self._tables, cache)
        shares = [(H * thread // threads, H * (thread + 1) // threads) for thread in range(threads)]
        self._share = shares[0]
        self._scratch = new_scratch(D, context)
        others = [
            threading.Thread(
                target=_run,
                args=(1, addresses[i : i + 1], self._done, *self._arrays, *shares[i], new_scratch(D, context)),
                name=f"attention-{i}",
                daemon=True,
            )
            for i in range(1, threads)
        ]
        for other in others:
            other.start()
        self._end = weakref.finalize(self, _end, self._job, self._begins, others, semaphores)

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
            row[: len(blocks)] = blocks
        self._job[_RUNS] = R
        seen = int((counts * (positions + counts)).sum())
        self._products = 2 * seen * self._heads * self._head_size

    def run(self, layer: int, qkv: Floats, attended: Floats) -> None:
        """Write keys and values of one layer, and what each row attends to. float32 [N, 3C] -> [N, C]"""
        self._job[_QKV], self._job[_ATTENDED] = qkv.ctypes.data, attended.ctypes.data
        self._job[_ROWS], self._job[_LAYER] = len(qkv), layer
        alone = self._products < SMALL_WORK
        others = self._nobody if alone else self._begins
        share = (0, self._heads) if alone else self._share
        _run(0, others, self._done, *self._arrays, *share, self._scratch)

    def close(self) -> None:
        """End the threads; what is dropped without it ends them as well."""
        self._end()


def _end(
    job: NDArray[np.int64],
    begins: NDArray[np.uint64],
    threads: Sequence[threading.Thread],
    semaphores: Sequence[ctypes.Array | None],
) -> None:
    """End threads. They hold the arrays of the cache, and the semaphores must outlive them."""
    job[_STOP] = 1
    for begin in begins:
        _post(begin)
    for thread in threads:
        thread.join()


@numba.njit(cache=True)
def _post(semaphore: int) -> None:
    _sem_post(semaphore)


def _semaphore() -> ctypes.Array | None:
    """A POSIX semaphore at 0, or nothing where the system has none without a name."""
    memory = ctypes.create_string_buffer(_SEM_BYTES)
    try:
        made = ctypes.CDLL(None).sem_init(memory, 0, 0)
    except AttributeError:
        return None
    return memory if made == 0 else None

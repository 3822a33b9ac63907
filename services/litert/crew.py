"""Threads that stay in compiled code: woken together for a piece of work, asleep between two.

Between the parts of one piece of work they meet without sleeping, which takes less than a microsecond where sleeping
and waking takes fifty.

What a thread needs stands in its own array of addresses and numbers, `mine`; what all need in one array, `job`.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from services.litert.numbers import atomic_add, atomic_load, pause

STOP, MET = 0, 8  # what stands in `job`; MET has a cache line of its own, since all look at it while they wait
JOB_BEGINS = 16  # where the rest of `job` stands
JOB, FOLLOWS, BEGIN, OTHERS, DONE, MEETINGS = range(6)  # what stands in `mine`
MINE_BEGINS = 6  # where the rest of `mine` stands

TURN_BYTES = 64  # a cache line, see `take`
_SEM_BYTES = 64  # more than any system's sem_t
_PATIENCE = 2000  # looks before the others get the processor: about 100 microseconds

_sem_wait = types.ExternalFunction("sem_wait", types.int32(types.intp))
_sem_post = types.ExternalFunction("sem_post", types.int32(types.intp))
_sched_yield = types.ExternalFunction("sched_yield", types.int32())


@numba.njit(nogil=True)
def wait(semaphore: int) -> None:
    """Sleep until it is posted. A signal to the process may wake a thread early."""
    while _sem_wait(semaphore) != 0:
        pass


@numba.njit(nogil=True)
def wake_others(mine: NDArray[np.int64]) -> None:
    """Wake all others."""
    for other in range(mine[OTHERS]):
        _sem_post(mine[BEGIN] + other * _SEM_BYTES)


@numba.njit(nogil=True)
def say_done(mine: NDArray[np.int64]) -> None:
    """Tell the one who woke the others."""
    _sem_post(mine[DONE])


@numba.njit(nogil=True)
def wait_for_others(mine: NDArray[np.int64]) -> None:
    """Sleep until all others are done."""
    for _ in range(mine[OTHERS]):
        wait(mine[DONE])


@numba.njit(nogil=True)
def meet(mine: NDArray[np.int64], job: NDArray[np.int64], threads: int) -> None:
    """Wait, awake, until all threads of the crew have come here; all see then what each has written. For x86."""
    if threads == 1:
        return
    mine[MEETINGS] += 1
    everyone = mine[MEETINGS] * threads
    place = job[MET:].ctypes.data
    atomic_add(place, 1)
    looks = 0
    while atomic_load(place) < everyone:
        looks += 1
        if looks < _PATIENCE:
            pause()
        else:
            _sched_yield()


@numba.njit(nogil=True)
def begin_of(count: int, thread: int, threads: int) -> int:
    """The first of `count` pieces of work that are a thread's own; the next thread's first is the end."""
    return count * thread // threads


@numba.njit(nogil=True)
def take(turns: int, owner: int, count: int, threads: int, most: int) -> tuple[int, int]:
    """Take up to `most` of the pieces that are `owner`'s own and nobody has taken: the first, and the end.

    Each thread takes its own, and then what is left of others': one that the system keeps from working holds up no
    more than what it has begun.

    Args:
        turns: address of TURN_BYTES for each thread, zeros before the first piece is taken.
    """
    first, end = begin_of(count, owner, threads), begin_of(count, owner + 1, threads)
    first += atomic_add(turns + owner * TURN_BYTES, most)
    return first, max(first, min(first + most, end))


class Crew:
    """Threads that run `compute`, the caller's among them.

    Args:
        compute: a compiled function, given the address of its thread's `mine`. A thread whose FOLLOWS is 1 waits to be
            woken, works, until `job[STOP]`; the caller's wakes the others and works.
        job: int64, its first JOB_BEGINS places free.
        rest: of each thread's `mine`, the caller's first. Where the system has no semaphores there must be but one.
        kept: arrays whose addresses stand in these; addresses do not keep them alive, the crew does.
    """

    def __init__(
        self,
        compute: Callable[[int], None],
        job: NDArray[np.int64],
        rest: Sequence[Sequence[int]],
        kept: Sequence[Any],
    ) -> None:
        threads = len(rest)
        semaphores = ctypes.create_string_buffer(_SEM_BYTES * threads)
        if threads > 1 and not all(_begin_semaphore(semaphores, i) for i in range(threads)):
            raise ValueError("this system has no semaphores for threads; ask `has_semaphores` first")
        done, first_begin = ctypes.addressof(semaphores), ctypes.addressof(semaphores) + _SEM_BYTES

        def mine(thread: int) -> NDArray[np.int64]:
            follows = min(thread, 1)
            signal = first_begin + _SEM_BYTES * (thread - follows)
            others = 0 if follows else threads - 1
            return np.array([job.ctypes.data, follows, signal, others, done, 0, *rest[thread]], np.int64)

        shares = [mine(thread) for thread in range(threads)]
        self._compute = compute
        self.own = shares[0]  # the caller's `mine`
        self._own_address = self.own.ctypes.data
        self._busy = threading.Lock()
        others: list[threading.Thread] = []  # begun
        self._end = weakref.finalize(self, _end, job, semaphores, others, (job, shares, *kept))
        for number, share in enumerate(shares[1:], 1):
            other = threading.Thread(target=compute, args=(share.ctypes.data,), name=f"products-{number}", daemon=True)
            try:
                other.start()
            except RuntimeError:  # the system gives no more; those that sleep already must not outlive what they read
                self._end()
                raise
            others.append(other)

    def work(self) -> None:
        """Wake all and work with them.

        Raises:
            RuntimeError: the crew has ended.
        """
        with self._busy:
            if not self._end.alive:  # the addresses lead nowhere
                raise RuntimeError("this model is closed: load it again")
            self._compute(self._own_address)

    def close(self) -> None:
        """End the threads and let go of what they read; what is dropped without it does so as well."""
        with self._busy:
            self._end()


def has_semaphores() -> bool:
    """Whether this system has POSIX semaphores without a name."""
    return _begin_semaphore(ctypes.create_string_buffer(_SEM_BYTES), 0)


def _end(
    job: NDArray[np.int64], semaphores: ctypes.Array, threads: Sequence[threading.Thread], kept: Sequence[Any]
) -> None:
    """End threads; `kept` is what they read until then."""
    job[STOP] = 1
    for number in range(1, len(threads) + 1):
        ctypes.CDLL(None).sem_post(ctypes.byref(semaphores, number * _SEM_BYTES))
    for thread in threads:
        thread.join()


def _begin_semaphore(semaphores: ctypes.Array, number: int) -> bool:
    """Set up a POSIX semaphore at 0; False where the system has none without a name."""
    init = getattr(ctypes.CDLL(None), "sem_init", None)
    return init is not None and init(ctypes.byref(semaphores, number * _SEM_BYTES), 0, 0) == 0

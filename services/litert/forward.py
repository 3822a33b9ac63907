"""GPT-2's layers in compiled code of our own, for processors with instructions for products of bytes (tiles.py).

In: a batch of embedded tokens. Out: logits of the rows asked for. All of it is one call, in which the threads meet
between the parts of a layer: each takes some of a product's columns, of attention's heads, of the rows of what lies
between.

int8 weights have a scale per feature, each row of what they are multiplied with a scale and a zero of its own. Sums of
products are whole numbers and what follows is done number by number, so a row's logits do not depend, in any bit, on
what else is in the batch or on the number of threads.

N tokens of the batch, M rows whose logits are asked for, C channels, F features, V vocabulary, L layers, K channels
rounded up to 64.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from services.common.sources import digest
from services.litert import crew, heads
from services.litert.cache import Floats, Layer
from services.litert.crew import TURN_BYTES, Crew, meet, take
from services.litert.engine_file import EngineFile
from services.litert.heads import ATTENDED, HEAD_SIZE, HEADS, LAYER, MINE_ENDS, NUM_RUNS, QKV, ROWS, Placement, share
from services.litert.memory import zeros
from services.litert.numbers import cycles, pointer
from services.litert.product import ADD, GELU, SCRATCH, STORE, multiply
from services.litert.rows import LANES, normalise, round_to_bytes
from services.litert.thread_count import ThreadCount
from services.litert.tiles import AMX, GROUP, PANEL, expect, num_panels, padded, release
from services.litert.weights import C_ATTN, C_FC, C_PROJ, CHANNELS, FEATURES, MATRIX, MLP_PROJ, WEIGHTS, Weights

# What `job` holds after that of heads.py; arrays stand there as addresses.
_WANTED, _NUM_WANTED, _X, _HIDDEN, _CODES, _SCALES, _ZEROS, _NORMS, _LOGITS = range(heads.JOB_ENDS, heads.JOB_ENDS + 9)
_NUM_LAYERS, _INSTRUCTIONS, _THREADS, _MATRICES, _TURNS = range(_LOGITS + 1, _LOGITS + 6)
_JOB_ENDS = _TURNS + 1
# What a thread's own `mine` holds after that of heads.py.
_THREAD, _SCRATCH, _LANES, _ROW, _SINCE = range(MINE_ENDS, MINE_ENDS + 5)
# What each thread's time went into, in ticks of the processor's clock, from `mine[PARTS]` on.
PARTS = _SINCE + 1
PART_NAMES = ("rows", "products", "attention", "head", "waiting")
_TO_BYTES, _PRODUCTS, _ATTENTION, _HEAD, _WAITING = range(5)
_MINE_ENDS = PARTS + len(PART_NAMES)

_PROMPT_ROWS = 8  # mean tokens of a run from which on attention computes more than it reads

# Products of a step below which waking another thread costs what it saves or more. One thread against two, one stream:
# 10,200 against 7,300 tokens/s with 1 million parameters (`nano`), 1,530 against 1,960 with 14 million (`mini`).
SMALL_WORK = 5_000_000


@numba.njit(nogil=True)
def _multiply(mine: NDArray[np.int64], job: NDArray[np.int64], number: int, N: int, then: int, target: int) -> None:
    """This thread's columns of the product of the codes of N rows with matrix `number`, into float32 [N, F]."""
    matrix = numba.carray(pointer(job[_MATRICES] + 8 * MATRIX * number, np.int64), (MATRIX,))
    multiply(
        job[_INSTRUCTIONS],
        mine[_THREAD],
        job[_THREADS],
        matrix,
        job[_CODES],
        job[_SCALES],
        job[_ZEROS],
        N,
        then,
        target,
        mine[_SCRATCH],
        job[_TURNS] + number * job[_THREADS] * TURN_BYTES,
    )


@numba.njit(nogil=True)
def _attend(mine: NDArray[np.int64], job: NDArray[np.int64], part: int) -> None:
    """This thread's heads."""
    threads, H = job[_THREADS], job[HEADS]
    if threads == 1:
        share(mine, job, 0, H, np.int8)
    elif job[ROWS] < _PROMPT_ROWS * job[NUM_RUNS]:  # tokens of many texts: all heads of one stand together in memory
        share(mine, job, mine[heads.FIRST], mine[heads.LAST], np.int8)
    else:
        turns = job[_TURNS] + part * threads * TURN_BYTES
        for offset in range(threads):
            owner = (mine[_THREAD] + offset) % threads
            first, end = take(turns, owner, H, threads, 1)
            while first < end:
                share(mine, job, first, end, np.int8)
                first, end = take(turns, owner, H, threads, 1)


@numba.njit(nogil=True)
def _to_bytes(
    mine: NDArray[np.int64], job: NDArray[np.int64], number: int, source: int, N: int, C: int, norm: int
) -> None:
    """This thread's rows of float32 [N, C] to codes, to be multiplied with matrix `number`.

    They go through the layer normalisation number `norm`, or none if it is -1. The matrix's begin is asked for first.
    """
    matrix = numba.carray(pointer(job[_MATRICES] + 8 * MATRIX * number, np.int64), (MATRIX,))
    panels = num_panels(matrix[FEATURES])
    expect(matrix[WEIGHTS] + panels * mine[_THREAD] // job[_THREADS] * PANEL * matrix[CHANNELS], matrix[CHANNELS])
    K = padded(C)
    x = numba.carray(pointer(source, np.float32), (N, C))
    codes = numba.carray(pointer(job[_CODES], np.uint8), (N, K))
    scales = numba.carray(pointer(job[_SCALES], np.float32), (N,))
    zeros = numba.carray(pointer(job[_ZEROS], np.int32), (N,))
    lanes = numba.carray(pointer(mine[_LANES], np.float32), (LANES,))
    row = numba.carray(pointer(mine[_ROW], np.float32), (C,))
    norms = numba.carray(pointer(job[_NORMS] + 8 * C * max(norm, 0), np.float32), (2, C))
    for i in range(N * mine[_THREAD] // job[_THREADS], N * (mine[_THREAD] + 1) // job[_THREADS]):
        if norm < 0:
            scales[i], zeros[i] = round_to_bytes(x[i], codes[i])
        else:
            normalise(x[i], norms[0], norms[1], lanes, row)
            scales[i], zeros[i] = round_to_bytes(row, codes[i])


@numba.njit(nogil=True)
def _keep_wanted(job: NDArray[np.int64], N: int, M: int, C: int) -> None:
    """Move the rows whose logits are asked for to the front. They ascend, so none is overwritten before it is read."""
    wanted = numba.carray(pointer(job[_WANTED], np.int64), (M,))
    x = numba.carray(pointer(job[_X], np.float32), (N, C))
    attended = numba.carray(pointer(job[ATTENDED], np.float32), (N, C))
    for i in range(M):
        row = wanted[i]
        if row != i:
            for c in range(C):
                x[i, c] = x[row, c]
                attended[i, c] = attended[row, c]


@numba.njit(nogil=True)
def _spent(mine: NDArray[np.int64], part: int) -> None:
    """Count the time since the last call for a part."""
    now = cycles()
    mine[PARTS + part] += now - mine[_SINCE]
    mine[_SINCE] = now


@numba.njit(nogil=True)
def _meet(mine: NDArray[np.int64], job: NDArray[np.int64], part: int) -> None:
    """Wait for all threads after a part; all see then what each has written."""
    _spent(mine, part)
    meet(mine, job, job[_THREADS])
    _spent(mine, _WAITING)


@numba.njit(nogil=True)
def _release(job: NDArray[np.int64]) -> None:
    if job[_INSTRUCTIONS] == AMX:
        release()


@numba.njit(nogil=True)
def _layers(mine: NDArray[np.int64], job: NDArray[np.int64]) -> None:
    """One thread's part of a batch's way through all layers."""
    N, L, C = job[ROWS], job[_NUM_LAYERS], job[HEADS] * job[HEAD_SIZE]
    mine[_SINCE] = cycles()
    for layer in range(L):
        first = 4 * layer
        _to_bytes(mine, job, first + C_ATTN, job[_X], N, C, 2 * layer)
        _meet(mine, job, _TO_BYTES)
        _multiply(mine, job, first + C_ATTN, N, STORE, job[QKV])
        if mine[_THREAD] == 0:
            job[LAYER] = layer
        _meet(mine, job, _PRODUCTS)
        _attend(mine, job, 4 * L + 1 + layer)
        _meet(mine, job, _ATTENTION)
        if layer == L - 1:
            if mine[_THREAD] == 0:
                _keep_wanted(job, N, job[_NUM_WANTED], C)
            _meet(mine, job, _TO_BYTES)
            N = job[_NUM_WANTED]
            if N == 0:  # as in the middle of a prompt
                _release(job)
                return
        _to_bytes(mine, job, first + C_PROJ, job[ATTENDED], N, C, -1)
        _meet(mine, job, _TO_BYTES)
        _multiply(mine, job, first + C_PROJ, N, ADD, job[_X])
        _meet(mine, job, _PRODUCTS)
        _to_bytes(mine, job, first + C_FC, job[_X], N, C, 2 * layer + 1)
        _meet(mine, job, _TO_BYTES)
        _multiply(mine, job, first + C_FC, N, GELU, job[_HIDDEN])
        _meet(mine, job, _PRODUCTS)
        _to_bytes(mine, job, first + MLP_PROJ, job[_HIDDEN], N, 4 * C, -1)
        _meet(mine, job, _TO_BYTES)
        _multiply(mine, job, first + MLP_PROJ, N, ADD, job[_X])
        _meet(mine, job, _PRODUCTS)
    _to_bytes(mine, job, 4 * L, job[_X], N, C, 2 * L)
    _meet(mine, job, _TO_BYTES)
    _multiply(mine, job, 4 * L, N, STORE, job[_LOGITS])
    _spent(mine, _HEAD)
    _release(job)


@cache
def _compiled() -> Any:
    """Return the function that threads run, as `.ctypes`, see Crew. It is never let go."""
    sources = digest(Path(__file__).parent)

    @numba.cfunc(types.void(types.int64), nopython=True, cache=True)
    def run(address: int) -> None:
        _key = sources
        mine = numba.carray(pointer(address, np.int64), (_MINE_ENDS,))
        job = numba.carray(pointer(mine[crew.JOB], np.int64), (_JOB_ENDS,))
        if mine[crew.FOLLOWS]:
            while True:
                crew.wait(mine[crew.BEGIN])
                if job[crew.STOP]:
                    return
                _layers(mine, job)
                meet(mine, job, job[_THREADS])
        if job[_THREADS] > 1:
            crew.wake_others(mine)
        _layers(mine, job)
        meet(mine, job, job[_THREADS])  # before the caller changes what the others read

    return run


class Forward:
    """The layers of one model, and its weights in the order in which they are read.

    Args:
        file: of int8 precision.
        cache: of all layers, int8.
        placement: says where the rows of each batch belong; `job` has EXTRA places.
        max_rows: tokens of a batch, at most.
        threads: at least one.
        instructions: tiles.AMX or tiles.VNNI.
    """

    EXTRA = _JOB_ENDS - heads.JOB_ENDS

    def __init__(
        self, file: EngineFile, cache: Layer, placement: Placement, max_rows: int, threads: int, instructions: int
    ) -> None:
        config = file.config
        C, L = config.n_embd, config.n_layer
        weights = Weights(file)
        room = -(-max_rows // GROUP) * GROUP  # tiles are read whole
        self._x = zeros((room, C), np.float32)
        arrays = {
            QKV: zeros((room, 3 * C), np.float32),
            ATTENDED: zeros((room, C), np.float32),
            _X: self._x,
            _HIDDEN: zeros((room, 4 * C), np.float32),
            _CODES: zeros((room, padded(4 * C)), np.uint8),
            _SCALES: zeros(room, np.float32),
            _ZEROS: zeros(room, np.int32),
            _NORMS: weights.norms,
            _MATRICES: weights.matrices,
        }
        # For each product and each layer's attention, see crew.take.
        self._turns = zeros((5 * L + 1, max(1, threads), TURN_BYTES // 8), np.int64)
        arrays[_TURNS] = self._turns
        self._job = placement.job
        for place, array in arrays.items():
            self._job[place] = array.ctypes.data
        self._job[_NUM_LAYERS], self._job[_INSTRUCTIONS] = L, instructions
        self._parameters = config.num_parameters
        threads = threads if crew.has_semaphores() else 1
        self._count = ThreadCount(threads)
        mine, scratch = heads.shares(config, threads)
        memory: list[NDArray] = []
        for thread, own in enumerate(mine):
            working: list[NDArray] = [
                zeros(SCRATCH, np.uint8),
                zeros(LANES, np.float32),
                zeros(4 * C, np.float32),
            ]
            memory += working
            own += [thread, *(array.ctypes.data for array in working), 0, *[0] * len(PART_NAMES)]
        kept = (*placement.kept, *arrays.values(), weights.memory, *scratch, *memory)
        self._crew = Crew(_compiled().ctypes, self._job, mine, kept)

    def run(self, x: Floats, wanted: NDArray[np.int64], logits: Floats) -> None:
        """Take a batch through all layers, where Placement says.

        Args:
            x: float32 [N, C].
            wanted: int64 [M], ascending, rows whose logits are asked for.
            logits: float32 [M, V], written.

        Raises:
            RuntimeError: it is closed.
        """
        self._x[: len(x)] = x
        self._job[ROWS] = len(x)
        threads = 1 if len(x) * self._parameters < SMALL_WORK else self._count.next()
        self._job[_THREADS] = threads
        self._job[_WANTED], self._job[_NUM_WANTED] = wanted.ctypes.data, len(wanted)
        self._job[_LOGITS] = logits.ctypes.data
        self._turns[:] = 0
        before = self._ticks() if threads > 1 else []
        self._crew.work()
        if threads > 1:
            spent = [after - ticks for after, ticks in zip(self._ticks(), before, strict=True)]
            self._count.observe(spent[_WAITING], sum(spent))

    def _ticks(self) -> list[int]:
        """What the caller's thread spent its time on so far, by PART_NAMES."""
        return self._crew.own[PARTS:_MINE_ENDS].tolist()

    def take_ticks(self) -> dict[str, int]:
        """What the caller's thread spent its time on since the last call, by PART_NAMES, in ticks of a fixed length."""
        ticks = dict(zip(PART_NAMES, self._ticks(), strict=True))
        self._crew.own[PARTS:_MINE_ENDS] = 0
        return ticks

    def close(self) -> None:
        """End the threads and let go of weights and cache. Further calls change nothing."""
        self._crew.close()

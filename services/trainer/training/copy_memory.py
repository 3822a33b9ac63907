"""Memory that is there before it is needed, for copies of a run's weights and moments.

In: shapes, then variables. Out: their values, as arrays. Knows no checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import tensorflow as tf

COPYING_THREADS = 2
_ALIGNMENT = 64  # bytes; TensorFlow then takes an array as it is


class CopyMemory:
    """Room for the copies of arrays, taken once and touched once: to copy into memory that is new takes many times as
    long, for the system has to find and clear every page of it.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        sizes = {name: -(-4 * math.prod(shape) // _ALIGNMENT) * _ALIGNMENT for name, shape in shapes.items()}
        room = np.zeros(sum(sizes.values()) + _ALIGNMENT, np.uint8)
        room.fill(1)  # zeros are not there before they are written
        place = -room.ctypes.data % _ALIGNMENT
        self._arrays: dict[str, npt.NDArray[np.float32]] = {}
        for name, shape in shapes.items():
            self._arrays[name] = room[place : place + 4 * math.prod(shape)].view(np.float32).reshape(shape)
            place += sizes[name]

    def copy(self, sources: Mapping[str, tf.Variable]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the variables' values, in this memory."""

        def copy_one(name: str) -> None:
            np.copyto(self._arrays[name], np.asarray(memoryview(sources[name].read_value())))

        with ThreadPoolExecutor(COPYING_THREADS) as threads:
            list(threads.map(copy_one, sources))
        return {name: self._arrays[name] for name in sources}

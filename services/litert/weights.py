"""A model's int8 weights in memory, in the order in which they are read (tiles.py), and where compiled code finds them.

In: an engine file. Out: arrays.

F features, K channels rounded up to 64, C channels, L layers.
"""

from __future__ import annotations

import contextlib
import mmap

import numpy as np
from numpy.typing import NDArray

from services.litert import tiles
from services.litert.engine_file import EngineFile
from services.litert.memory import zeros
from services.litert.tiles import PANEL, num_panels, padded

# What stands of each matrix in `Weights.matrices`: addresses, then sizes.
WEIGHTS, FEATURE_SCALES, FEATURE_SUMS, BIAS, CHANNELS, FEATURES = range(6)
MATRIX = 6
# The matrices of a layer, in order; after the last layer's comes the output layer's.
C_ATTN, C_PROJ, C_FC, MLP_PROJ = range(4)
NAMES = ("attn/c_attn", "attn/c_proj", "mlp/c_fc", "mlp/c_proj")

_LARGE_PAGE = 2 << 20


class Weights:
    """Matrices in panels, in one piece of memory with large pages: with small ones reading is a fifth slower.

    Attributes:
        matrices: int64 [4L + 1, 6], what compiled code reads of each.
        norms: float32 [2L + 1, 2, C], gains and biases.
        memory: what holds the matrices.
    """

    def __init__(self, file: EngineFile) -> None:
        L, C = file.config.n_layer, file.config.n_embd
        names = [f"model/h{layer}/{name}" for layer in range(L) for name in NAMES]
        shapes = [file.array(f"{name}/w").shape for name in names] + [file.wte.shape]
        sizes = [num_panels(F) * PANEL * (padded(channels) + 12) for F, channels in shapes]
        size = -(-sum(sizes) // _LARGE_PAGE) * _LARGE_PAGE + _LARGE_PAGE  # prefetching goes beyond the last
        self.memory = zeros(size + _LARGE_PAGE, np.int8)
        end = -self.memory.ctypes.data % _LARGE_PAGE

        def take(shape: tuple[int, ...], dtype: type) -> NDArray:
            nonlocal end
            array = np.ndarray(shape, dtype, self.memory.data, end)
            end += array.nbytes
            return array

        self.matrices = np.zeros((len(shapes), MATRIX), np.int64)
        for matrix, name, (F, channels) in zip(self.matrices, [*names, ""], shapes, strict=True):
            P, K = num_panels(F), padded(channels)
            panels = take((P, 2, K // 64, 16, 16, 4), np.int8)
            scales, sums = take((P * PANEL,), np.float32), take((P * PANEL,), np.int32)
            bias = take((P * PANEL,), np.float32)
            tiles.pack(file.array(f"{name}/w") if name else file.wte, panels, sums)
            scales[:F] = file.array(f"{name}/w/scales") if name else file.wte_scales
            if name:
                bias[:F] = file.array(f"{name}/b")
            matrix[:] = [*(array.ctypes.data for array in (panels, scales, sums, bias)), K, F]
        norms = [f"model/h{layer}/{name}" for layer in range(L) for name in ("ln_1", "ln_2")] + ["model/ln_f"]
        if hasattr(mmap, "MADV_DONTNEED"):
            with contextlib.suppress(OSError):  # as where memory is locked
                file.content.madvise(mmap.MADV_DONTNEED)  # what was read is copied
        self.norms = np.array([[file.array(f"{name}/g"), file.array(f"{name}/b")] for name in norms], np.float32)
        assert self.norms.shape == (2 * L + 1, 2, C)

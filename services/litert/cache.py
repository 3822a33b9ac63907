"""The paged cache: keys and values of every layer, in blocks of 64 positions, int8 or float32.

Which sequence owns which block is the caller's business; a block's content stays until it is written again.

L layers, B blocks, H heads, D head size, P = 64 positions of a block.
"""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from services.gpt2.config import GPT2Config
from services.litert.attention import BLOCK, Layer


def new_cache(config: GPT2Config, num_blocks: int, precision: str) -> Layer:
    """All layers' arrays, each with an axis L in front. The system gives the memory when it is first written.

    Args:
        num_blocks: B, at least one.
        precision: `int8` or `float32`, of keys and values.
    """
    L, H, D = config.n_layer, config.n_head, config.head_size
    dtype = np.int8 if precision == "int8" else np.float32
    return Layer(
        keys=_zeros((L, num_blocks, H, D, BLOCK), dtype),
        values=_zeros((L, num_blocks, H, BLOCK, D), dtype),
        key_scales=_zeros((L, num_blocks, H, BLOCK), np.float32),
        value_scales=_zeros((L, num_blocks, H, BLOCK), np.float32),
    )


def block_bytes(config: GPT2Config, precision: str) -> int:
    """Memory that one block takes, in all layers: keys, values and their scales."""
    size = 1 if precision == "int8" else 4
    return config.n_layer * BLOCK * (2 * size * config.n_embd + 2 * 4 * config.n_head)


def _zeros(shape: tuple[int, ...], dtype: type) -> NDArray:
    """An array in large pages where the system has them: a block is a page of the usual size, so each would miss."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype).reshape(shape)

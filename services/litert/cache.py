"""The paged cache: keys and values of every layer, in blocks of 64 positions, int8 or float32.

Which sequence owns which block is the caller's business; a block's content stays until it is written again.

L layers, B blocks, H heads, D head size, P = 64 positions of a block. E and F are D rounded up: to whole pairs, and to
whole vectors of 16.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.gpt2.config import GPT2Config
from services.litert.memory import zeros

BLOCK = 64  # positions of a block

Floats = NDArray[np.float32]


class Layer(NamedTuple):
    """The cache of one layer, or of all with one more axis in front.

    Attributes:
        keys: int8 or float32 [B, H, E/2, P, 2]: what a block's 64 scores need stands together.
        values: int8 or float32 [B, H, P/2, F, 2].
        key_scales, value_scales: float32 [B, H, P]: the number that 1 stands for; 1 in float32.
    """

    keys: NDArray
    values: NDArray
    key_scales: Floats
    value_scales: Floats


def widths(head_size: int) -> tuple[int, int]:
    """E and F of a head size."""
    return -(-head_size // 2) * 2, -(-head_size // 16) * 16


def new_cache(config: GPT2Config, num_blocks: int, precision: str) -> Layer:
    """All layers' arrays, each with an axis L in front. The system gives the memory when it is first written.

    Args:
        num_blocks: B, at least one.
        precision: `int8` or `float32`, of keys and values.
    """
    L, H, D = config.n_layer, config.n_head, config.head_size
    E, F = widths(D)
    dtype = np.int8 if precision == "int8" else np.float32
    return Layer(
        keys=zeros((L, num_blocks, H, E // 2, BLOCK, 2), dtype),
        values=zeros((L, num_blocks, H, BLOCK // 2, F, 2), dtype),
        key_scales=zeros((L, num_blocks, H, BLOCK), np.float32),
        value_scales=zeros((L, num_blocks, H, BLOCK), np.float32),
    )


def block_bytes(config: GPT2Config, precision: str) -> int:
    """Memory that one block takes, in all layers: keys, values and their scales."""
    size = 1 if precision == "int8" else 4
    return config.n_layer * BLOCK * config.n_head * (size * sum(widths(config.head_size)) + 2 * 4)

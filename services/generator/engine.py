"""The engine: token ids with their place in the cache in, logits of the ids asked for out.

The whole of what the rest of the service knows about a model. Implementations: tensorflow_engine.py.
Legend: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Chunk:
    """New ids of one sequence.

    Attributes:
        blocks: the cache blocks that hold the sequence's positions from 0 on, in order; they cover
            start + len(ids). Others may read the blocks before `start` in the same step, none writes them.
        start: position of the first id; everything before it stands in the blocks.
        ids: at least one.
        num_logits: logits are wanted after the last this many ids; 0: none, as in a prompt's middle.
    """

    blocks: Sequence[int]
    start: int
    ids: Sequence[int]
    num_logits: int = 1


class Engine(Protocol):
    """A model with a cache of `num_blocks` blocks of `block_size` positions. One thread alone calls `step`.

    A block's content must not depend on what else was computed in its step: blocks are shared by sequences
    that begin with the same ids. Where block_size is the context, none ever is.
    """

    name: str
    exact: bool  # a row's logits are the same in every bit whatever else is in the step
    context: int
    vocabulary_size: int
    block_size: int
    num_blocks: int

    def step(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Compute chunks, each of another sequence; return the logits: float32 [sum of num_logits, V].

        Rows are in order of chunks and ids.
        """
        ...

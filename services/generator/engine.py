"""The engine: token ids with slots and positions in, logits of the rows asked for out.

The whole of what the rest of the service knows about a model. Implementations: tensorflow_engine.py.
Legend: K chunks, V vocabulary, T time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Chunk:
    """New ids of one slot.

    Attributes:
        slot: which sequence of the cache.
        start: position of the first id; everything before it was computed by earlier steps.
        ids: at least one.
    """

    slot: int
    start: int
    ids: Sequence[int]


class Engine(Protocol):
    """A model with a cache of `num_slots` sequences. `step` is called by one thread only."""

    name: str
    context: int
    vocabulary_size: int
    num_slots: int

    def step(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Compute chunks, each of another slot; return the logits after each one's last: float32 [K, V]."""
        ...

    def score(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits after every id of one sequence, beside the cache and from any thread: float32 [T, V]."""
        ...

"""The engine `litert`: GPT-2 on LiteRT with int8 weights and cache. The engine of CPUs.

The process that serves it never imports TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.generator.engine import Chunk
from services.litert.model import LiteRTModel


class LiteRTEngine:
    """See engine.Engine.

    Args:
        path: an engine file.
        num_blocks: of the cache; a block holds 64 positions of one sequence.
        threads: that a step runs on; 0: one for each core that the process may use.

    Raises:
        Corrupt: the file is missing, damaged, or computes something that is no number.
    """

    name = "litert"

    def __init__(self, path: Path, num_blocks: int, *, threads: int = 0) -> None:
        self._model = LiteRTModel(path, num_blocks, threads or len(os.sched_getaffinity(0)))
        self.context = self._model.config.n_ctx
        self.vocabulary_size = self._model.config.n_vocab
        self.block_size = self._model.block_size
        self.num_blocks = num_blocks

    def step(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Logits do not depend, in any bit, on what else is in the step or on how a sequence is cut into chunks."""
        return self._model.step(chunks)

"""The engine `litert`: GPT-2 on LiteRT with int8 weights and cache. The engine of CPUs.

The process that serves it never imports TensorFlow.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.common.processor import cores
from services.generator.engine import Chunk
from services.litert import engine_file
from services.litert.cache import block_bytes
from services.litert.model import LiteRTModel, choose_threads

log = logging.getLogger(__name__)


class LiteRTEngine:
    """See engine.Engine.

    Args:
        path: an engine file.
        num_slots: whole contexts that the cache should hold.
        cache_bytes: that it may take; it holds one context at least.
        threads: that a step runs on; 0: as many as choose_threads says for this model.

    Raises:
        Corrupt: the file is missing, damaged, or computes something that is no number.
    """

    name = "litert"
    exact = True

    def __init__(self, path: Path, num_slots: int, *, cache_bytes: int, threads: int = 0) -> None:
        file = engine_file.read(path)  # once: its whole content is checked
        per_slot = -(-file.config.n_ctx // LiteRTModel.block_size)
        slots = cache_bytes // (per_slot * block_bytes(file.config, file.precision))
        if slots < num_slots:
            log.warning(
                "%s: %d slots instead of %d: each needs %d MB of cache; raise NONESUCH_GENERATOR_CACHE_MB",
                *(path, max(1, slots), num_slots, per_slot * block_bytes(file.config, file.precision) // 1_000_000),
            )
        num_blocks = per_slot * max(1, min(num_slots, slots))
        threads = threads or choose_threads(file.config, file.precision, cores())
        self._model = LiteRTModel(file, num_blocks, threads)
        log.info("%s: products by %s, up to %d threads", path, self._model.products, threads)
        self.context = self._model.config.n_ctx
        self.vocabulary_size = self._model.config.n_vocab
        self.block_size = self._model.block_size
        self.num_blocks = num_blocks

    def step(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Logits do not depend, in any bit, on what else is in the step or on how a sequence is cut into chunks."""
        return self._model.step(chunks)

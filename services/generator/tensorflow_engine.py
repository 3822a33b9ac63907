"""The engine `tensorflow`: GPT-2 over a key-value cache. The reference on CPUs, and the engine of GPUs.

The only module of the service that imports TensorFlow, which takes seconds: import it late.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from services.common.errors import Corrupt
from services.generator.engine import Chunk
from services.gpt2.cache import CachedModel, round_up
from services.gpt2.checkpoint import read_weights


class TensorflowEngine:
    """See engine.Engine.

    Args:
        folder: a published model, already verified.
        num_slots: sequences in the cache.
        precision: `float32` or `bfloat16`.

    Raises:
        Corrupt: the weights cannot be read, or compute something that is no number.
    """

    name = "tensorflow"

    def __init__(self, folder: Path, num_slots: int, precision: str = "float32") -> None:
        gpus = tf.config.list_physical_devices("GPU")
        for gpu in gpus:
            # A trainer may share the GPU. Refused once the GPU is in use: then it was set before.
            with contextlib.suppress(RuntimeError):
                tf.config.experimental.set_memory_growth(gpu, True)
        config, params = read_weights(folder)
        self.context = config.n_ctx
        self.vocabulary_size = config.n_vocab
        self.num_slots = num_slots
        self._model = CachedModel(
            config,
            params,
            num_slots,
            compute_dtype=tf.bfloat16 if precision == "bfloat16" else tf.float32,
            jit_compile=bool(gpus),
        )
        self._warm(folder)

    def step(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Chunks of like length share a call, so that single ids are not padded to a prompt's length."""
        groups: dict[int, list[int]] = {}
        for index, chunk in enumerate(chunks):
            groups.setdefault(round_up(len(chunk.ids), self.context), []).append(index)
        logits = np.empty((len(chunks), self.vocabulary_size), np.float32)  # [K, V]
        for indices in groups.values():
            group = [chunks[index] for index in indices]
            lengths = np.array([len(chunk.ids) for chunk in group], np.int32)
            ids = np.zeros((len(group), lengths.max()), np.int32)  # [N, T]
            for row, chunk in zip(ids, group, strict=True):
                row[: len(chunk.ids)] = chunk.ids
            slots = np.array([chunk.slot for chunk in group], np.int32)
            starts = np.array([chunk.start for chunk in group], np.int32)
            logits[indices] = self._model.step(ids, slots, starts, lengths)
        return logits

    def score(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """One full forward pass."""
        return self._model.score(np.asarray(ids, np.int32))

    def _warm(self, folder: Path) -> None:
        """Trace, and with XLA compile, what the first requests will need."""
        rows = 1
        while rows <= self.num_slots:
            logits = self.step([Chunk(slot, 0, [0]) for slot in range(rows)])
            rows *= 2
        self.step([Chunk(0, 0, [0] * min(8, self.context))])
        self.score([0])
        if not np.isfinite(logits).all():
            raise Corrupt(
                f"the weights in {folder} compute values that are not numbers; publish another checkpoint",
                metadata={"file": str(folder)},
            )

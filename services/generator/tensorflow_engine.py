"""The engine `tensorflow`: GPT-2 over a key-value cache. The reference on CPUs, and the engine of GPUs.

The only module of the service that imports TensorFlow, which takes seconds: import it late.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from services.common.errors import Corrupt
from services.generator.engine import Chunk
from services.gpt2.cache import CachedModel, round_up
from services.gpt2.checkpoint import read_weights

log = logging.getLogger(__name__)

# Handing a small product to another thread costs more than it saves. One thread against two, a step of
# `nano` / `micro` / `mini`: 1.5 / 2.3 / 6.4 ms against 2.5 / 3.8 / 8.8 for one stream, 2.8 / 6.4 / 20 against
# 4.1 / 8.2 / 19 for eight.
SMALL_PARAMETERS = 20_000_000


def choose_threads(asked: int, num_parameters: int) -> int:
    """Return how many threads TensorFlow should share a product among; 0 leaves it all cores.

    Args:
        asked: by the operator; 0: choose by the model's size.
    """
    return asked or (1 if num_parameters < SMALL_PARAMETERS else 0)


def _set_threads(count: int) -> None:
    """Set the threads of the process; only before TensorFlow's first computation, so by the first model."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
    except RuntimeError:  # TensorFlow has begun
        present = tf.config.threading.get_intra_op_parallelism_threads()
        if present != count:
            log.warning(
                "this model's steps run on %s, as chosen for the first model loaded, where %s would suit it: "
                "restart the generator, or set NONESUCH_GENERATOR_THREADS",
                *("1 thread" if n == 1 else f"{n} threads" if n else "all cores" for n in (present, count)),
            )


class TensorflowEngine:
    """See engine.Engine.

    Args:
        folder: a published model, already verified.
        num_slots: sequences in the cache.
        precision: `float32` or `bfloat16`.
        threads: see choose_threads.

    Raises:
        Corrupt: the weights cannot be read, or compute something that is no number.
    """

    name = "tensorflow"
    exact = False

    def __init__(self, folder: Path, num_slots: int, precision: str = "float32", *, threads: int = 0) -> None:
        gpus = tf.config.list_physical_devices("GPU")
        for gpu in gpus:
            # A trainer may share the GPU. Refused once the GPU is in use: then it was set before.
            with contextlib.suppress(RuntimeError):
                tf.config.experimental.set_memory_growth(gpu, True)
        config, params = read_weights(folder)
        _set_threads(choose_threads(threads, config.num_parameters))
        self.context = config.n_ctx
        self.vocabulary_size = config.n_vocab
        self.block_size = config.n_ctx  # a block is the place of one sequence
        self.num_blocks = num_slots
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
        ends = np.cumsum([chunk.num_logits for chunk in chunks])
        logits = np.empty((ends[-1], self.vocabulary_size), np.float32)  # [sum of num_logits, V]
        for indices in groups.values():
            group = [chunks[index] for index in indices]
            lengths = np.array([len(chunk.ids) for chunk in group], np.int32)
            ids = np.zeros((len(group), lengths.max()), np.int32)  # [N, T]
            for row, chunk in zip(ids, group, strict=True):
                row[: len(chunk.ids)] = chunk.ids
            slots = np.array([chunk.blocks[0] for chunk in group], np.int32)
            starts = np.array([chunk.start for chunk in group], np.int32)
            counts = np.array([chunk.num_logits for chunk in group], np.int32)
            rows = [np.arange(ends[index] - chunks[index].num_logits, ends[index]) for index in indices]
            logits[np.concatenate(rows)] = self._model.step(ids, slots, starts, lengths, counts)
        return logits

    def _warm(self, folder: Path) -> None:
        """Trace, and with XLA compile, what the first requests will need."""
        rows = 1
        while rows <= self.num_blocks:
            logits = self.step([Chunk([block], 0, [0]) for block in range(rows)])
            rows *= 2
        self.step([Chunk([0], 0, [0] * min(8, self.context))])
        if not np.isfinite(logits).all():
            raise Corrupt(
                f"the weights in {folder} compute values that are not numbers; publish another checkpoint",
                metadata={"file": str(folder)},
            )

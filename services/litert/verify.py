"""What an engine file predicts beside what its float32 weights predict.

In: an engine file, the weights it was made of, rows of token ids. Out: a report.
Imports TensorFlow, late: the reference is the forward pass of services/gpt2.

R rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.gpt2.config import GPT2Config
from services.litert.cache import BLOCK
from services.litert.model import LiteRTModel, Tokens

# An engine file is good when its perplexity is at most this share above that of float32.
MAX_PERPLEXITY_RISE = 0.01


@dataclass(frozen=True, slots=True)
class Report:
    """Comparison over all tokens that have a next one in their row.

    Attributes:
        tokens: number of predictions compared.
        agreement: share of them whose likeliest next token is the same, 0 to 1.
        perplexity: of the engine file, e to the mean nats per token.
        float32_perplexity: of the float32 weights.
    """

    tokens: int
    agreement: float
    perplexity: float
    float32_perplexity: float

    @property
    def is_good(self) -> bool:
        """Whether the perplexity stays within MAX_PERPLEXITY_RISE."""
        return self.perplexity <= self.float32_perplexity * (1 + MAX_PERPLEXITY_RISE)


def verify(
    path: Path,
    config: GPT2Config,
    params: Mapping[str, NDArray[np.float32]],
    rows: Sequence[Sequence[int]],
    *,
    threads: int = 1,
) -> Report:
    """Compare next-token predictions on rows of text.

    Args:
        rows: token ids, 2 to n_ctx in each.
        threads: for the engine; the reference takes what TensorFlow has.

    Raises:
        ValueError: no row, or one of another length.
        Corrupt: the file cannot be run.
    """
    import tensorflow as tf

    from services.gpt2.model import forward

    if not rows or not all(2 <= len(row) <= config.n_ctx for row in rows):
        raise ValueError(f"rows of {sorted({len(row) for row in rows})} ids; expected 2 to {config.n_ctx} in each")
    blocks = list(range(-(-config.n_ctx // BLOCK)))
    model = LiteRTModel(path, len(blocks), threads)
    same = tokens = 0
    nats, reference_nats = 0.0, 0.0
    try:
        for row in rows:
            ids, targets = np.asarray(row[:-1], np.int32), np.asarray(row[1:], np.int32)  # [T], [T]
            logits = model.step([Tokens(blocks, 0, ids.tolist(), len(ids))])  # [T, V]
            reference = forward(params, tf.constant(ids[None]), config)[0].numpy()  # [T, V]
            same += int((logits.argmax(axis=-1) == reference.argmax(axis=-1)).sum())
            nats += _nats(logits, targets)
            reference_nats += _nats(reference, targets)
            tokens += len(ids)
    finally:
        model.close()
    return Report(tokens, same / tokens, _exp(nats / tokens), _exp(reference_nats / tokens))


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 709 else math.inf  # the greatest float


def _nats(logits: NDArray[np.float32], targets: NDArray[np.int32]) -> float:
    """Sum of the cross entropies. [T, V], [T]"""
    largest = logits.max(axis=-1)
    sums = np.exp(logits - largest[:, None]).sum(axis=-1, dtype=np.float64)
    right = logits[np.arange(len(targets)), targets]
    return float((largest + np.log(sums) - right).sum())

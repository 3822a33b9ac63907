"""Log-probabilities of the model itself, before any sampling rule. Natural logarithm (nats).

Legend: N rows, V vocabulary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROWS = 8  # rows at a time that stay in the processor's cache at GPT-2's vocabulary


def log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-softmax over the last axis, without overflow: float32 of the same shape."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float32)


def log_probabilities_of(logits: NDArray[np.float32], ids: NDArray[np.integer]) -> NDArray[np.float32]:
    """The log-probability of one id in each row: of logits [N, V] and ids [N], float32 [N]."""
    found = np.empty(len(ids), np.float32)
    for start in range(0, len(ids), _ROWS):
        rows = log_probabilities(logits[start : start + _ROWS])
        found[start : start + _ROWS] = rows[np.arange(len(rows)), ids[start : start + _ROWS]]
    return found


def top_ids(log_p: NDArray[np.float32], count: int) -> list[int]:
    """The `count` likeliest ids of one row [V], likeliest first, equals in order of id."""
    if count <= 0:
        return []
    count = min(count, len(log_p))
    threshold = np.partition(log_p, len(log_p) - count)[len(log_p) - count]
    candidates = np.flatnonzero(log_p >= threshold)
    return [int(i) for i in candidates[np.argsort(-log_p[candidates], kind="stable")][:count]]

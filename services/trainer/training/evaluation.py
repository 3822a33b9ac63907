"""How well the weights predict the held-out documents, measured on every one of their tokens.

In: weights and the validation documents. Out: nats per token, bits per byte, token accuracy. Changes nothing.
Bits per byte count the nats of every token, end-of-text ids included, over the documents' UTF-8 bytes, so
that figures of different vocabularies compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from services.gpt2 import model
from services.gpt2.config import GPT2Config


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Result of one validation."""

    loss: float
    """Mean cross entropy, nats per token."""
    bits_per_byte: float
    """Bits that the model needs per byte of text."""
    token_accuracy: float
    """Share of the tokens that were the most likely one, 0 to 1."""


class Evaluator:
    """Scores weights on the validation documents.

    Args:
        tokens: the validation documents end to end, each with its end-of-text id; at least one token.
        num_bytes: UTF-8 bytes of their texts.
        end_of_text_id: stands before the first document.
        context: tokens per row, T.
        batch_size: rows per forward pass, B.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.unsignedinteger],
        *,
        num_bytes: int,
        end_of_text_id: int,
        context: int,
        batch_size: int,
        config: GPT2Config,
        compute_dtype: tf.DType,
    ) -> None:
        self._stream = np.concatenate([[end_of_text_id], tokens]).astype(np.int32)
        self._num_bytes = num_bytes
        self._context, self._batch_size = context, batch_size
        self._config, self._compute_dtype = config, compute_dtype
        self._score_batch = tf.function(self._score)

    def __call__(self, params: model.Params, wanted: Callable[[], bool] = lambda: True) -> Evaluation | None:
        """Score the weights: every token of the validation documents is predicted exactly once.

        Args:
            wanted: asked before each forward pass; None is returned as soon as it says no.
        """
        nats, hits = 0.0, 0
        for batch in self._batches():
            if not wanted():
                return None
            more_nats, more_hits = self._score_batch(params, *(tf.constant(array) for array in batch))
            nats, hits = nats + float(more_nats), hits + int(more_hits)
        count = len(self._stream) - 1
        return Evaluation(nats / count, nats / math.log(2) / self._num_bytes, hits / count)

    def _batches(
        self,
    ) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32]]]:
        """Inputs, targets and weights, each [B, T]; padding has weight 0, so that one shape is compiled."""
        count = len(self._stream) - 1
        size = self._batch_size * self._context
        for start in range(0, count, size):
            piece = self._stream[start : start + size + 1]
            padded = np.zeros(size + 1, np.int32)
            padded[: len(piece)] = piece
            weights = (np.arange(size) < len(piece) - 1).astype(np.float32)
            shape = (self._batch_size, self._context)
            yield padded[:-1].reshape(shape), padded[1:].reshape(shape), weights.reshape(shape)

    def _score(
        self, params: model.Params, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Nats of a batch, and how many of its targets were the likeliest token; padding counts in neither."""
        logits = tf.cast(model.forward(params, inputs, self._config, compute_dtype=self._compute_dtype), tf.float32)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)  # [B, T]
        hits = (tf.argmax(logits, axis=-1, output_type=tf.int32) == targets) & (weights > 0)
        return tf.reduce_sum(tf.cast(nats * weights, tf.float64)), tf.reduce_sum(tf.cast(hits, tf.int64))

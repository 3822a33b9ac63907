"""The output layer and its loss as one, with its gradient by hand: the largest product and the largest arrays.

In: the last hidden states, the token embedding, targets. Out: nats per token. The vocabulary is walked in
chunks. Only the logits are kept, in the type of the products; nothing of [N, V] is ever float32 beside them.

C channels, V vocabulary, W words of a chunk, N rows.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import tensorflow as tf

from services.gpt2.gradients import custom_gradient, fused

# One product over the whole vocabulary (50257, an odd number) ran at half the speed of products over such chunks.
CHUNK = 8192
STRIPS = 8


@fused
def _normaliser(logits: tf.Tensor) -> tf.Tensor:
    """log sum exp of each row. [N, W] -> float32 [N]"""
    # Rows are folded into strips first, number by number: XLA sums along a row one number at a time.
    logits = tf.cast(logits, tf.float32)
    strips = tf.split(logits, STRIPS, axis=1) if logits.shape[1] and logits.shape[1] % STRIPS == 0 else [logits]
    highest = reduce(tf.maximum, strips)  # [N, W / STRIPS]
    largest = tf.reduce_max(highest, axis=1, keepdims=True)  # [N, 1]
    total = reduce(tf.add, [tf.exp(strip - highest) for strip in strips])  # [N, W / STRIPS]
    return largest[:, 0] + tf.math.log(tf.reduce_sum(total * tf.exp(highest - largest), axis=1))


@fused
def _dlogits(
    logits: tf.Tensor, normaliser: tf.Tensor, targets: tf.Tensor, dy: tf.Tensor, peak: float, floor: float
) -> tf.Tensor:
    """The gradient of nats by a chunk's logits. [N, W], 3 x [N] -> [N, W], rounded once.

    Args:
        targets: counted from the chunk's first word; those of other chunks are out of its range.
        peak, floor: what is wanted at the target, beside what is wanted everywhere.
    """
    shares = tf.exp(tf.cast(logits, tf.float32) - normaliser[:, None])
    wanted = tf.where(tf.range(tf.shape(logits)[1]) == targets[:, None], peak + floor, floor)
    return tf.cast((shares - wanted) * dy[:, None], logits.dtype)


def cross_entropy(
    h: tf.Tensor, wte: tf.Tensor, targets: tf.Tensor, label_smoothing: float = 0.0, chunk: int = CHUNK
) -> tf.Tensor:
    """-log softmax(h wte^T)[target] of each row, in nats. [N, C], [V, C], int32 [N] -> float32 [N]

    Args:
        h: in the type of the products, tf.float32 or tf.bfloat16.
        label_smoothing: share of each target that is spread evenly over the vocabulary, 0 to below 1.
        chunk: words per chunk.
    """

    @custom_gradient
    def call(h: tf.Tensor, wte: tf.Tensor) -> Any:
        V = wte.shape[0]
        firsts = range(0, V, chunk)
        words = [tf.cast(wte[first : first + chunk], h.dtype) for first in firsts]  # [W, C] each
        logits = [tf.matmul(h, each, transpose_b=True) for each in words]  # [N, W] each
        normaliser = tf.reduce_logsumexp(tf.stack([_normaliser(each) for each in logits]), axis=0)  # [N]
        nats = normaliser
        for first, each in zip(firsts, logits, strict=True):
            here = tf.clip_by_value(targets - first, 0, each.shape[1] - 1)
            at = tf.cast(tf.gather(each, here, batch_dims=1), tf.float32)  # [N]
            nats -= tf.where(here == targets - first, (1 - label_smoothing) * at, 0.0)
        if label_smoothing:
            mean_word = tf.reduce_mean(tf.cast(wte, tf.float32), axis=0)  # [C]; its logit is the mean of all logits
            nats -= label_smoothing * tf.linalg.matvec(tf.cast(h, tf.float32), mean_word)

        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            dh, dwte = [], []
            for first, word, each in zip(firsts, words, logits, strict=True):
                dlogits = _dlogits(
                    each, normaliser, targets - first, dy, 1 - label_smoothing, label_smoothing / V
                )  # [N, W]
                dh.append(tf.cast(tf.matmul(dlogits, word), tf.float32))  # [N, C]
                dwte.append(tf.matmul(dlogits, h, transpose_a=True))  # [W, C]
            return tf.cast(tf.add_n(dh), h.dtype), tf.cast(tf.concat(dwte, 0), wte.dtype)

        return nats, gradient

    return call(h, wte)

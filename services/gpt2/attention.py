"""Causal self-attention with its gradient by hand, in tiles, so that most of the future is never computed.

In: queries, keys and values. Out: their mixture. A tile is a stretch of queries against all keys up to its end:
with tiles of 256 a row of 1024 tokens takes five eighths of the products, and the weights kept for the
gradient are as much less. Knows nothing of weights' names or of blocks: see model.py.

B batch, T time, H heads, D head size, Q queries of a tile, S keys of a tile (all up to its last query).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from services.gpt2.gradients import custom_gradient, fused

MASKED = -1e10  # OpenAI's: far below any score
TILE = 256

TileDrop = Callable[[tf.Tensor, int], tf.Tensor]  # dropout of a tile's weights, by the tile's number


@fused
def _heads(qkv: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """[B, T, 3, H, D] -> scaled queries, keys, values, each [B, H, T, D]"""
    q, k, v = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))
    return q * tf.cast(qkv.shape[4] ** -0.5, q.dtype), k, v  # here, not on the scores: T/D times fewer numbers


@fused
def _hide(scores: tf.Tensor, segments: tf.Tensor | None, start: int) -> tf.Tensor:
    """Put what is not to be seen far below: the future, and other documents. [B, H, Q, S] -> [B, H, Q, S]"""
    Q, S = tf.shape(scores)[2], tf.shape(scores)[3]
    seen = tf.range(S) <= start + tf.range(Q)[:, None]  # [Q, S]
    if segments is not None:
        mine = segments[:, start : start + Q]
        seen = seen & (mine[:, :, None] == segments[:, None, :S])[:, None]  # [B, 1, Q, S]
    return tf.where(seen, scores, tf.cast(MASKED, scores.dtype))


@fused
def _dscores(weights: tf.Tensor, dweights: tf.Tensor, mixed: tf.Tensor, dmixed: tf.Tensor) -> tf.Tensor:
    """The gradient of softmax. 2 x [B, H, Q, S], 2 x [B, H, Q, D] -> [B, H, Q, S]"""
    # It needs sum(weights * dweights) per row, which equals sum(mixed * dmixed).
    row = tf.reduce_sum(tf.cast(mixed, tf.float32) * tf.cast(dmixed, tf.float32), -1, keepdims=True)
    return tf.cast(tf.cast(weights, tf.float32) * (tf.cast(dweights, tf.float32) - row), weights.dtype)


@fused
def _join(dq: Sequence[tf.Tensor], dk: Sequence[tf.Tensor], dv: Sequence[tf.Tensor]) -> tf.Tensor:
    """Sum over tiles. Per tile [B, H, Q, D] and 2 x [B, H, S, D] -> [B, T, 3, H, D]"""
    dtype, T = dq[0].dtype, tf.shape(dk[-1])[2]
    queries = tf.cast(tf.concat(dq, 2), tf.float32)
    queries *= dq[0].shape[3] ** -0.5

    def total(parts: Sequence[tf.Tensor]) -> tf.Tensor:
        ends = [[0, 0], [0, 0], [0, 0], [0, 0]]
        padded = []
        for part in parts:
            ends[2] = [0, T - tf.shape(part)[2]]
            padded.append(tf.pad(tf.cast(part, tf.float32), ends))
        return tf.add_n(padded)

    return tf.cast(tf.transpose(tf.stack([queries, total(dk), total(dv)]), [1, 3, 0, 2, 4]), dtype)


def attention(
    qkv: tf.Tensor, drop: TileDrop | None = None, segments: tf.Tensor | None = None, tile: int = TILE
) -> tf.Tensor:
    """Causal self-attention. [B, T, 3, H, D] -> [B, T, H, D], in the type of `qkv`; softmax in float32.

    Args:
        drop: dropout of the attention weights; linear, and the same for weights and their gradient.
        segments: int32 [B, T], the number of each position's document; positions see their own alone.
        tile: queries per tile. One tile takes all where T is not known when the graph is made.
    """
    T = qkv.shape[1]
    starts = [0] if T is None else list(range(0, T, tile))

    @custom_gradient
    def attend(qkv: tf.Tensor) -> Any:
        q, k, v = _heads(qkv)  # 3 x [B, H, T, D]
        ends = [*starts[1:], tf.shape(q)[2] if T is None else T]
        tiles = list(zip(range(len(starts)), starts, ends, strict=True))
        kept, mixtures = [], []
        for number, start, end in tiles:
            scores = tf.matmul(q[:, :, start:end], k[:, :, :end], transpose_b=True)  # [B, H, Q, S]
            # oneDNN's softmax computes in float32 and rounds once.
            weights = tf.nn.softmax(_hide(scores, segments, start))  # [B, H, Q, S]
            dropped = drop(weights, number) if drop else weights
            mixtures.append(tf.matmul(dropped, v[:, :, :end]))  # [B, H, Q, D]
            kept.append((weights, dropped))
        mixed = tf.transpose(tf.concat(mixtures, 2), [0, 2, 1, 3])  # [B, T, H, D]

        def gradient(dy: tf.Tensor) -> tf.Tensor:
            dmixed = tf.transpose(dy, [0, 2, 1, 3])  # [B, H, T, D]
            dq, dk, dv = [], [], []
            for (number, start, end), (weights, dropped), mixture in zip(tiles, kept, mixtures, strict=True):
                dmixture = dmixed[:, :, start:end]  # [B, H, Q, D]
                dv.append(tf.matmul(dropped, dmixture, transpose_a=True))  # [B, H, S, D]
                dweights = tf.matmul(dmixture, v[:, :, :end], transpose_b=True)  # [B, H, Q, S]
                if drop:
                    dweights = drop(dweights, number)
                dscores = _dscores(weights, dweights, mixture, dmixture)  # [B, H, Q, S]
                dq.append(tf.matmul(dscores, k[:, :, :end]))  # [B, H, Q, D]
                dk.append(tf.matmul(dscores, q[:, :, start:end], transpose_a=True))  # [B, H, S, D]; q holds the scale
            return _join(dq, dk, dv)

        return mixed, gradient

    return attend(qkv)

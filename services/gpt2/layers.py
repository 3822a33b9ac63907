"""The parts of GPT-2 whose gradients are written by hand: fewer passes over memory than TensorFlow's own.

On CPUs with bfloat16 matrix products the rest is what training waits for. A test holds each gradient to the
one that TensorFlow derives. Everything but matrix products is computed in float32, whatever comes in.
Knows nothing of weights' names or of blocks: see model.py.

B batch, T time, H heads, D head size, C channels, V vocabulary, N any number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

import numpy as np
import tensorflow as tf

LN_EPSILON = 1e-5
MASKED = -1e10  # OpenAI's: far below any score

# tanh GELU is x * sigmoid(2u) with u = sqrt(2/pi) * (x + 0.044715 x^3), since (1 + tanh u) / 2 = sigmoid(2u).
_GELU_1 = np.float32(2 * np.sqrt(2 / np.pi))
_GELU_3 = np.float32(2 * np.sqrt(2 / np.pi) * 0.044715)

_inference = ContextVar("inference", default=False)

Drop = Callable[[tf.Tensor], tf.Tensor]  # linear, and the same on each call: dropout with a fixed seed


def keep(x: tf.Tensor) -> tf.Tensor:
    """Drop nothing."""
    return x


@contextmanager
def inference() -> Iterator[None]:
    """What is traced within has no gradients of ours.

    TensorFlow keeps each gradient function that a trace makes for ever, with it the graph, and with it the
    weights that the graph has captured. A model that is served and then unloaded would never be freed.
    """
    before = _inference.set(True)
    try:
        yield
    finally:
        _inference.reset(before)


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """As tf.custom_gradient; within `inference` the values alone."""
    with_gradient: Callable[..., Any] = tf.custom_gradient(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        return function(*arguments)[0] if _inference.get() else with_gradient(*arguments)

    return call


@custom_gradient
def embed(wte: tf.Tensor, ids: tf.Tensor) -> Any:
    """Look up token embeddings: [V, C], int32 [B, T] -> [B, T, C].

    Its gradient is dense. TensorFlow's own would be IndexedSlices, and since the output layer shares the
    array, the sum of both would be V + B*T slices whose norm is not the gradient's norm.
    """

    def gradient(dx: tf.Tensor) -> tuple[tf.Tensor, None]:
        return tf.math.unsorted_segment_sum(dx, ids, tf.shape(wte)[0]), None

    return tf.gather(wte, ids), gradient


@custom_gradient
def norm(x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor) -> Any:
    """Layer normalisation of the last axis. float32 [N, C], [C], [C] -> [N, C]"""
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + LN_EPSILON)  # [N, 1]
    normed = centred * scale  # [N, C]

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        along = dy * normed
        dnormed = dy * gain
        mean = tf.reduce_mean(dnormed, axis=-1, keepdims=True)  # [N, 1]
        slope = tf.reduce_mean(dnormed * normed, axis=-1, keepdims=True)  # [N, 1]
        dx = scale * (dnormed - mean - normed * slope)
        return dx, tf.reduce_sum(along, axis=0), tf.reduce_sum(dy, axis=0)

    return normed * gain + bias, gradient


@custom_gradient
def gelu(x: tf.Tensor) -> Any:
    """GELU in its tanh form (Hendrycks and Gimpel 2016), as GPT-2 was trained with. Any shape and float."""
    x32 = tf.cast(x, tf.float32)
    square = tf.square(x32)
    share = tf.sigmoid(x32 * (_GELU_3 * square + _GELU_1))

    def gradient(dy: tf.Tensor) -> tf.Tensor:
        slope = x32 * (3 * _GELU_3 * square + _GELU_1)  # x times the derivative of sigmoid's argument
        dshare = tf.raw_ops.SigmoidGrad(y=share, dy=slope)  # slope * share * (1 - share)
        return tf.cast(tf.cast(dy, tf.float32) * (share + dshare), x.dtype)

    return tf.cast(x32 * share, x.dtype), gradient


def attention(qkv: tf.Tensor, drop: Drop = keep) -> tf.Tensor:
    """Causal self-attention. [B, T, 3, H, D] -> [B, T, H, D], in the type of `qkv`; softmax in float32.

    Args:
        drop: dropout of the attention weights, given in float32 (in bfloat16 chances come in steps of 1/128).
    """

    @custom_gradient
    def attend(qkv: tf.Tensor) -> Any:
        T, D = tf.shape(qkv)[1], qkv.shape[4]
        future = tf.linalg.band_part(tf.fill([T, T], MASKED), 0, -1)  # upper triangle and diagonal
        future = tf.linalg.set_diag(future, tf.zeros([T]))  # [T, T]
        scale = tf.cast(D**-0.5, qkv.dtype)
        q, k, v = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))  # 3 x [B, H, T, D]
        q *= scale  # here, not on the scores: T/D times fewer numbers
        scores = tf.cast(tf.matmul(q, k, transpose_b=True), tf.float32) + future  # [B, H, T, T]
        shares = tf.nn.softmax(scores)  # [B, H, T, T]
        weights, dropped = tf.cast(shares, qkv.dtype), tf.cast(drop(shares), qkv.dtype)
        mixed = tf.matmul(dropped, v)  # [B, H, T, D]

        def gradient(dy: tf.Tensor) -> tf.Tensor:
            dmixed = tf.transpose(dy, [0, 2, 1, 3])  # [B, H, T, D]
            dv = tf.matmul(dropped, dmixed, transpose_a=True)  # [B, H, T, D]
            dweights = drop(tf.cast(tf.matmul(dmixed, v, transpose_b=True), tf.float32))  # [B, H, T, T]
            # Softmax's gradient needs sum(weights * dweights) per row, which equals sum(mixed * dmixed).
            row = tf.reduce_sum(tf.cast(mixed, tf.float32) * tf.cast(dmixed, tf.float32), -1, keepdims=True)
            dscores = tf.cast(tf.cast(weights, tf.float32) * (dweights - row), qkv.dtype)  # [B, H, T, T]
            dq = tf.matmul(dscores, k) * scale  # [B, H, T, D]
            dk = tf.matmul(dscores, q, transpose_a=True)  # [B, H, T, D]; q holds the scale
            return tf.transpose(tf.stack([dq, dk, dv]), [1, 3, 0, 2, 4])  # [B, T, 3, H, D]

        return tf.transpose(mixed, [0, 2, 1, 3]), gradient

    return attend(qkv)


@custom_gradient
def cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> Any:
    """-log softmax(logits)[target] of each row, in nats. [N, V], int32 [N] -> float32 [N]"""
    logits32 = tf.cast(logits, tf.float32)
    shares = tf.nn.softmax(logits32)  # [N, V]
    at = tf.stack([tf.range(tf.shape(targets)[0]), targets], axis=1)  # [N, 2]
    # log sum exp from any entry: logit - log(share). The largest one's share is at least 1/V.
    normaliser = tf.reduce_max(logits32, axis=1) - tf.math.log(tf.reduce_max(shares, axis=1))  # [N]

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, None]:
        dlogits = tf.tensor_scatter_nd_sub(shares, at, tf.ones_like(dy)) * dy[:, None]  # [N, V]
        return tf.cast(dlogits, logits.dtype), None

    return normaliser - tf.gather_nd(logits32, at), gradient

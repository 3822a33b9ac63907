"""The parts of GPT-2 whose gradients are written by hand: fewer passes over memory than TensorFlow's own.

On CPUs with bfloat16 matrix products the rest is what training waits for. A test holds each gradient to the
one that TensorFlow derives. Everything but matrix products is computed in float32, whatever comes in.
Knows nothing of weights' names or of blocks: see model.py. Attention is in attention.py, the output layer with
its loss in cross_entropy.py.

C channels, F features of a linear layer, V vocabulary, B batch, T time, N any number of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from services.gpt2.gradients import custom_gradient, fused

LN_EPSILON = 1e-5

# tanh GELU is x * sigmoid(2u) with u = sqrt(2/pi) * (x + 0.044715 x^3), since (1 + tanh u) / 2 = sigmoid(2u).
_GELU_1 = np.float32(2 * np.sqrt(2 / np.pi))
_GELU_3 = np.float32(2 * np.sqrt(2 / np.pi) * 0.044715)

Drop = Callable[[tf.Tensor], tf.Tensor]  # linear, and the same on each call: dropout with a fixed seed


def keep(x: tf.Tensor) -> tf.Tensor:
    """Drop nothing."""
    return x


@custom_gradient
def embed(wte: tf.Tensor, ids: tf.Tensor) -> Any:
    """Look up token embeddings: [V, C], int32 [B, T] -> [B, T, C].

    Its gradient is dense. TensorFlow's own would be IndexedSlices, and since the output layer shares the
    array, the sum of both would be V + B*T slices whose norm is not the gradient's norm.
    """

    def gradient(dx: tf.Tensor) -> tuple[tf.Tensor, None]:
        return tf.math.unsorted_segment_sum(dx, ids, tf.shape(wte)[0]), None

    return tf.gather(wte, ids), gradient


@fused
def _standardise(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """x less its mean over its deviation, and one over the deviation. [N, C] -> [N, C], [N, 1]"""
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + LN_EPSILON)
    return centred * scale, scale


@fused
def _norm(x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    normed, _ = _standardise(x)
    return tf.cast(normed * gain + bias, dtype)


@fused
def _norm_gradient(x: tf.Tensor, gain: tf.Tensor, dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    normed, scale = _standardise(x)
    dy = tf.cast(dy, tf.float32)
    dnormed = dy * gain
    mean = tf.reduce_mean(dnormed, axis=-1, keepdims=True)  # [N, 1]
    slope = tf.reduce_mean(dnormed * normed, axis=-1, keepdims=True)  # [N, 1]
    return scale * (dnormed - mean - normed * slope), dy * normed, dy


def norm(x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Layer normalisation of the last axis. float32 [N, C], [C], [C] -> `dtype` [N, C]"""

    @custom_gradient
    def call(x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor) -> Any:
        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            dx, along, dy = _norm_gradient(x, gain, dy)
            return dx, tf.reduce_sum(along, axis=0), tf.reduce_sum(dy, axis=0)

        return _norm(x, gain, bias, dtype), gradient

    return call(x, gain, bias)


@fused
def _gelu(x: tf.Tensor) -> tf.Tensor:
    x32 = tf.cast(x, tf.float32)
    return tf.cast(x32 * tf.sigmoid(x32 * (_GELU_3 * tf.square(x32) + _GELU_1)), x.dtype)


@fused
def _gelu_gradient(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
    x32 = tf.cast(x, tf.float32)
    square = tf.square(x32)
    share = tf.sigmoid(x32 * (_GELU_3 * square + _GELU_1))
    slope = x32 * (3 * _GELU_3 * square + _GELU_1)  # x times the derivative of sigmoid's argument
    return tf.cast(tf.cast(dy, tf.float32) * (share + slope * share * (1 - share)), x.dtype)


@custom_gradient
def gelu(x: tf.Tensor) -> Any:
    """GELU in its tanh form (Hendrycks and Gimpel 2016), as GPT-2 was trained with. Any shape and float."""
    return _gelu(x), lambda dy: _gelu_gradient(x, dy)


@custom_gradient
def affine(x: tf.Tensor, w: tf.Tensor, b: tf.Tensor) -> Any:
    """x w + b, computed and returned in the type of `x`. [N, C], float32 [C, F], float32 [F] -> [N, F]"""
    low = tf.cast(w, x.dtype)  # once a step: the gradient uses it too

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        dx = tf.matmul(dy, low, transpose_b=True)  # [N, C]
        dw = tf.matmul(x, dy, transpose_a=True)  # [C, F]
        db = tf.matmul(tf.ones([1, tf.shape(dy)[0]], dy.dtype), dy)  # [1, F]: a product reads faster than a sum
        return dx, tf.cast(dw, tf.float32), tf.cast(db[0], tf.float32)

    return tf.nn.bias_add(tf.matmul(x, low), tf.cast(b, x.dtype)), gradient


@fused
def _add(x: tf.Tensor, h: tf.Tensor) -> tf.Tensor:
    return x + tf.cast(h, tf.float32)


@custom_gradient
def add(x: tf.Tensor, h: tf.Tensor) -> Any:
    """Add to the residual stream. float32 [N, C], any float [N, C] -> float32 [N, C]"""
    return _add(x, h), lambda dy: (dy, tf.cast(dy, h.dtype))

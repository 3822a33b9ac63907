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

_PHILOX = 1  # by its number: what is chosen by default depends on the device and on XLA
_FIRST = np.zeros(2, np.uint64)  # of Philox's counter

Drop = Callable[[tf.Tensor], tf.Tensor]  # linear, and the same on each call: dropout with a fixed seed


def keep(x: tf.Tensor) -> tf.Tensor:
    """Drop nothing."""
    return x


@fused
def _drop(x: tf.Tensor, chances: tf.Tensor, rate: float) -> tf.Tensor:
    return tf.where(chances < rate, tf.zeros_like(x), tf.cast(tf.cast(x, tf.float32) / (1 - rate), x.dtype))


def drop_out(x: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Zero a share of the numbers and divide the others by what is left. Any shape and float -> the same

    Few operations: TensorFlow's own dropout is fifty, and a deep model took minutes to trace. What is drawn is
    drawn again for the gradient, and not kept.

    Args:
        rate: the share, 0 to below 1.
        seed: int32 [2]; the same seed drops the same numbers on every device. Seeds that differ by one draw
            independently: they are keys of Philox (Salmon et al. 2011).
    """

    def dropped(x: tf.Tensor) -> tf.Tensor:
        # Not before it is needed: draws depend on nothing else, and could all be held from the start.
        with tf.control_dependencies([x]):
            key = tf.reshape(tf.bitcast(seed, tf.uint64), [1])
        return _drop(
            x, tf.raw_ops.StatelessRandomUniformV2(shape=tf.shape(x), key=key, counter=_FIRST, alg=_PHILOX), rate
        )

    @custom_gradient
    def call(x: tf.Tensor) -> Any:
        return dropped(x), dropped

    return call(x)


@custom_gradient
def tie(wte: tf.Tensor, copy: tf.Tensor) -> Any:
    """Return the token embedding twice, to look up in and for the output layer. 2 x [V, C] -> 2 x [V, C]

    The gradient of the look-up is rows, that of the output layer the whole array: the rows are added to it. TensorFlow
    would make V + B*T rows of both, whose norm is not the gradient's norm.

    Args:
        wte: float32; the gradient is its.
        copy: the same in the type of the products, which the output layer reads.
    """

    def gradient(rows: Any, dwte: tf.Tensor) -> tuple[tf.Tensor, None]:
        dwte = tf.cast(dwte, tf.float32)
        if isinstance(rows, tf.IndexedSlices):
            return tf.tensor_scatter_nd_add(dwte, rows.indices[:, None], rows.values), None
        return dwte + rows, None

    return (tf.identity(wte), tf.identity(copy)), gradient


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


@fused  # also since TensorFlow makes one oneDNN call of a product and its bias, which runs at half the speed
def _add_bias(y: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(y, tf.cast(b, y.dtype))


@custom_gradient
def affine(x: tf.Tensor, w: tf.Tensor, b: tf.Tensor) -> Any:
    """x w + b, computed and returned in the type of `x`. [N, C], [C, F], [F] -> [N, F]; gradients in their own types"""
    low = tf.cast(w, x.dtype)  # once a step: the gradient uses it too

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        dx = tf.matmul(dy, low, transpose_b=True)  # [N, C]
        dw = tf.matmul(x, dy, transpose_a=True)  # [C, F]
        db = tf.matmul(tf.ones([1, tf.shape(dy)[0]], dy.dtype), dy)  # [1, F]: a product reads faster than a sum
        return dx, tf.cast(dw, w.dtype), tf.cast(db[0], b.dtype)

    return _add_bias(tf.matmul(x, low), b), gradient


@fused
def _add(x: tf.Tensor, h: tf.Tensor) -> tf.Tensor:
    return x + tf.cast(h, tf.float32)


@custom_gradient
def add(x: tf.Tensor, h: tf.Tensor) -> Any:
    """Add to the residual stream. float32 [N, C], any float [N, C] -> float32 [N, C]"""
    return _add(x, h), lambda dy: (dy, tf.cast(dy, h.dtype))

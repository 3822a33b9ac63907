"""Gradients written by hand equal those that TensorFlow derives from the plain formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from services.gpt2 import layers

RNG = np.random.default_rng(8)


def normal(*shape: int) -> tf.Tensor:
    """Random float32 numbers."""
    return tf.constant(RNG.normal(0, 2, shape), tf.float32)


def drop(x: tf.Tensor) -> tf.Tensor:
    """Dropout with a fixed seed."""
    return tf.nn.experimental.stateless_dropout(x, 0.3, [1, 2])


def plain_norm(x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Layer normalisation as its definition reads."""
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-5) * gain + bias


def plain_attention(qkv: tf.Tensor, drop: layers.Drop) -> tf.Tensor:
    """Causal attention as its definition reads, with explicit sums."""
    q, k, v = tf.unstack(qkv, axis=2)  # 3 x [B, T, H, D]
    scores = tf.einsum("bthd,bshd->bhts", q, k) / np.sqrt(qkv.shape[4])
    past = np.tril(np.ones([qkv.shape[1]] * 2, bool))
    weights = drop(tf.nn.softmax(tf.where(past, scores, -np.inf)))
    return tf.einsum("bhts,bshd->bthd", weights, v)


CASES: dict[str, tuple[Callable[..., tf.Tensor], Callable[..., tf.Tensor], list[tf.Tensor]]] = {
    "norm": (layers.norm, plain_norm, [normal(7, 12), normal(12), normal(12)]),
    "gelu": (layers.gelu, lambda x: tf.nn.gelu(x, approximate=True), [normal(9, 5)]),
    "embed": (
        lambda wte: layers.embed(wte, tf.constant([[1, 3, 1], [0, 3, 3]])),
        lambda wte: tf.gather(wte, [[1, 3, 1], [0, 3, 3]]),
        [normal(6, 4)],
    ),
    "attention": (
        layers.attention,
        lambda qkv: plain_attention(qkv, layers.keep),
        [normal(2, 6, 3, 2, 5)],
    ),
    "attention with dropout": (
        lambda qkv: layers.attention(qkv, drop),
        lambda qkv: plain_attention(qkv, drop),
        [normal(2, 6, 3, 2, 5)],
    ),
    "cross entropy": (
        lambda logits: layers.cross_entropy(logits, tf.constant([3, 0, 8, 3])),
        lambda logits: tf.nn.sparse_softmax_cross_entropy_with_logits([3, 0, 8, 3], logits),
        [normal(4, 9)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_those_of_the_plain_formula(case: str) -> None:
    ours, plain, inputs = CASES[case]
    results = []

    for function in (ours, plain):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = function(*inputs)
            total = tf.reduce_sum(value * tf.random.stateless_normal(value.shape, [5, 6]))
        results.append([value, *map(tf.convert_to_tensor, tape.gradient(total, inputs))])

    for mine, expected in zip(*results, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5)


def test_cross_entropy_stays_finite_and_exact_for_extreme_logits() -> None:
    logits = tf.constant([[1e4, 0.0, -1e4], [0.0, 0.0, 1e4]])

    np.testing.assert_allclose(layers.cross_entropy(logits, tf.constant([2, 2])), [2e4, 0.0])


def test_bfloat16_in_gives_bfloat16_out_near_float32() -> None:
    qkv, x = normal(2, 6, 3, 2, 5), normal(4, 8)

    for function, value in ((layers.attention, qkv), (layers.gelu, x)):
        low = function(tf.cast(value, tf.bfloat16))
        assert low.dtype == tf.bfloat16
        np.testing.assert_allclose(tf.cast(low, tf.float32), function(value), rtol=0.05, atol=0.05)

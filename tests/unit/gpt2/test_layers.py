"""Gradients written by hand equal those that TensorFlow derives from the plain formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from services.gpt2 import gradients, layers
from services.gpt2.attention import attention
from services.gpt2.cross_entropy import cross_entropy

RNG = np.random.default_rng(8)


def normal(*shape: int) -> tf.Tensor:
    """Random float32 numbers."""
    return tf.constant(RNG.normal(0, 2, shape), tf.float32)


def drop(x: tf.Tensor, tile: int = 0) -> tf.Tensor:
    """Dropout with a fixed seed, another one for each tile."""
    return tf.nn.experimental.stateless_dropout(x, 0.3, [1, tile])


def plain_norm(x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Layer normalisation as its definition reads."""
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-5) * gain + bias


def plain_attention(qkv: tf.Tensor, segments: list[list[int]] | None = None) -> tf.Tensor:
    """Causal attention as its definition reads, with explicit sums."""
    q, k, v = tf.unstack(qkv, axis=2)  # 3 x [B, T, H, D]
    scores = tf.einsum("bthd,bshd->bhts", q, k) / np.sqrt(qkv.shape[4])
    seen = np.tril(np.ones([qkv.shape[1]] * 2, bool))
    if segments is not None:
        numbers = np.array(segments)
        seen = seen & (numbers[:, :, None] == numbers[:, None, :])[:, None]
    return tf.einsum("bhts,bshd->bthd", tf.nn.softmax(tf.where(seen, scores, -np.inf)), v)


def plain_dropped_attention(qkv: tf.Tensor, tile: int) -> tf.Tensor:
    """Causal attention with dropout of its weights, drawn tile by tile."""
    q, k, v = tf.unstack(qkv, axis=2)  # 3 x [B, T, H, D]
    rows = []
    for number, start in enumerate(range(0, qkv.shape[1], tile)):
        end = min(start + tile, qkv.shape[1])
        scores = tf.einsum("bthd,bshd->bhts", q[:, start:end], k[:, :end]) / np.sqrt(qkv.shape[4])
        seen = np.arange(end) <= np.arange(start, end)[:, None]
        rows.append(
            tf.einsum("bhts,bshd->bthd", drop(tf.nn.softmax(tf.where(seen, scores, -np.inf)), number), v[:, :end])
        )
    return tf.concat(rows, 1)


def plain_cross_entropy(h: tf.Tensor, wte: tf.Tensor, smoothing: float) -> tf.Tensor:
    """-sum(target distribution * log softmax), the target's part spread over the vocabulary."""
    wanted = tf.one_hot(TARGETS, 9) * (1 - smoothing) + smoothing / 9
    return -tf.reduce_sum(wanted * tf.nn.log_softmax(tf.matmul(h, wte, transpose_b=True)), -1)


def look_up_and_multiply(wte: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
    """First and last layer with nothing between. 2 x [V, C] -> [B, T, V]"""
    return tf.matmul(tf.gather(wte, [[1, 3, 1], [0, 3, 3]]), words, transpose_b=True)


TARGETS = tf.constant([3, 0, 8, 3])
SEGMENTS = [[0, 0, 1, 1, 1, 2], [5, 5, 5, 5, 4, 5]]
QKV = normal(2, 6, 3, 2, 5)
Case = tuple[Callable[..., tf.Tensor], Callable[..., tf.Tensor], list[tf.Tensor]]
CASES: dict[str, Case] = {
    "norm": (layers.norm, plain_norm, [normal(7, 12), normal(12), normal(12)]),
    "gelu": (layers.gelu, lambda x: tf.nn.gelu(x, approximate=True), [normal(9, 5)]),
    "affine": (layers.affine, lambda x, w, b: tf.matmul(x, w) + b, [normal(7, 3), normal(3, 5), normal(5)]),
    "add": (layers.add, lambda x, h: x + h, [normal(7, 3), normal(7, 3)]),
    "tied embeddings": (
        lambda wte: look_up_and_multiply(*layers.tie(wte, wte)),
        lambda wte: look_up_and_multiply(wte, wte),
        [normal(6, 4)],
    ),
    "tied embeddings that are not looked up": (
        lambda wte: layers.tie(wte, wte)[1] * 2,
        lambda wte: wte * 2,
        [normal(6, 4)],
    ),
    "dropout": (
        lambda x: layers.drop_out(x, 0.3, tf.constant([1, 2])),
        lambda x: x * layers.drop_out(tf.ones_like(x), 0.3, tf.constant([1, 2])),
        [normal(7, 12)],
    ),
    "attention": (attention, plain_attention, [QKV]),
    "attention in tiles": (lambda qkv: attention(qkv, tile=2), plain_attention, [QKV]),
    "attention in tiles of unlike size": (lambda qkv: attention(qkv, tile=4), plain_attention, [QKV]),
    "attention with dropout": (
        lambda qkv: attention(qkv, drop),
        lambda qkv: plain_dropped_attention(qkv, 6),
        [QKV],
    ),
    "attention with dropout in tiles": (
        lambda qkv: attention(qkv, drop, tile=4),
        lambda qkv: plain_dropped_attention(qkv, 4),
        [QKV],
    ),
    "attention within documents": (
        lambda qkv: attention(qkv, segments=tf.constant(SEGMENTS)),
        lambda qkv: plain_attention(qkv, SEGMENTS),
        [QKV],
    ),
    "attention within documents in tiles": (
        lambda qkv: attention(qkv, segments=tf.constant(SEGMENTS), tile=4),
        lambda qkv: plain_attention(qkv, SEGMENTS),
        [QKV],
    ),
    "cross entropy": (
        lambda h, wte: cross_entropy(h, wte, TARGETS),
        lambda h, wte: plain_cross_entropy(h, wte, 0.0),
        [normal(4, 3), normal(9, 3)],
    ),
    "cross entropy in chunks of strips": (
        lambda h, wte: cross_entropy(h, wte, TARGETS, chunk=8),
        lambda h, wte: plain_cross_entropy(h, wte, 0.0),
        [normal(4, 3), normal(9, 3)],
    ),
    "cross entropy in chunks, smoothed": (
        lambda h, wte: cross_entropy(h, wte, TARGETS, 0.2, chunk=4),
        lambda h, wte: plain_cross_entropy(h, wte, 0.2),
        [normal(4, 3), normal(9, 3)],
    ),
}


@pytest.mark.parametrize("how", ["eager", "compiled"])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_those_of_the_plain_formula(
    case: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled with loops fused, whatever their size."""
    monkeypatch.setattr(gradients, "FUSED_FROM", 0)
    ours, plain, inputs = CASES[case]
    results = []

    for function in (ours, plain):

        def compute(inputs: list[tf.Tensor], function: Callable[..., tf.Tensor] = function) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                value = function(*inputs)
                total = tf.reduce_sum(value * tf.random.stateless_normal(value.shape, [5, 6]))
            return [value, *map(tf.convert_to_tensor, tape.gradient(total, inputs))]

        results.append((tf.function(compute) if how == "compiled" else compute)(inputs))

    for mine, expected in zip(*results, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5)


def test_dropout_keeps_the_mean_and_draws_by_its_seed_alone() -> None:
    x = tf.ones([1000, 100])
    dropped = layers.drop_out(x, 0.3, tf.constant([5, 7])).numpy()
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    assert dropped.mean() == pytest.approx(1, abs=0.01)
    low = layers.drop_out(tf.cast(x, tf.bfloat16), 0.3, tf.constant([5, 7]))
    np.testing.assert_array_equal(low.numpy() > 0, dropped > 0)
    others = [layers.drop_out(x, 0.3, tf.constant(seed)).numpy() for seed in ([6, 7], [5, 8], [7, 5])]
    for other in others:  # independent: both drop 9 of 100 numbers
        assert ((dropped == 0) & (other == 0)).mean() == pytest.approx(0.09, abs=0.005)


def test_cross_entropy_stays_finite_and_exact_for_extreme_logits() -> None:
    wte = tf.constant([[1e4], [0.0], [-1e4]])

    for chunk in (1, 3):
        np.testing.assert_allclose(
            cross_entropy(tf.constant([[1.0], [-1.0]]), wte, tf.constant([2, 2]), chunk=chunk), [2e4, 0]
        )


def test_a_future_of_any_size_changes_nothing() -> None:
    changed = tf.tensor_scatter_nd_update(QKV, [[0, 5], [1, 5]], tf.fill([2, 3, 2, 5], 1e6))

    for tile in (2, 4, 6):
        np.testing.assert_array_equal(attention(QKV, tile=tile)[:, :5], attention(changed, tile=tile)[:, :5])


def test_bfloat16_in_gives_bfloat16_out_near_float32() -> None:
    for function, value in ((attention, QKV), (layers.gelu, normal(4, 8))):
        low = function(tf.cast(value, tf.bfloat16))
        assert low.dtype == tf.bfloat16
        np.testing.assert_allclose(tf.cast(low, tf.float32), function(value), rtol=0.05, atol=0.05)


def test_bfloat16_gradients_of_the_loss_keep_what_is_left_of_a_sure_target() -> None:
    """The target's share less one is rounded after the subtraction, never before."""
    wte = tf.constant([[8.0], [0.0]])
    h = tf.constant([[1.0]], tf.bfloat16)

    with tf.GradientTape() as tape:
        tape.watch(h)
        nats = cross_entropy(h, wte, tf.constant([0]))
    share = 1 / (1 + np.exp(-8.0))

    np.testing.assert_allclose(nats, [-np.log(share)], rtol=0.01)
    np.testing.assert_allclose(tf.cast(tape.gradient(nats, h), tf.float32), [[(share - 1) * 8]], rtol=0.01)

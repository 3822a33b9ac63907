"""The forward pass and the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from services.gpt2.config import FRESH, GPT2Config
from services.gpt2.model import forward, init_params, loss

IDS = np.random.default_rng(3).integers(0, 11, (3, 24), dtype=np.int32)


def test_fresh_weights_have_the_shapes_of_the_config_and_depend_on_the_seed_alone(tiny: GPT2Config) -> None:
    params, again, other = init_params(tiny, 1), init_params(tiny, 1), init_params(tiny, 2)

    assert {name: value.shape for name, value in params.items()} == tiny.shapes
    assert all(value.dtype == np.float32 for value in params.values())
    assert all(np.array_equal(params[name], again[name]) for name in params)
    assert not np.array_equal(params["model/wte"], other["model/wte"])


def test_a_fresh_model_knows_nothing() -> None:
    config = FRESH["nano"]
    ids = np.random.default_rng(0).integers(0, config.n_vocab, (1, 65), dtype=np.int32)

    nats = loss(init_params(config, 0), ids[:, :-1], ids[:, 1:], config)

    assert abs(float(nats) - np.log(config.n_vocab)) < 0.1


def test_logits_depend_on_the_past_only(tiny: GPT2Config, tiny_params: dict[str, np.ndarray]) -> None:
    changed = IDS.copy()
    changed[:, 10:] = (changed[:, 10:] + 1) % 11

    before, after = forward(tiny_params, IDS, tiny), forward(tiny_params, changed, tiny)

    np.testing.assert_array_equal(before[:, :10], after[:, :10])
    assert not np.allclose(before[:, 10:], after[:, 10:])


def test_rows_of_a_batch_do_not_see_each_other(tiny: GPT2Config, tiny_params: dict[str, np.ndarray]) -> None:
    together = forward(tiny_params, IDS, tiny)

    for row in range(3):
        np.testing.assert_allclose(together[row], forward(tiny_params, IDS[row : row + 1], tiny)[0], atol=1e-5)


def test_loss_is_the_mean_negative_log_likelihood(tiny: GPT2Config, tiny_params: dict[str, np.ndarray]) -> None:
    logits = forward(tiny_params, IDS[:, :-1], tiny).numpy().astype(np.float64)
    log_likelihood = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log_likelihood, IDS[:, 1:, None], -1).mean()

    assert float(loss(tiny_params, IDS[:, :-1], IDS[:, 1:], tiny)) == pytest.approx(expected, rel=1e-6)


def test_bfloat16_products_stay_near_float32_and_give_float32_gradients(tiny: GPT2Config) -> None:
    params = {name: tf.Variable(value) for name, value in init_params(tiny, 1).items()}

    with tf.GradientTape() as tape:
        low = loss(params, IDS[:, :-1], IDS[:, 1:], tiny, compute_dtype=tf.bfloat16)
    gradients = tape.gradient(low, params)

    assert float(low) == pytest.approx(float(loss(params, IDS[:, :-1], IDS[:, 1:], tiny)), rel=2e-3)
    assert all(isinstance(each, tf.Tensor) and each.dtype == tf.float32 for each in gradients.values())


def test_the_same_dropout_seed_drops_the_same_values(tiny: GPT2Config, tiny_params: dict[str, np.ndarray]) -> None:
    def logits(seed: int) -> np.ndarray:
        return forward(tiny_params, IDS, tiny, dropout=0.5, dropout_seed=tf.constant([7, seed])).numpy()

    np.testing.assert_array_equal(logits(1), logits(1))
    assert not np.allclose(logits(1), logits(2))
    assert not np.allclose(logits(1), forward(tiny_params, IDS, tiny))


def test_xla_computes_the_same_loss_and_gradient_and_drops_the_same_values(
    tiny: GPT2Config, tiny_params: dict[str, np.ndarray]
) -> None:
    weights = {name: tf.constant(value) for name, value in tiny_params.items()}

    def compute() -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            nats = loss(weights, IDS[:, :-1], IDS[:, 1:], tiny, dropout=0.2, dropout_seed=tf.constant([3, 4]))
        return nats, tape.gradient(nats, weights)

    (plain, gradients), (compiled, others) = compute(), tf.function(compute, jit_compile=True)()

    assert float(plain) == pytest.approx(float(compiled), rel=1e-5)
    for name in weights:
        np.testing.assert_allclose(gradients[name], others[name], rtol=1e-3, atol=1e-5)


def test_the_compiled_forward_equals_the_eager_one_for_any_shape_in_one_trace(
    tiny: GPT2Config, tiny_params: dict[str, np.ndarray]
) -> None:
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def compiled(ids: tf.Tensor) -> tf.Tensor:
        traces.append(1)
        return forward(tiny_params, ids, tiny)

    for ids in (IDS, IDS[:1, :1], IDS[:2, :7]):
        np.testing.assert_allclose(compiled(ids), forward(tiny_params, ids, tiny), atol=1e-5)
    assert len(traces) == 1


def compute(
    params: dict[str, np.ndarray], config: GPT2Config, **options: Any
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The loss of IDS and its gradient, compiled as training compiles them."""
    weights = {name: tf.Variable(value) for name, value in params.items()}

    @tf.function
    def call() -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.GradientTape() as tape:
            nats = loss(weights, IDS[:, :-1], IDS[:, 1:], config, **options)
        return nats, tape.gradient(nats, weights)

    return call()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("compute_dtype", [tf.float32, tf.bfloat16])
def test_gradient_checkpointing_changes_neither_loss_nor_gradient(
    tiny: GPT2Config, tiny_params: dict[str, np.ndarray], dropout: float, compute_dtype: tf.DType
) -> None:
    options = {"dropout": dropout, "dropout_seed": tf.constant([3, 4]), "compute_dtype": compute_dtype}

    kept, kept_gradients = compute(tiny_params, tiny, **options)
    again, gradients = compute(tiny_params, tiny, gradient_checkpointing=True, **options)

    assert float(kept) == pytest.approx(float(again), abs=1e-6)
    for name in tiny_params:
        np.testing.assert_allclose(kept_gradients[name], gradients[name], rtol=0, atol=1e-6)


def test_attention_within_documents_sees_nothing_of_the_others(
    tiny: GPT2Config, tiny_params: dict[str, np.ndarray]
) -> None:
    segments = np.zeros_like(IDS)
    segments[:, 10:] = 1
    changed = IDS.copy()
    changed[:, :10] = (changed[:, :10] + 1) % 11

    before, after = (forward(tiny_params, ids, tiny, segments=segments) for ids in (IDS, changed))

    np.testing.assert_array_equal(before[:, 10:], after[:, 10:])
    np.testing.assert_allclose(before[:, :10], forward(tiny_params, IDS[:, :10], tiny), atol=1e-5)


def test_tokens_of_weight_zero_count_for_nothing(tiny: GPT2Config, tiny_params: dict[str, np.ndarray]) -> None:
    weights = np.ones([3, 23], np.float32)
    weights[:, 15:] = 0

    weighted, gradients = compute(tiny_params, tiny, weights=weights)
    expected = loss(tiny_params, IDS[:, :15], IDS[:, 1:16], tiny)

    assert float(weighted) == pytest.approx(float(expected), rel=1e-5)
    assert not np.any(gradients["model/wpe"][15:])

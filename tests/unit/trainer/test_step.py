"""How a step computes must not change what it computes: accumulation, XLA, float16, padding, checkpointing."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from services.gpt2 import model
from services.trainer.training.batch import Batch, with_noise
from services.trainer.training.loss_scale import GROW_AFTER, LARGEST, LossScale
from tests.unit.trainer.steps import CONFIG, assert_equal, everything, params_of, rows_of, trainer_with


def padded(batch: Batch) -> Batch:
    """The batch, with rows that end early, each elsewhere."""
    lengths = np.arange(len(batch.inputs)) * 2 + 1
    weights = (np.arange(batch.inputs.shape[1]) < lengths[:, None]).astype(np.float32)
    return dataclasses.replace(batch, weights=weights)


def segmented(batch: Batch) -> Batch:
    return dataclasses.replace(batch, segments=np.cumsum(batch.inputs == 3, axis=1, dtype=np.int32))


@pytest.mark.parametrize("change", [lambda batch: batch, padded, segmented])
def test_four_micro_batches_of_one_row_equal_a_batch_of_four(change) -> None:  # type: ignore[no-untyped-def]
    batch = change(rows_of(4))
    whole, parts = trainer_with(optimizer="sgd"), trainer_with(optimizer="sgd", batch_size=1, accumulation=4)
    for step in (1, 2, 3):
        expected, found = whole.step(step, batch, 1e-1), parts.step(step, batch, 1e-1)
        assert found.loss == pytest.approx(expected.loss, abs=1e-5)
        assert found.norm == pytest.approx(expected.norm, abs=1e-5)
    for name, value in whole.params().items():
        np.testing.assert_allclose(parts.params()[name], value, atol=1e-5)


def test_padding_counts_nothing_and_its_ids_do_not_matter() -> None:
    batch = padded(rows_of(4))
    assert batch.weights is not None
    other = dataclasses.replace(
        batch,
        inputs=np.where(batch.weights > 0, batch.inputs, 7).astype(np.int32),
        targets=np.where(batch.weights > 0, batch.targets, 7).astype(np.int32),
    )
    first, second = trainer_with(), trainer_with()
    for step in (1, 2):
        assert first.step(step, batch, 1e-2) == second.step(step, other, 1e-2)
    assert_equal(first, second)


@pytest.mark.parametrize("settings", [{}, {"accumulation": 2, "batch_size": 2}])
def test_step_compiled_by_xla_has_the_same_losses(settings: dict[str, float]) -> None:
    plain, compiled = trainer_with(**settings), trainer_with(xla=True, **settings)
    for step in range(1, 6):
        expected, found = plain.step(step, rows_of(4), 1e-2), compiled.step(step, rows_of(4), 1e-2)
        assert found.loss == pytest.approx(expected.loss, abs=1e-4)
    concrete = compiled._gradients
    assert "HloModule" in concrete.experimental_get_compiler_ir(
        compiled._read(), compiled._piece(1, 0, rows_of(4)), None
    )(stage="hlo")


def test_gradient_checkpointing_changes_nothing() -> None:
    plain, again = trainer_with(dropout=0.2), trainer_with(dropout=0.2, gradient_checkpointing=True)
    for step in (1, 2, 3):
        expected, found = plain.step(step, rows_of(4), 1e-2), again.step(step, rows_of(4), 1e-2)
        assert found.loss == pytest.approx(expected.loss, abs=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_optimizer_that_begins_after_another_program_s_steps_begins_at_its_own_first(optimizer: str) -> None:
    fresh, later = trainer_with(optimizer=optimizer), trainer_with(optimizer=optimizer, behind=500)
    for step in (1, 2, 3):
        rows = rows_of(4, seed=step)
        assert fresh.step(step, rows, 1e-2) == later.step(500 + step, rows, 1e-2)
    assert_equal(later, fresh)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_products_read_the_weights_that_the_step_before_has_left(accumulation: int) -> None:
    """In 16 bits they read copies: a trainer that begins with the weights, and with new copies, goes on alike."""
    settings = {"dtype": tf.bfloat16, "batch_size": 2, "accumulation": accumulation}
    trainer, batch = trainer_with(**settings), rows_of(2 * accumulation)
    for step in (1, 2):
        assert trainer.step(step, batch, 1e-2).refused == ""
    other = trainer_with(params=trainer.params(), **settings)
    other.restore(trainer.state())
    assert other.step(3, batch, 1e-2) == trainer.step(3, batch, 1e-2)
    assert_equal(other, trainer)


def test_bfloat16_learns_as_float32_does() -> None:
    low, full, batch = trainer_with(dtype=tf.bfloat16), trainer_with(), rows_of(4)
    for step in range(1, 11):
        found, expected = low.step(step, batch, 1e-2), full.step(step, batch, 1e-2)
        assert found.loss == pytest.approx(expected.loss, abs=3e-2)
        assert found.norm == pytest.approx(expected.norm, rel=1e-1)


def test_label_smoothing_spreads_its_share_over_the_vocabulary() -> None:
    batch, share = rows_of(4), 0.3
    logits = model.forward(params_of(), batch.inputs, CONFIG).numpy().astype(np.float64)
    nats = np.log(np.exp(logits).sum(-1, keepdims=True)) - logits
    at_target = np.take_along_axis(nats, batch.targets[..., None], -1)[..., 0]
    expected = ((1 - share) * at_target + share * nats.mean(-1)).mean()
    assert trainer_with(label_smoothing=share).step(1, batch, 1e-2).loss == pytest.approx(expected, abs=1e-5)


def test_noise_changes_inputs_and_depends_on_seed_and_step_alone() -> None:
    batch, noisy = rows_of(4), with_noise(rows_of(4), 0.5, n_vocab=CONFIG.n_vocab, seed=3, step=7)
    trainer, clean = trainer_with(input_noise=0.5, seed=3), trainer_with()
    assert trainer.step(7, batch, 1e-2) == clean.step(7, noisy, 1e-2)
    assert trainer_with(input_noise=0.5, seed=4).step(7, batch, 1e-2) != trainer_with().step(7, noisy, 1e-2)


def test_float16_learns_as_float32_does_and_its_scale_is_in_the_state() -> None:
    low, full, batch = trainer_with(dtype=tf.float16), trainer_with(), rows_of(4)
    for step in range(1, 11):
        found, expected = low.step(step, batch, 1e-2), full.step(step, batch, 1e-2)
        assert found.refused == "" and found.loss == pytest.approx(expected.loss, abs=2e-2)
        assert found.norm == pytest.approx(expected.norm, rel=5e-2)
    resumed = trainer_with(params=low.params(), dtype=tf.float16)
    resumed.restore(low.state())
    assert resumed.loss_scale == low.loss_scale
    assert resumed.step(11, batch, 1e-2) == low.step(11, batch, 1e-2)
    assert_equal(resumed, low)
    with pytest.raises(ValueError, match="loss_scale"):
        resumed.restore({name: value for name, value in low.state().items() if name != "loss_scale"})


@pytest.mark.parametrize("accumulation", [1, 2])
def test_overflowing_gradients_lower_the_scale_and_the_step_is_done_with_sound_ones(accumulation: int) -> None:
    settings = {"dtype": tf.float16, "batch_size": 2, "accumulation": accumulation}
    trainer, batch = trainer_with(**settings), rows_of(2 * accumulation)
    trainer.loss_scale = LossScale(LARGEST)
    result = trainer.step(1, batch, 1e-2)
    assert result.refused == "" and math.isfinite(result.norm)
    assert trainer.loss_scale.scale < LARGEST and trainer.loss_scale.sound_steps == 1
    # What overflowed left no trace.
    sound = trainer_with(**settings)
    sound.loss_scale = LossScale(trainer.loss_scale.scale)
    assert sound.step(1, batch, 1e-2) == result
    assert_equal(trainer, sound)


def test_loss_that_is_no_number_in_float16_is_not_the_scale_s_fault() -> None:
    trainer = trainer_with(dtype=tf.float16)
    trainer.variables["model/ln_f/g"].assign(np.full(CONFIG.n_embd, np.nan, np.float32))
    before = everything(trainer)
    assert trainer.step(1, rows_of(4), 1e-2).refused == "not finite"
    assert trainer.loss_scale == LossScale(sound_steps=1)
    after = everything(trainer)
    assert all(np.array_equal(after[name], before[name], equal_nan=True) for name in before if name != "loss_scale")


def test_loss_scale_halves_at_once_and_doubles_after_many_sound_steps() -> None:
    scale = LossScale(8.0, 5)
    assert scale.after(overflow=True) == LossScale(4.0, 0)
    assert LossScale(1.0, 5).after(overflow=True) == LossScale(1.0, 0)
    for _ in range(GROW_AFTER - 5):
        assert scale.scale == 8.0
        scale = scale.after(overflow=False)
    assert scale == LossScale(16.0, 0)

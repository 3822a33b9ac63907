"""What is not trained is not touched: frozen layers, and the base beneath LoRA's thin matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from services.common.errors import FailedPrecondition
from services.gpt2 import model
from services.trainer.training import lora
from tests.unit.trainer.steps import CONFIG, assert_equal, params_of, rows_of, trainer_with

BLOCK_0 = "model/h0/"


@pytest.mark.parametrize(
    ("settings", "is_frozen"),
    [
        ({"only_transformer_layers": True}, lambda name: not name.startswith("model/h")),
        ({"frozen_layers": 1}, lambda name: name in ("model/wte", "model/wpe") or name.startswith(BLOCK_0)),
        ({"frozen_layers": 2}, lambda name: not name.startswith("model/ln_f")),
        ({"frozen_layers": 1, "only_transformer_layers": True}, lambda name: not name.startswith("model/h1/")),
    ],
)
def test_frozen_weights_stay_bit_for_bit_and_have_no_state_and_the_others_move(
    settings: dict[str, Any], is_frozen: Any
) -> None:
    trainer, before = trainer_with(weight_decay=0.1, accumulation=2, batch_size=2, **settings), params_of()
    for step in (1, 2):
        assert trainer.step(step, rows_of(4), 1e-2).refused == ""
    after, state = trainer.params(), trainer.state()
    assert after.keys() == before.keys()
    for name in before:
        assert np.array_equal(after[name], before[name]) == is_frozen(name), name
        assert (f"m/{name}" in state) == (not is_frozen(name))


@pytest.mark.parametrize("settings", [{"only_transformer_layers": True}, {"lora_rank": 2}])
def test_run_that_has_nothing_left_to_train_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(FailedPrecondition, match="frozen_layers is 2 of 2"):
        trainer_with(frozen_layers=2, **settings)


def test_gradients_of_frozen_layers_are_not_in_the_compiled_step() -> None:
    def matrix_products(**settings: Any) -> int:
        trainer, batch = trainer_with(**settings), rows_of(4)
        how = (tf.constant(0.1), tf.constant(1.0), tf.constant(trainer.optimizer.numbers(1)))
        graph = trainer._whole_step.get_concrete_function(trainer._piece(1, 0, batch), None, how)
        reached, waiting = set(), [each for each in graph.graph.get_operations() if each.type == "StatelessIf"]
        waiting += [each for each in graph.graph.get_operations() if each.type == "If"]
        while waiting:
            operation = waiting.pop()
            if operation not in reached:
                reached.add(operation)
                waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
        return sum(operation.type in ("MatMul", "BatchMatMulV2") for operation in reached)

    whole, half = matrix_products(), matrix_products(frozen_layers=1)
    blocks = matrix_products(frozen_layers=2)
    assert blocks < half < whole


def test_first_step_of_lora_is_the_base_s_and_training_moves_thin_matrices_alone() -> None:
    batch, base = rows_of(4), params_of()
    trainer, whole = trainer_with(lora_rank=2, weight_decay=0.1), trainer_with()
    assert trainer.step(1, batch, 1e-2).loss == pytest.approx(whole.step(1, batch, 1e-2).loss, rel=1e-6)
    for step in (2, 3, 4):
        trainer.step(step, batch, 1e-2)
    for name in base:
        assert np.array_equal(trainer.variables[name].numpy(), base[name])
    moments = {name: value.size for name, value in trainer.state().items() if name.startswith(("m/", "v/"))}
    sizes = [sum(CONFIG.shapes[f"{layer}/w"][1:]) * 2 for layer in lora.layers(CONFIG)]
    assert sum(moments.values()) == 2 * sum(sizes)
    merged = trainer.params()
    changed = {name for name in base if not np.array_equal(merged[name], base[name])}
    assert changed == {f"{layer}/w" for layer in lora.layers(CONFIG)}


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_merged_weights_compute_what_lora_applied_does(alpha: float) -> None:
    trainer, batch = trainer_with(lora_rank=3, lora_alpha=alpha), rows_of(4)
    for step in range(1, 6):
        trainer.step(step, batch, 3e-2)
    applied = model.forward(trainer.variables, batch.inputs, CONFIG).numpy()
    merged = model.forward(trainer.params(), batch.inputs, CONFIG).numpy()
    assert np.abs(applied - model.forward(params_of(), batch.inputs, CONFIG).numpy()).max() > 1e-2
    np.testing.assert_allclose(applied, merged, atol=1e-5)


def test_lora_s_definition_is_the_paper_s() -> None:
    """W + alpha / rank * A B, and an alpha that is not given is twice the rank."""
    rng = np.random.default_rng(0)
    params = params_of() | {
        name: rng.standard_normal(value.shape).astype(np.float32)
        for name, value in lora.init(CONFIG, 2, 0, first_block=1).items()
    }
    merged = lora.merge(params, lora.scale_of(2, 5.0))
    for layer in lora.layers(CONFIG, 1):
        expected = params[f"{layer}/w"][0] + 5.0 / 2 * params[f"{layer}/lora_a"] @ params[f"{layer}/lora_b"]
        np.testing.assert_allclose(merged[f"{layer}/w"][0], expected, rtol=1e-5, atol=1e-6)
    assert np.array_equal(merged["model/h0/mlp/c_fc/w"], params["model/h0/mlp/c_fc/w"])
    assert lora.scale_of(8, 0.0) == 2.0
    assert merged.keys() == params_of().keys()


def test_lora_resumed_from_base_and_state_goes_on_bit_for_bit_computed_again_or_not() -> None:
    for settings in ({}, {"gradient_checkpointing": True}):
        trainer = trainer_with(lora_rank=2, dropout=0.1, **settings)
        for step in (1, 2, 3):
            trainer.step(step, rows_of(4), 1e-2)
        resumed = trainer_with(lora_rank=2, dropout=0.1, **settings)
        resumed.restore(trainer.state())
        for step in (4, 5):
            assert trainer.step(step, rows_of(4), 1e-2) == resumed.step(step, rows_of(4), 1e-2)
        assert_equal(resumed, trainer)
    plain = trainer_with(lora_rank=2, dropout=0.1)
    for step in range(1, 6):
        result = plain.step(step, rows_of(4), 1e-2)
    assert result.loss == pytest.approx(trainer.step(6, rows_of(4), 0.0).loss, abs=0.5)
    with pytest.raises(ValueError, match="lora_a"):
        resumed.restore({name: value for name, value in trainer.state().items() if not lora.is_thin(name)})

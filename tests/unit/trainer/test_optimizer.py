"""Each optimizer against an independent one, ten steps long."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from transformers.optimization import Adafactor

from services.gpt2 import gradients as fusing
from services.trainer.run_settings import RunSettings
from services.trainer.training import optimizer as optimizer_module
from services.trainer.training.optimizer import Optimizer

SHAPES = {"wte": (11, 5), "w": (1, 5, 7), "b": (7,)}
RATE, DECAY, BETA1, BETA2 = 0.01, 0.1, 0.9, 0.95
Step = Callable[[dict[str, np.ndarray], float], None]


def torch_steps(values: dict[str, np.ndarray], make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]) -> Step:
    """Steps of a torch optimizer over copies of `values`, which are kept up to date; vectors do not decay."""
    tensors = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in values.items()}
    optimizer = make([{"params": [tensors["wte"], tensors["w"]]}, {"params": [tensors["b"]], "weight_decay": 0.0}])

    def step(gradients: dict[str, np.ndarray], rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(gradients[name])
        optimizer.step()
        for name, tensor in tensors.items():
            values[name] = tensor.detach().numpy().copy()

    return step


def lion_steps(values: dict[str, np.ndarray]) -> Step:
    """Program 1 of Chen et al. 2023."""
    momentum = {name: np.zeros_like(value) for name, value in values.items()}

    def step(gradients: dict[str, np.ndarray], rate: float) -> None:
        for name, gradient in gradients.items():
            direction = np.sign(BETA1 * momentum[name] + (1 - BETA1) * gradient)
            decay = DECAY if values[name].ndim > 1 else 0.0
            values[name] = values[name] - rate * (direction + decay * values[name])
            momentum[name] = BETA2 * momentum[name] + (1 - BETA2) * gradient

    return step


def oracle(name: str, values: dict[str, np.ndarray]) -> Step:
    if name == "adamw":
        return torch_steps(values, lambda groups: torch.optim.AdamW(groups, betas=(BETA1, BETA2), weight_decay=DECAY))
    if name == "adam":
        return torch_steps(values, lambda groups: torch.optim.Adam(groups, betas=(BETA1, BETA2)))
    if name == "sgd":
        return torch_steps(values, lambda groups: torch.optim.SGD(groups, lr=RATE, momentum=0.8))
    if name == "adafactor":
        fixed = {"scale_parameter": False, "relative_step": False, "warmup_init": False}
        return torch_steps(values, lambda groups: Adafactor(groups, lr=RATE, weight_decay=DECAY, **fixed))
    return lion_steps(values)


def settings_of(name: str, **others: Any) -> RunSettings:
    given = {"weight_decay": DECAY, "beta1": BETA1, "beta2": BETA2, "momentum": 0.8, "clip_norm": 0.0} | others
    return RunSettings(dataset="d", optimizer=name, **given)


def start_values() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}


def gradients_of(step: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng([1, step])
    sizes = {"wte": 3.0, "w": 0.1, "b": 1.0}
    return {name: (random.standard_normal(shape) * sizes[name]).astype(np.float32) for name, shape in SHAPES.items()}


def apply(optimizer: Optimizer, step: int, gradients: dict[str, np.ndarray], rate: float) -> float:
    tensors = {name: tf.constant(gradient) for name, gradient in gradients.items()}
    norm = optimizer.norm(tensors)

    @tf.function
    def update() -> None:
        optimizer.apply(tensors, norm, tf.constant(rate, tf.float32), tf.constant(optimizer.numbers(step)))

    update()
    return float(norm)


@pytest.fixture(params=["operation by operation", "in one loop"], autouse=True)
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small weights are changed in another way than large ones."""
    size = 0 if request.param == "in one loop" else 1 << 60
    for module in (optimizer_module, fusing):
        monkeypatch.setattr(module, "FUSED_FROM", size)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "adafactor", "lion"])
def test_ten_updates_equal_those_of_an_independent_optimizer(name: str) -> None:
    # Decay beside SGD's momentum is not in torch (its own is part of the gradient): the law for it stands below.
    settings = settings_of(name, weight_decay=0.0) if name == "sgd" else settings_of(name)
    expected = start_values()
    their_step = oracle(name, expected)
    variables = {key: tf.Variable(value) for key, value in expected.items()}
    optimizer = Optimizer(variables, settings)
    for step in range(1, 11):
        rate = RATE / step**0.5
        their_step(gradients_of(step), rate)
        apply(optimizer, step, gradients_of(step), rate)
        for key, value in expected.items():
            np.testing.assert_allclose(variables[key].numpy(), value, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "adafactor", "lion"])
def test_restored_state_goes_on_bit_for_bit(name: str) -> None:
    variables = {key: tf.Variable(value) for key, value in start_values().items()}
    optimizer = Optimizer(variables, settings_of(name))
    for step in (1, 2, 3):
        apply(optimizer, step, gradients_of(step), RATE)
    copies = {key: tf.Variable(value.numpy()) for key, value in variables.items()}
    other = Optimizer(copies, settings_of(name))
    other.restore(optimizer.state())
    for step in (4, 5):
        apply(optimizer, step, gradients_of(step), RATE)
        apply(other, step, gradients_of(step), RATE)
    assert all(np.array_equal(variables[key].numpy(), copies[key].numpy()) for key in variables)
    state, again = optimizer.state(), other.state()
    assert state.keys() == again.keys() and all(np.array_equal(state[key], again[key]) for key in state)


@pytest.mark.parametrize(("name", "decayed"), [("adamw", 1), ("adam", 0), ("sgd", 1), ("adafactor", 1), ("lion", 1)])
def test_matrices_alone_decay_and_with_every_optimizer_but_adam(name: str, decayed: int) -> None:
    variables = {key: tf.Variable(value) for key, value in start_values().items()}
    optimizer = Optimizer(variables, settings_of(name))
    apply(optimizer, 1, {key: np.zeros(shape, np.float32) for key, shape in SHAPES.items()}, 0.5)
    for key, value in start_values().items():
        share = 1 - 0.5 * DECAY * decayed if len(SHAPES[key]) > 1 else 1
        np.testing.assert_allclose(variables[key].numpy(), value * np.float32(share), rtol=1e-6)


def test_gradients_above_the_largest_norm_are_scaled_down_to_it_and_others_are_not() -> None:
    for size, norm_allowed in ((1.0, 0.5), (1.0, 1000.0)):
        variables = {key: tf.Variable(value) for key, value in start_values().items()}
        optimizer = Optimizer(variables, settings_of("sgd", momentum=0.0, weight_decay=0.0, clip_norm=norm_allowed))
        gradients = {key: value * np.float32(size) for key, value in gradients_of(1).items()}
        norm = apply(optimizer, 1, gradients, 1.0)
        assert norm == pytest.approx(
            math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients.values()))
        )
        for key, value in start_values().items():
            change = gradients[key] * min(1.0, norm_allowed / norm)
            np.testing.assert_allclose(variables[key].numpy(), value - change, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_copies_in_16_bits_stay_equal_to_their_weights_and_bring_their_own_gradients(name: str) -> None:
    variables = {key: tf.Variable(value) for key, value in start_values().items()}
    copies = {"w": tf.Variable(tf.cast(start_values()["w"], tf.bfloat16))}
    optimizer = Optimizer(variables, settings_of(name), copies)
    gradients = {key: tf.constant(value) for key, value in gradients_of(1).items()}
    gradients["w"] = tf.cast(gradients["w"], tf.bfloat16)
    rounded = {key: tf.cast(value, tf.float32).numpy() for key, value in gradients.items()}

    @tf.function
    def update() -> tf.Tensor:
        norm = optimizer.norm(gradients)
        optimizer.apply(gradients, norm, tf.constant(RATE), tf.constant(optimizer.numbers(1)))
        return norm

    norm = float(update())
    assert np.array_equal(copies["w"].numpy(), tf.cast(variables["w"], tf.bfloat16).numpy())
    without = {key: tf.Variable(value) for key, value in start_values().items()}
    assert norm == pytest.approx(apply(Optimizer(without, settings_of(name)), 1, rounded, RATE))
    for key, value in without.items():
        np.testing.assert_allclose(variables[key].numpy(), value.numpy(), rtol=1e-6)


def test_adafactor_holds_rows_and_columns_where_adam_holds_two_matrices() -> None:
    variables = {"w": tf.Variable(np.zeros((1, 30, 50), np.float32))}
    held = {
        name: sum(a.size for a in Optimizer(variables, settings_of(name)).state().values())
        for name in ("adamw", "adafactor", "lion", "sgd")
    }
    assert held == {"adamw": 3000, "adafactor": 80, "lion": 1500, "sgd": 1500}
    assert Optimizer(variables, settings_of("sgd", momentum=0.0)).state() == {}

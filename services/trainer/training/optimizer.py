"""How gradients become changed weights: clipping, decay, and the rule that the run chose.

In: gradients and a learning rate. Out: changed variables. Its state is the rule's moments; everything else
follows from the step's number, so a resumed run continues bit for bit.
Decay is on matrices and embeddings only, as GPT-3 and nanoGPT do, and apart from the gradient (Loshchilov and
Hutter 2019), with every rule but Adam.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from services.trainer.run_settings import RunSettings
from services.trainer.training.optimizers.adafactor import Adafactor
from services.trainer.training.optimizers.adam import Adam
from services.trainer.training.optimizers.lion import Lion
from services.trainer.training.optimizers.sgd import SGD


class Rule(Protocol):
    """What the rules of `optimizers` have in common."""

    moments: dict[str, tf.Variable]

    def numbers(self, step: int) -> npt.NDArray[np.float32]:
        """What depends on the step's number alone."""

    def update(self, name: str, variable: tf.Variable, gradient: tf.Tensor, rate: tf.Tensor, numbers: tf.Tensor) -> Any:
        """Change one variable and its moments; return what the next update may wait for."""


def decays(shape: tuple[int, ...]) -> bool:
    """True for matrices and embeddings; biases and LN gains do not decay."""
    return len(shape) >= 2


class Optimizer:
    """The moments of the variables that are trained, and what applies gradients to both.

    Args:
        variables: float32 variables by name.
        settings: the run's; optimizer, momentum, beta1, beta2, weight_decay and clip_norm are used.
    """

    def __init__(self, variables: Mapping[str, tf.Variable], settings: RunSettings) -> None:
        self._variables, self._clip_norm = variables, settings.clip_norm
        self._weight_decay = 0.0 if settings.optimizer == "adam" else settings.weight_decay
        self._rule = _rule(variables, settings)

    @property
    def moments(self) -> Mapping[str, tf.Variable]:
        """The rule's state by name."""
        return self._rule.moments

    def numbers(self, step: int) -> npt.NDArray[np.float32]:
        """What `apply` needs to know of the step (1 is the first)."""
        return self._rule.numbers(step)

    def norm(self, gradients: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The norm of all gradients together."""
        return tf.linalg.global_norm([gradients[name] for name in self._variables])

    def apply(
        self,
        gradients: Mapping[str, tf.Tensor],
        norm: tf.Tensor,
        rate: tf.Tensor,
        numbers: tf.Tensor,
        scale: tf.Tensor | None = None,
    ) -> None:
        """Change the variables once; for use inside a tf.function.

        Args:
            gradients: by variable name.
            norm: of all gradients together, divided by `scale`.
            rate: the step's learning rate, float32 scalar.
            numbers: from `numbers`.
            scale: what the gradients are multiplied by; none by default.
        """
        factor = None if scale is None else 1.0 / scale
        if self._clip_norm:
            clip = tf.minimum(1.0, self._clip_norm / norm)
            factor = clip if factor is None else clip * factor
        last: list[Any] = []
        for name, variable in self._variables.items():
            # One after the other: else all clipped gradients are made before the first is used.
            with tf.control_dependencies(last):
                gradient = tf.identity(gradients[name]) if factor is None else gradients[name] * factor
                if self._weight_decay and decays(tuple(variable.shape)):
                    value = tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=tf.float32)
                    tf.raw_ops.ResourceApplyGradientDescent(
                        var=variable.handle, alpha=rate * self._weight_decay, delta=value
                    )
                last = [self._rule.update(name, variable, gradient, rate, numbers)]

    def state(self) -> dict[str, npt.NDArray[np.float32]]:
        """The moments by name, to be written beside the weights."""
        return {name: moment.numpy() for name, moment in self.moments.items()}

    def restore(self, state: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Take back what `state` gave.

        Raises:
            ValueError: a moment is missing or has another shape.
        """
        for name, moment in self.moments.items():
            if name not in state or state[name].shape != tuple(moment.shape):
                raise ValueError(f"the optimizer state has no {name} of shape {tuple(moment.shape)}")
            moment.assign(state[name])


def _rule(variables: Mapping[str, tf.Variable], settings: RunSettings) -> Rule:
    if settings.optimizer == "sgd":
        return SGD(variables, momentum=settings.momentum)
    if settings.optimizer == "adafactor":
        return Adafactor(variables)
    if settings.optimizer == "lion":
        return Lion(variables, beta1=settings.beta1, beta2=settings.beta2)
    return Adam(variables, beta1=settings.beta1, beta2=settings.beta2)

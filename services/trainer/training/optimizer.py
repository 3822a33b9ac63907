"""How gradients become changed weights: clipping, decay, and the rule that the run chose.

In: gradients and a learning rate. Out: changed variables. Its state is the rule's moments; everything else
follows from the step's number, so a resumed run continues bit for bit.
Decay is on matrices and embeddings only, as GPT-3 and nanoGPT do, and apart from the gradient (Loshchilov and
Hutter 2019), with every rule but Adam.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from services.gpt2.gradients import FUSED_FROM, fused
from services.trainer.run_settings import RunSettings
from services.trainer.training.optimizers.adafactor import Adafactor
from services.trainer.training.optimizers.adam import Adam
from services.trainer.training.optimizers.lion import Lion
from services.trainer.training.optimizers.sgd import SGD

STRIPS = 8


class Rule(Protocol):
    """What the rules of `optimizers` have in common."""

    elementwise: bool
    moments: dict[str, tf.Variable]

    def numbers(self, step: int) -> npt.NDArray[np.float32]:
        """What depends on the step's number alone."""

    def update(
        self,
        weight: tf.Tensor,
        moments: Mapping[str, tf.Tensor],
        gradient: tf.Tensor,
        rate: tf.Tensor,
        numbers: tf.Tensor,
    ) -> Any:
        """Change one weight and its moments, which are given by part; return what the next update may wait for."""


def decays(shape: tuple[int, ...]) -> bool:
    """True for matrices and embeddings; biases and LN gains do not decay."""
    return len(shape) >= 2


class Optimizer:
    """The moments of the variables that are trained, and what applies gradients to both.

    A large weight is changed by loops that XLA makes of clipping, decay and rule: fewer passes over memory.

    Args:
        variables: float32 variables by name.
        settings: the run's; optimizer, momentum, beta1, beta2, weight_decay and clip_norm are used.
        copies: variables of one 16-bit type, by the name of the weight that they are kept equal to.
    """

    def __init__(
        self,
        variables: Mapping[str, tf.Variable],
        settings: RunSettings,
        copies: Mapping[str, tf.Variable] | None = None,
    ) -> None:
        self._variables, self._copies, self._clip_norm = variables, copies or {}, settings.clip_norm
        self._copies_type = next((copy.dtype for copy in self._copies.values()), tf.float32)
        self._weight_decay = 0.0 if settings.optimizer == "adam" else settings.weight_decay
        self._rule = _rule(variables, settings)
        self._change_compiled = tf.function(self._change, jit_compile=True, autograph=False)

    @property
    def moments(self) -> Mapping[str, tf.Variable]:
        """The rule's state by name."""
        return self._rule.moments

    def numbers(self, step: int) -> npt.NDArray[np.float32]:
        """What `apply` needs to know of the step (1 is the first)."""
        return self._rule.numbers(step)

    def norm(self, gradients: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The norm of all gradients together."""
        return tf.sqrt(tf.add_n([tf.reduce_sum(_squares(gradients[name])) for name in self._variables]))

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
        handles: dict[str, dict[str, tf.Tensor]] = {name: {} for name in self._variables}
        for key, moment in self.moments.items():
            part, _, name = key.partition("/")
            handles[name][part] = moment.handle
        last: list[Any] = []
        for name, variable in self._variables.items():
            shape = tuple(variable.shape)
            change = self._change_compiled if self._rule.elementwise and prod(shape) >= FUSED_FROM else self._change
            decay = self._weight_decay * rate if self._weight_decay and decays(shape) else None
            copy = self._copies.get(name)
            # One after the other: else all clipped gradients are made before the first is used.
            with tf.control_dependencies(last):
                gradient = tf.identity(gradients[name])
                last = [
                    change(
                        variable.handle,
                        handles[name],
                        None if copy is None else copy.handle,
                        gradient,
                        factor,
                        decay,
                        rate,
                        numbers,
                    )
                ]

    def _change(
        self,
        weight: tf.Tensor,
        moments: Mapping[str, tf.Tensor],
        copy: tf.Tensor | None,
        gradient: tf.Tensor,
        factor: tf.Tensor | None,
        decay: tf.Tensor | None,
        rate: tf.Tensor,
        numbers: tf.Tensor,
    ) -> tf.Tensor:
        """Change one weight, its moments and its copy; return what the next may wait for."""
        gradient = tf.cast(gradient, tf.float32)
        if factor is not None:
            gradient *= factor
        last = []
        if decay is not None:
            value = tf.raw_ops.ReadVariableOp(resource=weight, dtype=tf.float32)
            last = [tf.raw_ops.ResourceApplyGradientDescent(var=weight, alpha=decay, delta=value)]
        with tf.control_dependencies(last):
            last = [self._rule.update(weight, moments, gradient, rate, numbers)]
        if copy is not None:
            with tf.control_dependencies(last):
                value = tf.raw_ops.ReadVariableOp(resource=weight, dtype=tf.float32)
                last = [tf.raw_ops.AssignVariableOp(resource=copy, value=tf.cast(value, self._copies_type))]
        with tf.control_dependencies(last):
            return tf.constant(0)

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


@fused
def _squares(gradient: tf.Tensor) -> tf.Tensor:
    """What its squares are to be summed from: float32, an eighth of the numbers where they divide."""
    # Folded number by number first: XLA sums along a row one number at a time.
    num_strips = STRIPS if prod(gradient.shape) % STRIPS == 0 else 1
    strips = tf.split(tf.reshape(gradient, [-1]), num_strips)
    return tf.add_n([tf.square(tf.cast(strip, tf.float32)) for strip in strips])


def _rule(variables: Mapping[str, tf.Variable], settings: RunSettings) -> Rule:
    if settings.optimizer == "sgd":
        return SGD(variables, momentum=settings.momentum)
    if settings.optimizer == "adafactor":
        return Adafactor(variables)
    if settings.optimizer == "lion":
        return Lion(variables, beta1=settings.beta1, beta2=settings.beta2)
    return Adam(variables, beta1=settings.beta1, beta2=settings.beta2)

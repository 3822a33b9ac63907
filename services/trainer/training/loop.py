"""One training step of GPT-2, compiled: loss, gradients, accumulation, clipping, update.

A step whose loss or gradient is no number, or whose loss is above a limit, changes neither weights nor moments.

In: rows of tokens, a step number, a learning rate. Out: the loss and the gradients' norm; the weights change.
The same weights, moments, rows and step give the same result, whatever happened before: dropout is drawn from
(seed, step, pass). Knows no files, no schedule, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from services.gpt2 import model
from services.gpt2.config import GPT2Config
from services.trainer.run_settings import RunSettings
from services.trainer.training.optimizer import AdamW

Refusal = Literal["", "not finite", "above the limit"]


class StepResult(NamedTuple):
    """What a step found, and whether it was done."""

    loss: float
    """Mean, nats per token, before the update."""
    norm: float
    """Of all gradients together, before clipping."""
    refused: Refusal
    """Why weights and moments were left as they are: the loss or the norm is no number, or the loss is above the
    limit. Empty when they were updated."""


class Trainer:
    """The weights and moments of a run in training.

    Args:
        params: float32 weights by OpenAI's names; copied into variables.
        config: the architecture.
        settings: the run's; batch_size, accumulation, dropout, seed and the optimizer's numbers are used.
        compute_dtype: of the matrix products.
    """

    def __init__(
        self,
        params: Mapping[str, npt.NDArray[np.float32]],
        config: GPT2Config,
        settings: RunSettings,
        compute_dtype: tf.DType,
    ) -> None:
        self.config, self._settings, self.compute_dtype = config, settings, compute_dtype
        self.variables = {name: tf.Variable(value, name=name) for name, value in params.items()}
        self.optimizer = AdamW(
            self.variables,
            beta1=settings.beta1,
            beta2=settings.beta2,
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm,
        )
        self._sums = (
            {name: tf.Variable(tf.zeros_like(value), trainable=False) for name, value in self.variables.items()}
            if settings.accumulation > 1
            else {}
        )
        self._whole_step = tf.function(self._compute_and_apply)
        self._accumulate_one = tf.function(self._accumulate)
        self._apply_sums = tf.function(self._apply_and_clear)

    def step(self, step: int, rows: npt.NDArray[np.int32], rate: float, *, limit: float = math.inf) -> StepResult:
        """Update the weights once, if the step's numbers allow it.

        Args:
            step: its number, from 1.
            rows: int32 [batch_size * accumulation, T+1].
            rate: learning rate.
            limit: a mean loss above it refuses the update.
        """
        rate_tensor, limit_tensor = tf.constant(rate, tf.float32), tf.constant(limit, tf.float32)
        powers = tf.constant(self.optimizer.powers(step))
        size, passes = self._settings.batch_size, self._settings.accumulation
        if passes == 1:
            found = self._whole_step(tf.constant(rows), self._seed(step, 0), rate_tensor, limit_tensor, powers)
        else:
            losses = [
                self._accumulate_one(tf.constant(rows[i * size : (i + 1) * size]), self._seed(step, i))
                for i in range(passes)
            ]
            found = self._apply_sums(tf.add_n(losses) / passes, rate_tensor, limit_tensor, powers)
        loss, norm, applied = float(found[0]), float(found[1]), bool(found[2])
        if applied:
            return StepResult(loss, norm, "")
        return StepResult(
            loss, norm, "above the limit" if math.isfinite(loss) and math.isfinite(norm) else "not finite"
        )

    def params(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights as arrays, for a checkpoint."""
        return {name: variable.numpy() for name, variable in self.variables.items()}

    def _seed(self, step: int, micro_batch: int) -> tf.Tensor:
        """Two words for dropout that no other pass of the run has; int32 [2]."""
        words = np.random.SeedSequence([self._settings.seed, step, micro_batch]).generate_state(2)
        return tf.constant(words.astype(np.uint32).view(np.int32))

    def _loss_and_gradients(self, rows: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.GradientTape() as tape:
            loss = model.loss(
                self.variables,
                rows[:, :-1],
                rows[:, 1:],
                self.config,
                compute_dtype=self.compute_dtype,
                dropout=self._settings.dropout,
                dropout_seed=seed,
            )
        return loss, tape.gradient(loss, self.variables)

    def _compute_and_apply(
        self, rows: tf.Tensor, seed: tf.Tensor, rate: tf.Tensor, limit: tf.Tensor, powers: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        loss, gradients = self._loss_and_gradients(rows, seed)
        return self._apply(loss, gradients, rate, limit, powers)

    def _apply(
        self,
        loss: tf.Tensor,
        gradients: Mapping[str, tf.Tensor],
        rate: tf.Tensor,
        limit: tf.Tensor,
        powers: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the loss, the norm and whether the variables were changed."""
        norm = self.optimizer.norm(gradients)
        sound = tf.math.is_finite(loss) & tf.math.is_finite(norm) & (loss <= limit)

        def update() -> tf.Tensor:
            self.optimizer.apply(gradients, norm, rate, powers)
            return tf.constant(True)

        return loss, norm, tf.cond(sound, update, lambda: tf.constant(False))

    def _accumulate(self, rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        loss, gradients = self._loss_and_gradients(rows, seed)
        for name, total in self._sums.items():
            total.assign_add(tf.convert_to_tensor(gradients[name]) / float(self._settings.accumulation))
        return loss

    def _apply_and_clear(
        self, loss: tf.Tensor, rate: tf.Tensor, limit: tf.Tensor, powers: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        found = self._apply(loss, {name: total.value() for name, total in self._sums.items()}, rate, limit, powers)
        with tf.control_dependencies(found):
            for total in self._sums.values():
                total.assign(tf.zeros_like(total))
        return found

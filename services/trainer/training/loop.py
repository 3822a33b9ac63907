"""One training step of GPT-2, compiled: loss, gradients, accumulation, clipping, update.

A step whose loss or gradient is no number, or whose loss is above a limit, changes neither weights nor moments.

In: a batch of rows, a step number, a learning rate. Out: the loss and the gradients' norm; the weights change.
The same weights, state, rows and step give the same result, whatever happened before: dropout is drawn from
(seed, step, pass). Knows no files, no schedule, no clock.

On GPUs loss and gradients are compiled by XLA; what sums them over GPUs, decides and updates stands outside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from services.common.errors import FailedPrecondition
from services.gpt2 import model
from services.gpt2.config import GPT2Config, is_matrix
from services.trainer.run_settings import RunSettings
from services.trainer.training import lora, replicas
from services.trainer.training.batch import Batch, with_noise
from services.trainer.training.freezing import trained_names
from services.trainer.training.loss_scale import LossScale
from services.trainer.training.optimizer import Optimizer
from services.trainer.training.replicas import Replicas

Weights = Mapping[str, npt.NDArray[np.float32]]
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
    """The weights and the state of a run in training.

    `variables` is what the model reads: float32 variables by OpenAI's names, and LoRA's beside them.

    Args:
        params: float32 weights by OpenAI's names, with LoRA those of the base. Emptied while variables are made of
            them: large weights are never there twice.
        config: the architecture.
        settings: the run's.
        compute_dtype: of the matrix products.
        devices: to train on together; by default the GPUs that `settings` asks for.
        xla: whether XLA compiles the loss and its gradients; by default where there is a GPU. Dropout draws
            otherwise then.
        behind: steps that were counted before there was an optimizer of ours, by another program.

    Raises:
        FailedPrecondition: nothing is left to train, or not so many GPUs are there or divide the rows.
    """

    def __init__(
        self,
        params: dict[str, npt.NDArray[np.float32]],
        config: GPT2Config,
        settings: RunSettings,
        compute_dtype: tf.DType,
        *,
        devices: Sequence[str] | None = None,
        xla: bool | None = None,
        behind: int = 0,
    ) -> None:
        self._behind = behind
        self.config, self._settings, self.compute_dtype = config, settings, compute_dtype
        self._replicas = Replicas(replicas.choose(settings.gpus, settings.batch_size) if devices is None else devices)
        self._constants: dict[str, tf.Tensor] = {}
        if settings.lora_rank:
            params |= lora.init(config, settings.lora_rank, settings.seed, first_block=settings.frozen_layers)
            scale = lora.scale_of(settings.lora_rank, settings.lora_alpha)
            self._constants[model.LORA_SCALE] = tf.constant(scale, tf.float32)
        trained = trained_names(params, settings)
        if not trained:
            raise FailedPrecondition(
                f"nothing is left to train: frozen_layers is {settings.frozen_layers} of {config.n_layer}, "
                "and the rest is frozen too; freeze fewer layers",
                reason="NOTHING_TO_TRAIN",
            )
        with self._replicas.scope():
            self._weights = {name: tf.Variable(params.pop(name), name=name) for name in list(params)}
            self._trained = {name: self._weights[name] for name in trained}
            # What products read, in their type: made once a step and not at each reading.
            self._copies = {
                name: tf.Variable(tf.cast(weight, compute_dtype), trainable=False)
                for name, weight in self._weights.items()
                if compute_dtype != tf.float32 and is_matrix(name)
            }
            self.optimizer = Optimizer(self._trained, settings, self._copies)
            # Each device sums its own gradients here: the copies differ until the step's end.
            self._sums = (
                {name: tf.Variable(tf.zeros_like(value), trainable=False) for name, value in self._trained.items()}
                if settings.accumulation > 1
                else {}
            )
        self.variables: dict[str, Any] = {name: self._replicas.first(value) for name, value in self._weights.items()}
        self.variables |= self._constants
        self.loss_scale = LossScale() if compute_dtype == tf.float16 else None
        if xla is None:
            xla = bool(tf.config.list_physical_devices("GPU"))
        self._gradients = tf.function(self._loss_and_gradients, jit_compile=True) if xla else self._loss_and_gradients
        self._whole_step = tf.function(self._compute_and_apply)
        self._accumulate_one = tf.function(self._accumulate)
        self._apply_sums = tf.function(self._sum_and_apply)

    @property
    def num_devices(self) -> int:
        """GPUs that share a step; 1 on a CPU."""
        return self._replicas.count

    def step(self, step: int, batch: Batch, rate: float, *, limit: float = math.inf) -> StepResult:
        """Update the weights once, if the step's numbers allow it.

        In float16 a step whose gradients overflow is done again with a smaller loss scale.

        Args:
            step: its number, from 1.
            batch: `batch_size * accumulation` rows.
            rate: learning rate.
            limit: a mean loss above it refuses the update.
        """
        settings = self._settings
        batch = with_noise(batch, settings.input_noise, n_vocab=self.config.n_vocab, seed=settings.seed, step=step)
        pieces = [self._piece(step, i, batch) for i in range(settings.accumulation)]
        numbers = tf.constant(self.optimizer.numbers(step - self._behind))
        how = (tf.constant(rate, tf.float32), tf.constant(limit, tf.float32), numbers)
        loss, norm, applied = self._do(pieces, how)
        while self.loss_scale and math.isfinite(loss) and not math.isfinite(norm) and self.loss_scale.scale > 1:
            self.loss_scale = self.loss_scale.after(overflow=True)
            loss, norm, applied = self._do(pieces, how)
        if self.loss_scale:
            self.loss_scale = self.loss_scale.after(overflow=False)
        if applied:
            return StepResult(loss, norm, "")
        return StepResult(
            loss, norm, "above the limit" if math.isfinite(loss) and math.isfinite(norm) else "not finite"
        )

    def params(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights as arrays by OpenAI's names, LoRA's merged: what a checkpoint holds."""
        arrays = {name: self.variables[name].numpy() for name in self._weights}
        return lora.merge(arrays, float(self._constants[model.LORA_SCALE])) if self._constants else arrays

    def state(self) -> dict[str, npt.NDArray[np.float32]]:
        """All that `restore` needs beside the weights it was made with: moments, LoRA's matrices, the loss scale."""
        state = self.optimizer.state()
        state |= {name: self.variables[name].numpy() for name in self._weights if lora.is_thin(name)}
        if self.loss_scale:
            state["loss_scale"] = np.array([self.loss_scale.scale, self.loss_scale.sound_steps], np.float32)
        return state

    def restore(self, state: Weights) -> None:
        """Take back what `state` gave.

        Raises:
            ValueError: something is missing or has another shape.
        """
        self.optimizer.restore(state)
        for name, variable in self._weights.items():
            if lora.is_thin(name):
                if name not in state or state[name].shape != tuple(variable.shape):
                    raise ValueError(f"the state has no {name} of shape {tuple(variable.shape)}")
                variable.assign(state[name])
        if self.loss_scale:
            if "loss_scale" not in state:
                raise ValueError("the state has no loss_scale, which float16 needs")
            scale, sound_steps = state["loss_scale"].tolist()
            self.loss_scale = LossScale(scale, int(sound_steps))

    def _piece(self, step: int, micro_batch: int, batch: Batch) -> Any:
        """What a forward pass needs to know, for each device: rows, dropout's seed, and its share of the loss."""
        size = self._settings.batch_size // self._replicas.count
        pieces = []
        for replica in range(self._replicas.count):
            first = micro_batch * self._settings.batch_size + replica * size
            rows = slice(first, first + size)
            part = batch.part(rows)
            words = np.random.SeedSequence([self._settings.seed, step, micro_batch, *[replica][:replica]])
            seed = words.generate_state(2).astype(np.uint32).view(np.int32)
            arrays = (part.inputs, part.targets, part.segments, part.weights, seed, np.float32(batch.share(rows)))
            pieces.append(tuple(None if array is None else tf.constant(array) for array in arrays))
        return self._replicas.deal(pieces)

    def _do(self, pieces: Sequence[Any], how: tuple[tf.Tensor, ...]) -> tuple[float, float, bool]:
        """Run the compiled step: the loss, the norm, and whether the update was done."""
        scale = tf.constant(self.loss_scale.scale, tf.float32) if self.loss_scale else None
        if len(pieces) == 1:
            loss, norm, applied = self._whole_step(pieces[0], scale, how)
        else:
            losses = [self._accumulate_one(piece, scale, tf.constant(i == 0)) for i, piece in enumerate(pieces)]
            loss, norm, applied = self._apply_sums(tf.add_n(losses), scale, how)
        return float(loss), float(norm), bool(applied)

    def _loss_and_gradients(
        self, params: Mapping[str, tf.Tensor], piece: tuple[Any, ...], scale: tf.Tensor | None
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """What some rows add to the mean loss, and to its gradients times `scale`."""
        inputs, targets, segments, weights, seed, share = piece
        trained = {name: params[name] for name in self._trained}
        # What is not watched is not recorded: frozen weights cost no work.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            loss = share * model.loss(
                params,
                inputs,
                targets,
                self.config,
                compute_dtype=self.compute_dtype,
                dropout=self._settings.dropout,
                dropout_seed=seed,
                segments=segments,
                weights=weights,
                label_smoothing=self._settings.label_smoothing,
                gradient_checkpointing=self._settings.gradient_checkpointing,
            )
            scaled = loss if scale is None else loss * scale
        gradients = tape.gradient(scaled, trained)
        return loss, {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}

    def _read(self) -> dict[str, tf.Tensor]:
        """The weights on the device at hand, those that are multiplied in the type of the products."""
        weights = {**self._weights, **self._copies, **self._constants}
        if "model/wte" in self._copies:
            weights |= {"model/wte": self._weights["model/wte"], model.OUTPUT: self._copies["model/wte"]}
        return {name: tf.convert_to_tensor(value) for name, value in weights.items()}

    def _compute_and_apply(self, piece: tuple[Any, ...], scale: tf.Tensor | None, how: tuple[tf.Tensor, ...]) -> Any:
        def on_device(*piece: Any) -> Any:
            loss, gradients = self._replicas.sum(self._gradients(self._read(), piece, scale))
            return self._apply(loss, gradients, scale, how)

        return self._replicas.run(on_device, piece)

    def _accumulate(self, piece: tuple[Any, ...], scale: tf.Tensor | None, first: tf.Tensor) -> tf.Tensor:
        """Add some rows' gradients to the sums, or begin them; return what the rows add to the loss."""

        def on_device(*piece: Any) -> tf.Tensor:
            loss, gradients = self._gradients(self._read(), piece, scale)

            def begin() -> tf.Tensor:
                for name, total in self._sums.items():
                    tf.raw_ops.AssignVariableOp(resource=total.handle, value=tf.cast(gradients[name], tf.float32))
                return tf.constant(0)

            def add() -> tf.Tensor:
                for name, total in self._sums.items():
                    tf.raw_ops.AssignAddVariableOp(resource=total.handle, value=tf.cast(gradients[name], tf.float32))
                return tf.constant(0)

            tf.cond(first, begin, add)
            return self._replicas.sum(loss)

        return self._replicas.run(on_device, piece)

    def _sum_and_apply(self, loss: tf.Tensor, scale: tf.Tensor | None, how: tuple[tf.Tensor, ...]) -> Any:
        def on_device() -> Any:
            gradients = {name: tf.convert_to_tensor(total) for name, total in self._sums.items()}
            return self._apply(loss, self._replicas.sum(gradients), scale, how)

        return self._replicas.run(on_device, ())

    def _apply(
        self,
        loss: tf.Tensor,
        gradients: Mapping[str, tf.Tensor],
        scale: tf.Tensor | None,
        how: tuple[tf.Tensor, ...],
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Change the variables if loss and norm allow it; return both and whether they did."""
        rate, limit, numbers = how
        norm = self.optimizer.norm(gradients)
        if scale is not None:
            norm /= scale
        sound = tf.math.is_finite(loss) & tf.math.is_finite(norm) & (loss <= limit)

        def update() -> tf.Tensor:
            self.optimizer.apply(gradients, norm, rate, numbers, scale)
            return tf.constant(True)

        return loss, norm, tf.cond(sound, update, lambda: tf.constant(False))

"""AdamW over named variables, with TensorFlow's fused update.

In: gradients and a learning rate. Out: changed variables. Its state is two moments per variable; everything
else that Adam needs follows from the step's number, so a resumed run continues bit for bit.
Source: Loshchilov and Hutter 2019; decay on matrices and embeddings only, as GPT-3 and nanoGPT do.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import tensorflow as tf

EPSILON = 1e-8


def decays(shape: tuple[int, ...]) -> bool:
    """True for matrices and embeddings; biases and LN gains do not decay."""
    return len(shape) >= 2


class AdamW:
    """Moments of every variable and the rule that applies them.

    Args:
        variables: float32 variables by name.
        beta1, beta2: decay of the moments, 0 to below 1.
        weight_decay: decoupled; each update takes `learning_rate * weight_decay` of a matrix away.
        clip_norm: largest norm of all gradients together; 0 does not clip.
    """

    def __init__(
        self,
        variables: Mapping[str, tf.Variable],
        *,
        beta1: float,
        beta2: float,
        weight_decay: float,
        clip_norm: float,
    ) -> None:
        self._variables = variables
        self._beta1, self._beta2 = beta1, beta2
        self._weight_decay, self._clip_norm = weight_decay, clip_norm
        self.moments = {
            f"{which}/{name}": tf.Variable(tf.zeros_like(variable), trainable=False)
            for name, variable in variables.items()
            for which in ("m", "v")
        }

    def powers(self, step: int) -> npt.NDArray[np.float32]:
        """beta1 and beta2 to the power of the step (1 is the first), float32 [2]: an input of `apply`."""
        return np.array([self._beta1**step, self._beta2**step], np.float32)

    def norm(self, gradients: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The norm of all gradients together."""
        return tf.linalg.global_norm([tf.convert_to_tensor(gradients[name]) for name in self._variables])

    def apply(self, gradients: Mapping[str, tf.Tensor], norm: tf.Tensor, rate: tf.Tensor, powers: tf.Tensor) -> None:
        """Change the variables once; for use inside a tf.function.

        Args:
            gradients: by variable name.
            norm: of all gradients together.
            rate: the step's learning rate, float32 scalar.
            powers: from `powers`.
        """
        names = list(self._variables)
        values = [tf.convert_to_tensor(gradients[name]) for name in names]
        if self._clip_norm:
            values, _ = tf.clip_by_global_norm(values, self._clip_norm, use_norm=norm)
        for name, gradient in zip(names, values, strict=True):
            variable = self._variables[name]
            if self._weight_decay and decays(tuple(variable.shape)):
                variable.assign_sub(rate * self._weight_decay * variable)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self.moments[f"m/{name}"].handle,
                v=self.moments[f"v/{name}"].handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=rate,
                beta1=self._beta1,
                beta2=self._beta2,
                epsilon=EPSILON,
                grad=gradient,
            )

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

"""Lion (Chen et al. 2023, program 1): every weight moves by the rate, in the direction of a mean of gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf


class Lion:
    """One moment of each variable.

    Args:
        variables: float32 variables by name.
        beta1: what the moment counts against the gradient in the direction, 0 to below 1.
        beta2: decay of the moment, 0 to below 1.
    """

    elementwise = True

    def __init__(self, variables: Mapping[str, tf.Variable], *, beta1: float, beta2: float) -> None:
        self._beta1, self._beta2 = beta1, beta2
        self.moments = {
            f"m/{name}": tf.Variable(tf.zeros_like(variable), trainable=False) for name, variable in variables.items()
        }

    def numbers(self, step: int) -> npt.NDArray[np.float32]:
        """Nothing depends on the step: [0]."""
        return np.zeros(0, np.float32)

    def update(
        self,
        weight: tf.Tensor,
        moments: Mapping[str, tf.Tensor],
        gradient: tf.Tensor,
        rate: tf.Tensor,
        numbers: tf.Tensor,
    ) -> Any:
        """Change one weight and its moment."""
        handle = moments["m"]
        m = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)
        direction = tf.sign(self._beta1 * m + (1 - self._beta1) * gradient)
        # The descent is fused with its product. The moment is written after it is read: one resource, one order.
        moved = tf.raw_ops.ResourceApplyGradientDescent(var=weight, alpha=rate, delta=direction)
        with tf.control_dependencies([moved]):
            return tf.raw_ops.AssignVariableOp(resource=handle, value=self._beta2 * m + (1 - self._beta2) * gradient)

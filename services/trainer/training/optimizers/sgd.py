"""Gradient descent with momentum, by TensorFlow's fused updates: m = momentum * m + g, w -= rate * m."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf


class SGD:
    """One moment of each variable; none without momentum.

    Args:
        variables: float32 variables by name.
        momentum: 0 to below 1.
    """

    elementwise = True

    def __init__(self, variables: Mapping[str, tf.Variable], *, momentum: float) -> None:
        self._momentum = momentum
        self.moments = {
            f"m/{name}": tf.Variable(tf.zeros_like(variable), trainable=False)
            for name, variable in variables.items()
            if momentum
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
        if not self._momentum:
            return tf.raw_ops.ResourceApplyGradientDescent(var=weight, alpha=rate, delta=gradient)
        return tf.raw_ops.ResourceApplyMomentum(
            var=weight,
            accum=moments["m"],
            lr=rate,
            grad=gradient,
            momentum=self._momentum,
        )

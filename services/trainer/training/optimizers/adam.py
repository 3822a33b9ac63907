"""Adam (Kingma and Ba 2015), by TensorFlow's fused update. With decay beside it, it is AdamW."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

EPSILON = 1e-8


class Adam:
    """Two moments of each variable.

    Args:
        variables: float32 variables by name.
        beta1, beta2: decay of the moments, 0 to below 1.
    """

    elementwise = True

    def __init__(self, variables: Mapping[str, tf.Variable], *, beta1: float, beta2: float) -> None:
        self._beta1, self._beta2 = beta1, beta2
        self.moments = {
            f"{which}/{name}": tf.Variable(tf.zeros_like(variable), trainable=False)
            for name, variable in variables.items()
            for which in ("m", "v")
        }

    def numbers(self, step: int) -> npt.NDArray[np.float32]:
        """beta1 and beta2 to the power of the step (1 is the first), and epsilon at that step, [3].

        TensorFlow adds epsilon to the root of v before its bias is taken out, the paper's algorithm 1 after. Early
        on that is ten times as much, and rare tokens have gradients as small as that.
        """
        powers = [self._beta1**step, self._beta2**step]
        return np.array([*powers, EPSILON * math.sqrt(1 - powers[1])], np.float32)

    def update(
        self,
        weight: tf.Tensor,
        moments: Mapping[str, tf.Tensor],
        gradient: tf.Tensor,
        rate: tf.Tensor,
        numbers: tf.Tensor,
    ) -> Any:
        """Change one weight and its moments."""
        return tf.raw_ops.ResourceApplyAdam(
            var=weight,
            m=moments["m"],
            v=moments["v"],
            beta1_power=numbers[0],
            beta2_power=numbers[1],
            lr=rate,
            beta1=self._beta1,
            beta2=self._beta2,
            epsilon=numbers[2],
            grad=gradient,
        )

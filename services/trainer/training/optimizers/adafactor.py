"""Adafactor (Shazeer and Stern 2018, algorithms 4 and 5): a matrix's second moments as its rows' and columns' means.

No first moment. The rate is the schedule's, not scaled by the weights: section 8's relative step is not used, so
that a learning rate means here what it means to Adam.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

EPSILON = 1e-30  # added to squared gradients
CLIP = 1.0  # the largest root mean square of an update, before the rate
DECAY = 0.8  # the second moment's decay at step t is 1 - t^-0.8


class Adafactor:
    """Row and column means of each matrix's squared gradients; all squared gradients of a vector.

    Args:
        variables: float32 variables by name. The last two axes of a matrix are factored.
    """

    elementwise = False

    def __init__(self, variables: Mapping[str, tf.Variable]) -> None:
        self.moments: dict[str, tf.Variable] = {}
        for name, variable in variables.items():
            shape = list(variable.shape)
            parts = {"v": shape} if len(shape) < 2 else {"row": shape[:-1], "column": shape[:-2] + shape[-1:]}
            for part, size in parts.items():
                self.moments[f"{part}/{name}"] = tf.Variable(tf.zeros(size), trainable=False)

    def numbers(self, step: int) -> npt.NDArray[np.float32]:
        """What the old moment counts at this step (1 is the first), [1]."""
        return np.array([1.0 - step**-DECAY], np.float32)

    def update(
        self,
        weight: tf.Tensor,
        moments: Mapping[str, tf.Tensor],
        gradient: tf.Tensor,
        rate: tf.Tensor,
        numbers: tf.Tensor,
    ) -> Any:
        """Change one weight and its moments."""
        square = tf.square(gradient) + EPSILON
        if "v" in moments:
            change = gradient * tf.math.rsqrt(_mean(moments["v"], square, numbers[0]))
        else:
            row = _mean(moments["row"], tf.reduce_mean(square, axis=-1), numbers[0])
            column = _mean(moments["column"], tf.reduce_mean(square, axis=-2), numbers[0])
            of_rows = tf.math.rsqrt(row / tf.reduce_mean(row, axis=-1, keepdims=True))
            change = gradient * of_rows[..., :, None] * tf.math.rsqrt(column)[..., None, :]
        size = tf.sqrt(tf.reduce_mean(tf.square(change)))
        return tf.raw_ops.ResourceApplyGradientDescent(
            var=weight, alpha=rate / tf.maximum(1.0, size / CLIP), delta=change
        )


def _mean(moment: tf.Tensor, new: tf.Tensor, decay: tf.Tensor) -> tf.Tensor:
    """Move a moment towards the new value; return it."""
    mean = decay * tf.raw_ops.ReadVariableOp(resource=moment, dtype=tf.float32) + (1.0 - decay) * new
    tf.raw_ops.AssignVariableOp(resource=moment, value=mean)
    return mean

"""Which number format the matrix products use: what the run asked for, or the faster one on this machine."""

from __future__ import annotations

import tensorflow as tf

from services.trainer.machine import fastest_precision


def choose(precision: str, num_parameters: int) -> tf.DType:
    """Return tf.float32, tf.bfloat16 or tf.float16.

    Args:
        precision: `float32`, `bfloat16` or `float16` as asked for, or `auto`, which never takes the last.
        num_parameters: of the model.
    """
    if precision == "auto":
        precision = fastest_precision(num_parameters, has_gpu=bool(tf.config.list_physical_devices("GPU")))
    return tf.as_dtype(precision)

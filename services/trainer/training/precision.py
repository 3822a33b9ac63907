"""Which number format the matrix products use: what the run asked for, or the faster one on this machine.

Knows CPU flags and GPUs; knows no model but its size.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

# Below this many weights a step is spent between the products, and the casts cost more than they save.
MIN_BFLOAT16_PARAMETERS = 20_000_000


def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """True when the CPU multiplies bfloat16 natively (AVX-512 BF16 or AMX)."""
    try:
        flags = cpuinfo.read_text()
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose(precision: str, num_parameters: int) -> tf.DType:
    """Return tf.float32 or tf.bfloat16.

    Args:
        precision: `float32` or `bfloat16` as asked for, or `auto`.
        num_parameters: of the model.
    """
    if precision != "auto":
        return tf.bfloat16 if precision == "bfloat16" else tf.float32
    if num_parameters < MIN_BFLOAT16_PARAMETERS:
        return tf.float32
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    return tf.bfloat16 if on_gpu or cpu_has_bfloat16() else tf.float32

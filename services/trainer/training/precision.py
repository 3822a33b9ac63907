"""Which number format the matrix products use: what the run asked for, or the faster one on this machine.

Knows CPU flags and GPUs; knows no model but its size.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

# With AVX-512 alone bfloat16 pays for large products only; below this many weights the casts cost more.
# With AMX it paid at every size: a step of `nano` took 0.84 times as long as in float32.
MIN_BFLOAT16_PARAMETERS = 20_000_000


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """What the CPU can do, in Linux's words; empty elsewhere."""
    try:
        return set(cpuinfo.read_text().split())
    except OSError:
        return set()


def choose(precision: str, num_parameters: int) -> tf.DType:
    """Return tf.float32, tf.bfloat16 or tf.float16.

    Args:
        precision: `float32`, `bfloat16` or `float16` as asked for, or `auto`, which never takes the last.
        num_parameters: of the model.
    """
    if precision != "auto":
        return tf.as_dtype(precision)
    if tf.config.list_physical_devices("GPU"):
        return tf.bfloat16
    flags = cpu_flags()
    pays = "amx_bf16" in flags or ("avx512_bf16" in flags and num_parameters >= MIN_BFLOAT16_PARAMETERS)
    return tf.bfloat16 if pays else tf.float32

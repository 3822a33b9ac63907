"""What a clock and the machine say of a run in training: tokens per second, MFU, time to go, memory.

In: how long steps, validations, samples and checkpoints took. Out: numbers that differ from one time to the next,
and so stand apart from what training computes. MFU is the share of the machine's matrix rate, measured when the
process starts, that a step's operations reach: (6N + 12LCT) per token, with full attention counted and recomputation
not (Chowdhery et al. 2022, PaLM, appendix B). N parameters, L layers, C width, T context.
"""

from __future__ import annotations

import math
import resource
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from services.gpt2.config import GPT2Config
from services.trainer.run_settings import RunSettings

RECENT_STEPS = 20  # speed is that of so many steps
RATE_BUDGET_S = 0.3
_CPU_SIZE, _GPU_SIZE = (
    1024,
    8192,
)  # sides of the measured matrices: beyond the caches, and done many times in the budget


def operations_per_token(config: GPT2Config, context: int) -> int:
    """Operations of forward and backward pass per token of a row of `context` tokens."""
    return 6 * config.num_parameters + 12 * config.n_layer * config.n_embd * context


def matrix_rate(dtype: tf.DType, budget_s: float = RATE_BUDGET_S) -> float:
    """Measure the operations per second of a large matrix product in `dtype`, with the threads of this process.

    The best of several: what else the machine does takes from it, and nothing adds to it. Takes about `budget_s`
    seconds and changes nothing that a run computes.
    """
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    size, products = (_GPU_SIZE, 8) if on_gpu else (_CPU_SIZE, 1)
    matrix = tf.fill([size, size], tf.constant(1 / size, dtype))

    @tf.function
    def multiply(x: tf.Tensor) -> tf.Tensor:
        for _ in range(products):
            x = tf.matmul(x, matrix)
        return x[0, 0]

    multiply(matrix).numpy()  # traces, and loads what the product needs
    best = math.inf
    until = time.perf_counter() + budget_s
    while best == math.inf or time.perf_counter() < until:
        begun = time.perf_counter()
        multiply(matrix).numpy()
        best = min(best, time.perf_counter() - begun)
    return products * 2 * size**3 / best


def memory_bytes() -> int:
    """Most memory that this process has held at once: of the first GPU where there is one, else of the machine."""
    if tf.config.list_physical_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    try:
        status = Path("/proc/self/status").read_bytes()
        start = status.index(b"VmHWM:") + 6
        return int(status[start : status.index(b"kB", start)]) * 1024
    except (OSError, ValueError):  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def pace_of(settings: RunSettings, config: GPT2Config, dtype: tf.DType) -> Pace:
    """Measure the machine, and begin to pace a run of this model."""
    tokens = settings.rows_per_step * settings.context
    operations = tokens * operations_per_token(config, settings.context)
    return Pace(settings, tokens=tokens, operations=operations, rate=matrix_rate(dtype))


class Pace:
    """How fast a run goes, and how long it has to go.

    Args:
        operations: of one step, forward and backward.
        rate: the machine's matrix rate, operations per second.
        tokens: of one step.
    """

    def __init__(self, settings: RunSettings, *, tokens: int, operations: float, rate: float) -> None:
        self._settings, self._tokens = settings, tokens
        self._operations, self._rate = operations, rate
        self._steps: deque[float] = deque(maxlen=RECENT_STEPS)
        self._is_first = True
        self._costs: dict[str, list[float]] = {"validation": [], "sample": [], "checkpoint": []}

    def step_took(self, seconds: float) -> None:
        """Note a step. The process's first also compiles, and is forgotten at the second."""
        if len(self._steps) == 1 and self._is_first:
            self._steps.clear()
            self._is_first = False
        self._steps.append(seconds)

    @contextmanager
    def costing(self, what: str) -> Iterator[None]:
        """Time the block as one `validation`, `sample` or `checkpoint`."""
        begun = time.monotonic()
        yield
        self._costs[what].append(time.monotonic() - begun)

    def clocks(self, step: int) -> dict[str, Any]:
        """What is told of a step beside what it computed; `step` is the last one done."""
        mean = sum(self._steps) / len(self._steps)
        return {
            "tokens_per_second": round(self._tokens / mean, 1),
            "mfu": float(f"{self._operations / mean / self._rate:.4g}"),
            "remaining_seconds": round(self.remaining_seconds(step), 1),
            "memory_bytes": memory_bytes(),
        }

    def remaining_seconds(self, step: int) -> float:
        """Seconds from the end of `step` to the run's end: its steps, validations, samples and checkpoints.

        Each costs what it has cost on average so far; what has not been done yet is not known, and counts as nothing.
        """
        last = self._settings.steps
        seconds = (last - step) * sum(self._steps) / len(self._steps)
        every = {
            "validation": self._settings.validate_every,
            "sample": self._settings.sample_every,
            "checkpoint": self._settings.save_every,
        }
        for what, costs in self._costs.items():
            if costs:
                seconds += times_left(every[what], step, last) * statistics.fmean(costs[-RECENT_STEPS:])
        return seconds


def times_left(every: int, step: int, last: int) -> int:
    """How often something is due after `step`, every so many steps (0: only then) and at the last."""
    if step >= last:
        return 0
    due = last // every - step // every if every else 0
    return due + (not every or last % every != 0)

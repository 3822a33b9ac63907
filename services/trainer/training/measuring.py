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
from typing import Any, Literal

import tensorflow as tf

from services.gpt2.config import GPT2Config
from services.trainer.run_settings import RunSettings
from services.trainer.training.due import is_due
from services.trainer.training.loop import Trainer

Work = Literal["validation", "sample", "checkpoint"]
RECENT_STEPS = 20  # speed is that of so many steps
RATE_BUDGET_S = 0.3
# Sides of the measured matrices: beyond the caches, and done many times in the budget.
_CPU_SIZE, _GPU_SIZE = 1024, 8192


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


def pace_of(settings: RunSettings, trainer: Trainer, *, before: float) -> Pace:
    """Measure the machine, and begin to pace a run.

    Args:
        before: seconds that the run has trained for in earlier processes.
    """
    operations = operations_per_token(trainer.config, settings.context)
    rate = trainer.num_devices * matrix_rate(trainer.compute_dtype)
    return Pace(settings, operations=operations, rate=rate, before=before)


class Pace:
    """How fast a run goes, and how long it has to go.

    Args:
        operations: per token, forward and backward.
        rate: the machine's matrix rate, operations per second.
        before: seconds that the run has trained for in earlier processes.
    """

    def __init__(self, settings: RunSettings, *, operations: float, rate: float, before: float = 0.0) -> None:
        self._settings, self._operations, self._rate, self._before = settings, operations, rate, before
        self._steps: deque[tuple[float, int]] = deque(maxlen=RECENT_STEPS)  # seconds and tokens
        self._is_first = True
        self._costs: dict[Work, list[float]] = {"validation": [], "sample": [], "checkpoint": []}

    def step_took(self, seconds: float, num_tokens: int) -> None:
        """Note a step. The process's first also compiles, and is forgotten at the second."""
        if len(self._steps) == 1 and self._is_first:
            self._steps.clear()
            self._is_first = False
        self._steps.append((seconds, num_tokens))

    @contextmanager
    def costing(self, what: Work) -> Iterator[None]:
        """Time the block as one of the run's validations, samples or checkpoints."""
        begun = time.monotonic()
        yield
        self._costs[what].append(time.monotonic() - begun)

    def clocks(self, step: int, *, epoch: float, seconds: float) -> dict[str, Any]:
        """What is told of a step beside what it computed.

        Args:
            step: the last one done.
            epoch: passes over the training documents so far.
            seconds: since the process began.
        """
        speed = sum(tokens for _, tokens in self._steps) / sum(took for took, _ in self._steps)
        return {
            "tokens_per_second": round(speed, 1),
            "mfu": float(f"{speed * self._operations / self._rate:.4g}"),
            "remaining_seconds": round(self.remaining_seconds(step, epoch=epoch, seconds=seconds), 1),
            "memory_bytes": memory_bytes(),
        }

    def remaining_seconds(self, step: int, *, epoch: float, seconds: float) -> float:
        """Seconds from the end of `step` to the run's end: its steps, validations, samples and checkpoints.

        Each costs what it has cost on average so far; what has not been done yet is not known, and counts as nothing.
        That validation may turn before is not foreseen. Arguments as of `clocks`.
        """
        settings = self._settings
        last = settings.steps
        if settings.tokens:
            last = min(last, math.ceil(settings.tokens / (settings.rows_per_step * settings.context)))
        if settings.epochs and epoch:
            last = min(last, math.ceil(step * settings.epochs / epoch))
        left = max(0, last - step) * statistics.fmean(took for took, _ in self._steps)
        for what, costs in self._costs.items():
            if costs:
                left += times_left(what, step, last, settings) * statistics.fmean(costs[-RECENT_STEPS:])
        if settings.minutes:
            left = min(left, 60 * settings.minutes - self._before - seconds)
        return max(0.0, left)


def times_left(what: Work, step: int, last: int, settings: RunSettings) -> int:
    """How often something is due after `step`, up to the last step."""
    if step >= last:
        return 0
    every = {
        "validation": settings.validate_every,
        "sample": settings.sample_every,
        "checkpoint": settings.save_every,
    }[what]
    between = (last - 1) // every - step // every if every else 0
    return between + is_due(what, last, settings, last=True)

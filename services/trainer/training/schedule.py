"""The learning rate at a step. In: a step and the run's settings. Out: a number. Knows nothing else."""

from __future__ import annotations

import math

from services.trainer.run_settings import RunSettings


def learning_rate(step: int, settings: RunSettings) -> float:
    """Return the learning rate of `step` (1 is the first, `settings.steps` the last).

    Rises linearly over `warmup_steps`, reaching `learning_rate` at the last of them; then stays
    (`constant`), or falls along a half cosine or a line, reaching the share `floor` of it at the last step.
    """
    peak, floor = settings.learning_rate, settings.learning_rate * settings.floor
    if step <= settings.warmup_steps:
        return peak * step / settings.warmup_steps
    if settings.schedule == "constant":
        return peak
    decay_steps = max(1, settings.steps - settings.warmup_steps)
    progress = min(1.0, (step - settings.warmup_steps) / decay_steps)
    if settings.schedule == "linear":
        return peak + (floor - peak) * progress
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))

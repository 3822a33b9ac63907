"""The learning rate at a step. In: a step and the run's settings. Out: a number. Knows nothing else."""

from __future__ import annotations

import math

from services.trainer.run_settings import RunSettings


def learning_rate(step: int, settings: RunSettings) -> float:
    """Return the learning rate of `step` (1 is the first, `settings.steps` the last).

    Rises linearly over `warmup_steps`, reaching `learning_rate` at the last of them. Then it

    - stays (`constant`);
    - falls along half a cosine or a line, reaching the share `floor` at the last step;
    - stays, and over the last `decay_share` of all steps falls in a line to the floor (`warmup_stable_decay`);
    - falls with the square root of warm-up over step, not below the floor (`inverse_sqrt`; without warm-up,
      with that of one over step).
    """
    peak, floor = settings.learning_rate, settings.learning_rate * settings.floor
    warmup, steps = settings.warmup_steps, settings.steps
    if step <= warmup:
        return peak * step / warmup
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "inverse_sqrt":
        return max(floor, peak * math.sqrt(max(1, warmup) / step))
    first = warmup
    if settings.schedule == "warmup_stable_decay":
        first = max(warmup, steps - round(steps * settings.decay_share))
    progress = min(1.0, max(0, step - first) / max(1, steps - first))
    if settings.schedule in ("linear", "warmup_stable_decay"):
        return peak + (floor - peak) * progress
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))

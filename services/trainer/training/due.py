"""What is due when a step is done. In: the step and the run's settings. Out: words. Knows nothing else."""

from __future__ import annotations

from services.trainer.run_settings import RunSettings


def due(step: int, settings: RunSettings, *, last: bool) -> tuple[str, ...]:
    """Return those of `validation`, `sample` and `checkpoint` that a step asks for, in the order of doing them.

    Args:
        step: the one that is done, from 1.
        last: whether none follows: it is validated and sampled in any case. Its checkpoint is the loop's to write.
    """
    every = {"validation": settings.validate_every, "sample": settings.sample_every, "checkpoint": settings.save_every}
    work = [what for what, steps in every.items() if steps and step % steps == 0]
    if last:
        if "validation" not in work:
            work.insert(0, "validation")
        if settings.sample_every and "sample" not in work:
            work.insert(1, "sample")
    return tuple(work)

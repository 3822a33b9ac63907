"""A plan in words: what the command prints and the page shows. In: a RunPlan. Out: lines of label and text."""

from __future__ import annotations

from protos import trainer_pb2

GIB = 1024**3


def facts(plan: trainer_pb2.RunPlan) -> list[tuple[str, str]]:
    """What the run would be, take and leave behind."""
    settings = plan.settings
    per_step = settings.batch_size * settings.accumulation * settings.context
    rounds = f" in {settings.accumulation} rounds" if settings.accumulation > 1 else ""
    trained = (
        f", of which {plan.num_trained_parameters:,} are trained"
        if plan.num_trained_parameters != plan.num_parameters
        else ""
    )
    measured = "tried" if plan.is_measured else "estimated, not tried"
    return [
        ("parameters", f"{plan.num_parameters:,}{trained}"),
        ("step", f"{per_step:,} tokens{rounds}: {settings.batch_size} x {settings.context} at a time"),
        ("steps", f"{settings.steps:,}: {plan.epochs:,.3g} passes over {plan.num_train_tokens:,} tokens"),
        ("ends", ends(settings)),
        ("learning rate", f"{settings.learning_rate:.2g}"),
        ("device", plan.device),
        ("memory", f"{size(plan.peak_memory_bytes)} of {size(plan.available_memory_bytes)} that are free"),
        ("a step takes", f"{duration(plan.seconds_per_step)} ({measured})"),
        ("all takes", f"{duration(plan.total_seconds)}, if no end comes before the last step"),
        ("disk", f"{size(plan.disk_bytes)} of checkpoints"),
        ("fits", "yes" if plan.fits else "no"),
    ]


def memory(plan: trainer_pb2.RunPlan) -> list[tuple[str, str]]:
    """The memory by part, the largest first."""
    parts = sorted(plan.memory_bytes.items(), key=lambda part: (-part[1], part[0]))
    return [(name, size(value)) for name, value in parts if value]


def ends(settings: trainer_pb2.RunSettings) -> str:
    """What ends a run, in words."""
    ways = [f"after {settings.steps:,} steps"]
    if settings.minutes:
        ways.append(f"after {settings.minutes:g} minutes")
    if settings.patience:
        ways.append(
            f"after {settings.patience} validations, one every {settings.validate_every:,} steps, without a new best"
        )
    return ", or ".join(ways)


def size(num_bytes: int) -> str:
    """Bytes for people: `4.2 GiB`, `310 MiB`."""
    return f"{num_bytes / GIB:.1f} GiB" if num_bytes >= GIB else f"{num_bytes / 1024**2:.0f} MiB"


def duration(seconds: float) -> str:
    """Seconds for people: `45 ms`, `3.2 s`, `12 min`, `1 h 40 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 90:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:.1f} days"

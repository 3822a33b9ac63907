"""Runs side by side: their curves up to now, the settings in which they differ, where they stand at common steps.

In: names of runs. Out: values to print or draw. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

from protos import trainer_pb2
from services.client.connection import Connection
from services.client.run_settings import FIELDS, words_of
from services.client.watching import RUN_ENDS

T = TypeVar("T")

READ_S = 60.0  # deadline for one run's history
MOST_STEPS = 8  # common steps that are looked at


@dataclass(frozen=True, slots=True)
class Curve:
    """A run with what was measured at each of its steps."""

    run: trainer_pb2.Run
    metrics: dict[int, trainer_pb2.Metrics] = field(default_factory=dict)
    validations: dict[int, trainer_pb2.Validation] = field(default_factory=dict)
    originalities: dict[int, trainer_pb2.Originality] = field(default_factory=dict)

    @property
    def tokens_per_second(self) -> float:
        """The median over the steps; 0 before the first."""
        return median(found.tokens_per_second for found in self.metrics.values()) if self.metrics else 0.0

    @property
    def best_validation(self) -> trainer_pb2.Validation | None:
        """The validation with the lowest loss; the earliest of equals."""
        return min(self.validations.values(), key=lambda found: found.loss, default=None)

    @property
    def newest_validation(self) -> trainer_pb2.Validation | None:
        """The validation of the latest step."""
        return self.validations[max(self.validations)] if self.validations else None

    @property
    def newest_originality(self) -> trainer_pb2.Originality | None:
        """What the samples of the latest step have from the posts."""
        return self.originalities[max(self.originalities)] if self.originalities else None


def read_curve(connection: Connection, run: str) -> Curve:
    """Read a run's history up to now.

    Raises:
        NotFound: no such run.
    """
    request = trainer_pb2.WatchRunRequest(run=run)
    updates: Iterator[trainer_pb2.RunUpdate] = connection.trainer.WatchRun(request, timeout_s=READ_S)
    now = next(updates).run  # the stream begins with the run as it is
    curve = Curve(now)
    if now.state not in RUN_ENDS and not now.step:
        return curve
    for update in updates:
        kind = update.WhichOneof("update")
        if kind == "metrics":
            add(curve.metrics, update.metrics.step, update.metrics)
            if now.state not in RUN_ENDS and update.metrics.step >= now.step:
                break  # what follows is the future, and is not waited for
        elif kind == "validation":
            add(curve.validations, update.validation.step, update.validation)
        elif kind == "originality":
            add(curve.originalities, update.originality.step, update.originality)
    if now.HasField("validation"):
        curve.validations.setdefault(now.validation.step, now.validation)
    if now.HasField("originality"):
        curve.originalities.setdefault(now.originality.step, now.originality)
    return curve


def add(found: dict[int, T], step: int, value: T) -> None:
    """Note what was measured at a step. A resumed run goes back: what came after the step before is forgotten."""
    for later in [known for known in found if known >= step]:
        del found[later]
    found[step] = value


def differing_settings(runs: Sequence[trainer_pb2.Run]) -> dict[str, list[str]]:
    """The settings in which runs differ, by name, with each run's value in words; base and dataset among them."""
    values = [
        {"base": run.base, "dataset": run.dataset} | {name: in_words(run.settings, name) for name in FIELDS}
        for run in runs
    ]
    return {
        name: [of_run[name] for of_run in values]
        for name in (values[0] if values else ())
        if any(of_run[name] != values[0][name] for of_run in values)
    }


def in_words(settings: trainer_pb2.RunSettings, name: str) -> str:
    """A setting's value as it is typed; empty when it is unset."""
    field, value = FIELDS[name], getattr(settings, name)
    if field.is_repeated:
        return ", ".join(f'"{item}"' if isinstance(item, str) else f"{item:g}" for item in value)
    if field.enum_type is not None:
        return words_of(field)[value - 1] if 0 < value <= len(words_of(field)) else ""
    if not settings.HasField(name):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def common_steps(measured: Sequence[dict[int, T]], most: int = MOST_STEPS) -> list[int]:
    """Steps at which all runs were measured: the last, and up to `most` in all, evenly spaced."""
    common = sorted(set.intersection(*(set(steps) for steps in measured))) if measured else []
    if len(common) <= most:
        return common
    return [common[round((place + 1) * len(common) / most) - 1] for place in range(most)]

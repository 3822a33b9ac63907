"""A run's progress as the page's script reads it.

In: the updates of WatchRun. Out: server-sent events: `updates` with everything that has come, its id the
cursor to go on from; `end` when the run has ended; `problem` when the trainer is away, after which the
browser calls again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from protos import trainer_pb2
from services.admin import streams, words
from services.admin.problems import explain, sentence
from services.client import statuses
from services.client.connection import Connection
from services.client.post import parse
from services.client.run_settings import SETTINGS, Setting, values_of
from services.client.watching import RUN_ENDS
from services.common.errors import NonesuchError, Unavailable

# The trainer keeps a thread for each watcher; one whose browser has left is let go of after this long.
WATCH_S = 15.0


def lines(services: Connection, run: str, cursor: int, stopping: threading.Event) -> Iterator[str]:
    """The events of one watching browser, from `cursor` on."""
    yield "retry: 2000\n\n"
    try:
        for batch in streams.batches(_watch(services, run, cursor), stopping):
            if not batch:
                yield streams.HEARTBEAT
                continue
            cursor = max(cursor, *(update.cursor for update in batch))
            yield streams.event("updates", as_json(batch), cursor)
        if not stopping.is_set():
            yield streams.event("end", {})
    except NonesuchError as error:
        yield streams.event("problem", explain(error).as_json())


def _watch(services: Connection, run: str, cursor: int) -> Iterator[trainer_pb2.RunUpdate]:
    """All updates until the run has ended, over any number of calls."""
    while True:
        request = trainer_pb2.WatchRunRequest(run=run, cursor=cursor)
        try:
            for update in services.trainer.WatchRun(request, timeout_s=WATCH_S):
                cursor = max(cursor, update.cursor)
                yield update
        except Unavailable as error:
            if error.reason != statuses.DEADLINE:
                raise
        else:
            return


def as_json(updates: list[trainer_pb2.RunUpdate]) -> dict[str, Any]:
    """What the script draws: lists by kind, each in order, and the newest state of the run."""
    kinds = ("metrics", "validations", "originalities", "samples", "checkpoints", "notes")
    drawn: dict[str, Any] = {kind: [] for kind in kinds}
    for update in updates:
        match update.WhichOneof("update"):
            case "metrics":
                drawn["metrics"].append(metrics_json(update.metrics))
            case "validation":
                drawn["validations"].append(validation_json(update.validation))
            case "originality":
                drawn["originalities"].append(originality_json(update.originality))
            case "sample":
                drawn["samples"].append(sample_json(update.sample))
            case "checkpoint":
                saved = update.checkpoint
                drawn["checkpoints"].append({"step": saved.step, "size": words.size(saved.size_bytes)})
            case "event":
                drawn["notes"].append({"step": update.event.step, "message": sentence(update.event.message)})
            case "run":
                drawn["run"] = run_json(update.run)
            case _:
                pass  # a newer trainer tells more than this page knows
    return drawn


def run_json(run: trainer_pb2.Run) -> dict[str, Any]:
    """A run's state and newest numbers."""
    word, tone = words.run_state(run.state)
    return {
        "name": run.name,
        "state": word,
        "tone": tone,
        "ended": run.state in RUN_ENDS,
        "error": sentence(run.error),
        "queue": run.queue_position,
        "step": run.step,
        "steps": run.settings.steps,
        "checkpoint": run.checkpoint_step,
        "metrics": metrics_json(run.metrics) if run.HasField("metrics") else None,
        "validation": validation_json(run.validation) if run.HasField("validation") else None,
        "best": validation_json(run.best_validation) if run.HasField("best_validation") else None,
        "originality": originality_json(run.originality) if run.HasField("originality") else None,
        "restarts": run.restarts,
        "because": sentence(run.ended_because),
    }


def metrics_json(metrics: trainer_pb2.Metrics) -> dict[str, Any]:
    """The numbers of a step, and the line that the 2019 script printed for it."""
    return {
        "step": metrics.step,
        "seconds": round(metrics.seconds, 2),
        "loss": _finite(metrics.loss),
        "average": _finite(metrics.average_loss),
        "rate": metrics.learning_rate,
        "norm": _finite(metrics.gradient_norm),
        "speed": round(metrics.tokens_per_second),
        "mfu": round(metrics.mfu, 4) if metrics.HasField("mfu") else None,
        "remaining": round(metrics.remaining_seconds),
        "memory": words.size(metrics.memory_bytes) if metrics.memory_bytes else "",
        "epoch": round(metrics.epoch, 3),
        "line": f"[{metrics.step} | {metrics.seconds:.2f}] loss={metrics.loss:.2f} avg={metrics.average_loss:.2f}",
    }


def validation_json(validation: trainer_pb2.Validation) -> dict[str, Any]:
    """What was measured on held-out posts."""
    return {
        "step": validation.step,
        "loss": _finite(validation.loss),
        "bits": _finite(validation.bits_per_byte),
        "perplexity": _finite(validation.perplexity),
        "accuracy": round(validation.token_accuracy, 4),
    }


def originality_json(originality: trainer_pb2.Originality) -> dict[str, Any]:
    """What a step's samples have from the posts."""
    return {
        "step": originality.step,
        "share": round(originality.verbatim_share, 4),
        "longest": words.plural(originality.longest_run_tokens, "token"),
    }


def sample_json(sample: trainer_pb2.Sample) -> dict[str, Any]:
    """A sample, its header apart."""
    post = parse(sample.text)
    return {
        "step": sample.step,
        "index": sample.index,
        "wish": words.wish(sample),
        "recited": words.recited(sample),
        "title": post.title,
        "tags": list(post.tags),
        "date": post.date,
        "body": post.body,
    }


def settings_in_words(settings: trainer_pb2.RunSettings) -> list[tuple[str, str]]:
    """A run's settings for people, in the order of the form."""
    values = values_of(settings)
    return [
        (setting.label, _in_words(setting, values[name]))
        for group in SETTINGS.values()
        for name, setting in group.items()
        if name in values
    ]


def _in_words(setting: Setting, value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case str():
            return setting.words.get(value, value)
        case list():
            return ", ".join(f"“{item}”" if isinstance(item, str) else f"{item:g}" for item in value)
        case _:
            return f"{value:,g}" if isinstance(value, float) else f"{value:,}"


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity; the chart shows a gap."""
    return round(value, 5) if abs(value) < 1e30 else None

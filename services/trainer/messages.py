"""Between the messages of protos/trainer.proto and the values of the pure modules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from protos import trainer_pb2 as pb
from services.common.errors import InvalidRequest, NotFound
from services.gpt2.config import GPT2Config
from services.trainer.checkpoints import Checkpoint, best, list_checkpoints, marked_steps
from services.trainer.fetching.names import Known
from services.trainer.fetching.record import ACTIVE as ACTIVE_FETCHES
from services.trainer.fetching.record import FetchRecord
from services.trainer.fetching.sources import HUB, OPENAI
from services.trainer.metrics_log import FILE_NAME, Newest, newest_lines
from services.trainer.planning import Forecast
from services.trainer.publishing import ModelVersion
from services.trainer.run_record import RunRecord
from services.trainer.run_settings import RunSettings
from services.trainer.runs import Runs
from services.trainer.samples import Sample, wishes

T = TypeVar("T")
MAX_PAGE, DEFAULT_PAGE = 1000, 100

_FIELDS: Any = pb.RunSettings.DESCRIPTOR.fields


def choices(settings: pb.RunSettings) -> dict[str, Any]:
    """The settings that a request names, by field of RunSettings."""
    named: dict[str, Any] = {}
    for field in _FIELDS:
        value = getattr(settings, field.name)
        if field.is_repeated:
            if value:
                named[field.name] = tuple(value)
        elif field.enum_type is not None:
            if value:
                named[field.name] = _word(field, value)
        elif settings.HasField(field.name):
            named[field.name] = value
    return named


def settings_message(settings: RunSettings) -> pb.RunSettings:
    """A run's settings, with nothing unset."""
    message = pb.RunSettings()
    for field in _FIELDS:
        value = getattr(settings, field.name)
        if field.is_repeated:
            getattr(message, field.name).extend(value)
        elif field.enum_type is not None:
            setattr(message, field.name, field.enum_type.values_by_name[_prefix(field) + value.upper()].number)
        else:
            setattr(message, field.name, value)
    return message


def plan_message(forecast: Forecast) -> pb.RunPlan:
    """What a run would do."""
    return pb.RunPlan(
        settings=settings_message(forecast.settings),
        changes=forecast.changes,
        remarks=forecast.remarks,
        num_parameters=forecast.num_parameters,
        num_trained_parameters=forecast.num_trained_parameters,
        num_train_tokens=forecast.num_train_tokens,
        memory_bytes=forecast.memory_bytes,
        peak_memory_bytes=forecast.peak_memory_bytes,
        available_memory_bytes=forecast.available_memory_bytes,
        seconds_per_step=forecast.seconds_per_step,
        is_measured=forecast.is_measured,
        total_seconds=forecast.total_seconds,
        disk_bytes=forecast.disk_bytes,
        epochs=forecast.epochs,
        device=forecast.device,
        fits=forecast.fits,
    )


def fetchable_message(known: Known, *, is_here: bool) -> pb.FetchableBase:
    """A base that can be fetched by name."""
    return pb.FetchableBase(
        name=known.name,
        aliases=known.aliases,
        repository=known.repository,
        num_parameters=known.config.num_parameters,
        download_bytes=known.download_bytes,
        context=known.config.n_ctx,
        num_layers=known.config.n_layer,
        width=known.config.n_embd,
        is_here=is_here,
        vocabulary_size=known.config.n_vocab,
    )


def fetch_source(source: pb.FetchSource) -> str:
    """The source that a request names; empty when it names none."""
    sources = {pb.FETCH_SOURCE_UNSPECIFIED: "", pb.FETCH_SOURCE_HUB: HUB, pb.FETCH_SOURCE_OPENAI: OPENAI}
    if source not in sources:
        raise InvalidRequest(f"source has no value {source}", field="source")
    return sources[source]


def fetch_message(record: FetchRecord) -> pb.Fetch:
    """A fetch as it is now."""
    active = record.state in ACTIVE_FETCHES
    return pb.Fetch(
        name=record.name,
        base=record.asked,
        state=f"FETCH_STATE_{record.state}",
        phase=f"FETCH_PHASE_{record.phase.upper()}" if active and record.phase else None,
        url=record.url,
        file=record.file,
        bytes_done=record.bytes_done,
        bytes_total=record.bytes_total,
        error=record.error,
        remarks=record.remarks,
        created_at=timestamp(record.created_at) if record.created_at else None,
        updated_at=timestamp(record.updated_at) if record.updated_at else None,
    )


def _word(field: Any, value: int) -> str:
    """An enum's value as RunSettings has it; InvalidRequest when it has none."""
    if value not in field.enum_type.values_by_number:
        raise InvalidRequest(f"{field.name} has no value {value}", field=f"settings.{field.name}")
    return str(field.enum_type.values_by_number[value].name).removeprefix(_prefix(field)).lower()


def _prefix(field: Any) -> str:
    """What the names of an enum's values begin with."""
    return str(field.enum_type.values[0].name).removesuffix("UNSPECIFIED")


def run_message(runs: Runs, record: RunRecord, *, state: str = "", error: str = "", measured: bool = True) -> pb.Run:
    """A run as it is now; `state` and `error` override for a moment of its history.

    Args:
        measured: with its newest metrics; Corrupt when those are damaged.
    """
    folder = runs.folder(record.name)
    newest = newest_lines(folder / FILE_NAME) if measured else Newest()
    checkpoints = list_checkpoints(folder)
    queue = [pending.name for pending in runs.queue()]
    run = pb.Run(
        name=record.name,
        state=f"RUN_STATE_{state or record.state}",
        error=error if state else record.error,
        queue_position=queue.index(record.name) + 1 if record.name in queue else 0,
        dataset=record.settings.dataset,
        base=record.settings.base,
        settings=settings_message(record.settings),
        step=newest.step["step"] if newest.step else 0,
        checkpoint_step=checkpoints[-1].step if checkpoints else 0,
        num_parameters=record.num_parameters,
        created_at=timestamp(record.created_at),
        updated_at=timestamp(record.updated_at),
        restarts=record.restarts,
        ended_because=record.ended_because,
        environment=record.environment,
        dataset_digest=str(record.dataset_facts.get("digest", "")),
    )
    if newest.step:
        run.metrics.CopyFrom(metrics_message(newest.step))
    for line, message in ((newest.validation, run.validation), (newest.best_validation, run.best_validation)):
        if line:
            message.CopyFrom(validation_message(line | {"loss": line["validation_loss"]}))
    if newest.originality:
        run.originality.CopyFrom(originality_message(newest.originality))
    return run


def metrics_message(line: dict[str, Any]) -> pb.Metrics:
    """A step's line of metrics.jsonl or events.jsonl."""
    return pb.Metrics(
        step=line["step"],
        seconds=line["seconds"],
        loss=line["loss"],
        average_loss=line["avg"],
        learning_rate=line["learning_rate"],
        gradient_norm=line["gradient_norm"],
        tokens_per_second=line["tokens_per_second"],
        mfu=line.get("mfu"),
        remaining_seconds=line.get("remaining_seconds"),
        memory_bytes=line.get("memory_bytes"),
        epoch=line.get("epoch"),
    )


def validation_message(facts: dict[str, Any]) -> pb.Validation:
    """A validation as state.json and events.jsonl hold it; before accuracy was measured it was without."""
    perplexity = math.exp(min(facts["loss"], 700.0))  # above, a double overflows
    return pb.Validation(
        step=facts["step"],
        loss=facts["loss"],
        bits_per_byte=facts["bits_per_byte"],
        perplexity=perplexity,
        token_accuracy=facts.get("token_accuracy"),
    )


def originality_message(facts: dict[str, Any]) -> pb.Originality:
    """What a step's samples have from the posts, as state.json, metrics.jsonl and events.jsonl hold it."""
    return pb.Originality(
        step=facts["step"],
        verbatim_share=facts["verbatim_share"],
        longest_run_tokens=facts["longest_run_tokens"],
    )


def checkpoint_messages(run_folder: Path) -> list[pb.Checkpoint]:
    """A run's checkpoints by step, each with what the others and the marks make of it."""
    found, marked = list_checkpoints(run_folder), marked_steps(run_folder)
    lowest = best(found)
    return [checkpoint_message(one, marked=one.step in marked, best=one is lowest) for one in found]


def checkpoint_of(run_folder: Path, step: int) -> pb.Checkpoint:
    """One of them; NotFound: it was deleted meanwhile."""
    for message in checkpoint_messages(run_folder):
        if message.step == step:
            return message
    raise NotFound(f"the checkpoint of step {step} of run {run_folder.name!r} was deleted meanwhile")


def checkpoint_message(checkpoint: Checkpoint, *, marked: bool, best: bool) -> pb.Checkpoint:
    """A checkpoint."""
    message = pb.Checkpoint(
        run=checkpoint.run,
        step=checkpoint.step,
        created_at=timestamp(checkpoint.created_at),
        size_bytes=checkpoint.size_bytes,
        marked=marked,
        best=best,
    )
    if checkpoint.validation:
        message.validation.CopyFrom(validation_message(checkpoint.validation))
    if checkpoint.originality:
        message.originality.CopyFrom(originality_message(checkpoint.originality))
    return message


def sample_message(sample: Sample, settings: RunSettings, originality: Mapping[str, Any]) -> pb.Sample:
    """A sample of a run with these settings.

    Args:
        originality: `verbatim_share` and `longest_run_tokens` of it; empty where they were not measured.
    """
    message = pb.Sample(
        run=sample.run,
        step=sample.step,
        index=sample.index,
        text=sample.text,
        verbatim_share=originality.get("verbatim_share"),
        longest_run_tokens=originality.get("longest_run_tokens"),
    )
    wished = wishes(settings)
    if sample.index <= len(wished):
        wish = wished[sample.index - 1]
        message.prompt, message.temperature = wish.prompt, wish.temperature
    return message


def base_message(name: str, config: GPT2Config, *, fresh: bool, vocabulary_digest: str = "") -> pb.Base:
    """A base model."""
    return pb.Base(
        name=name,
        fresh=fresh,
        num_parameters=config.num_parameters,
        vocabulary_size=config.n_vocab,
        vocabulary_digest=vocabulary_digest,
        context=config.n_ctx,
        num_layers=config.n_layer,
        width=config.n_embd,
        num_heads=config.n_head,
    )


def version_message(version: ModelVersion) -> pb.ModelVersion:
    """A published model."""
    manifest = version.manifest
    message = pb.ModelVersion(
        model=version.name,
        version=version.version,
        run=manifest["run"],
        step=manifest["step"],
        dataset=manifest["dataset"],
        vocabulary_digest=manifest["vocabulary_digest"],
        num_parameters=manifest["num_parameters"],
        size_bytes=version.size_bytes,
        created_at=timestamp(manifest["created_at"]),
        marked=version.marked,
        aliases=version.aliases,
        verbatim_share=manifest.get("verbatim_share"),
    )
    if manifest["validation_loss"] is not None:
        message.validation.CopyFrom(
            validation_message(
                {
                    "step": manifest["validation_step"],
                    "loss": manifest["validation_loss"],
                    "bits_per_byte": manifest["bits_per_byte"],
                    "token_accuracy": manifest.get("token_accuracy"),
                }
            )
        )
    return message


def timestamp(text: str) -> Timestamp:
    """A time of our files as the wire has it."""
    message = Timestamp()
    message.FromDatetime(datetime.fromisoformat(text))
    return message


def page(items: list[T], page_size: int, page_token: str) -> tuple[list[T], str]:
    """Cut a page out of a list; return it and the token of the next, empty after the last.

    Raises:
        InvalidRequest: a negative size, or a token that this service did not give.
    """
    if page_size < 0:
        raise InvalidRequest(f"page_size is {page_size}: it must be at least 0", field="page_size")
    if page_token and not page_token.isdecimal():
        raise InvalidRequest(f"{page_token!r} is not a page token of this service", field="page_token")
    start = int(page_token or 0)
    end = start + min(page_size or DEFAULT_PAGE, MAX_PAGE)
    return items[start:end], str(end) if end < len(items) else ""

"""Between the messages of protos/trainer.proto and the values of the pure modules."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from protos import trainer_pb2 as pb
from services.common.errors import InvalidRequest, Unimplemented
from services.gpt2.config import GPT2Config
from services.trainer.checkpoints import Checkpoint, list_checkpoints
from services.trainer.metrics_log import FILE_NAME, newest_lines
from services.trainer.publishing import ModelVersion
from services.trainer.run_settings import RunSettings
from services.trainer.runs import RunRecord, Runs
from services.trainer.samples import Sample

T = TypeVar("T")
MAX_PAGE, DEFAULT_PAGE = 1000, 100

_FIELDS: Any = pb.RunSettings.DESCRIPTOR.fields
# On the wire, and not built yet.
NOT_YET = frozenset(
    {
        *("preset", "epochs", "tokens", "minutes", "patience", "optimizer", "momentum", "decay_share"),
        *("label_smoothing", "input_noise", "gradient_checkpointing", "only_transformer_layers", "frozen_layers"),
        *("lora_rank", "lora_alpha", "packing", "sample_prompts", "sample_temperatures", "on_divergence"),
        *("spike_limit", "restarts", "fit_memory", "gpus", "keep_versions", "sample_top_k", "sample_top_p"),
        *("save_best",),
    }
)
NOT_YET_VALUES = {
    "publish": ("on_best",),
    "schedule": ("warmup_stable_decay", "inverse_sqrt"),
    "precision": ("float16",),
}


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
    for name, value in named.items():
        if name in NOT_YET or value in NOT_YET_VALUES.get(name, ()):
            raise Unimplemented(f"{name} {value} is not built yet; leave it out")
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


def _word(field: Any, value: int) -> str:
    """An enum's value as RunSettings has it; InvalidRequest when it has none."""
    if value not in field.enum_type.values_by_number:
        raise InvalidRequest(f"{field.name} has no value {value}", field=f"settings.{field.name}")
    return str(field.enum_type.values_by_number[value].name).removeprefix(_prefix(field)).lower()


def _prefix(field: Any) -> str:
    """What the names of an enum's values begin with."""
    return str(field.enum_type.values[0].name).removesuffix("UNSPECIFIED")


def run_message(runs: Runs, record: RunRecord, *, state: str = "", error: str = "") -> pb.Run:
    """A run as it is now; `state` and `error` override for a moment of its history."""
    folder = runs.folder(record.name)
    step_line, validation_line = newest_lines(folder / FILE_NAME)
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
        step=step_line["step"] if step_line else 0,
        checkpoint_step=checkpoints[-1].step if checkpoints else 0,
        num_parameters=record.num_parameters,
        created_at=timestamp(record.created_at),
        updated_at=timestamp(record.updated_at),
    )
    if step_line:
        run.metrics.CopyFrom(metrics_message(step_line))
    if validation_line:
        run.validation.CopyFrom(
            validation_message(
                validation_line["step"], validation_line["validation_loss"], validation_line["bits_per_byte"]
            )
        )
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
    )


def validation_message(step: int, loss: float, bits_per_byte: float) -> pb.Validation:
    """A validation."""
    perplexity = math.exp(min(loss, 700.0))  # above, a double overflows
    return pb.Validation(step=step, loss=loss, bits_per_byte=bits_per_byte, perplexity=perplexity)


def checkpoint_message(checkpoint: Checkpoint) -> pb.Checkpoint:
    """A checkpoint."""
    message = pb.Checkpoint(
        run=checkpoint.run,
        step=checkpoint.step,
        created_at=timestamp(checkpoint.created_at),
        size_bytes=checkpoint.size_bytes,
    )
    if checkpoint.validation:
        message.validation.CopyFrom(validation_message(**checkpoint.validation))
    return message


def sample_message(sample: Sample) -> pb.Sample:
    """A sample."""
    return pb.Sample(run=sample.run, step=sample.step, index=sample.index, text=sample.text)


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
    )
    if manifest["validation_loss"] is not None:
        message.validation.CopyFrom(
            validation_message(manifest["validation_step"], manifest["validation_loss"], manifest["bits_per_byte"])
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

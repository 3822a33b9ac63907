"""Asks the generator for text: requests from plain arguments, and waiting until a model is served."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from protos import generator_pb2
from services.client.connection import Connection
from services.common.errors import Busy, FailedPrecondition, InvalidRequest, NotFound, Unavailable

T = TypeVar("T")

GENERATE_S = 600.0  # waiting in the queue included
STREAM_S = 3600.0
PAUSE_S = 0.5  # between two looks at a model that is not served yet
_SAMPLING = frozenset(field.name for field in generator_pb2.SamplingParameters.DESCRIPTOR.fields)


def parse_model(text: str) -> tuple[str, int | None, str]:
    """Split `NAME`, `NAME@VERSION` or `NAME@ALIAS` into name, version and alias.

    >>> parse_model("run1@3"), parse_model("run1@latest")
    (('run1', 3, ''), ('run1', None, 'latest'))
    """
    name, separator, version = text.partition("@")
    if separator and not version:
        raise InvalidRequest(f"{text!r}: no version after the '@'; write NAME@3 or NAME@latest", field="model")
    if not (version.isascii() and version.isdigit()):
        return name, None, version
    if len(version) > 9:
        raise InvalidRequest(f"{text[:100]!r}: no model has so many versions", field="model")
    return name, int(version), ""


def make_request(
    prompt: str = "",
    *,
    model: str = "",
    stop: Sequence[str] = (),
    stop_ids: Sequence[int] = (),
    logit_bias: Mapping[int, float] | None = None,
    **options: Any,
) -> generator_pb2.GenerateRequest:
    """Build a request.

    Args:
        model: `NAME`, `NAME@VERSION` or `NAME@ALIAS`; empty is the one published last.
        options: any other field of GenerateRequest or SamplingParameters by name; None leaves it unset.
    """
    name, version, alias = parse_model(model)
    request = generator_pb2.GenerateRequest(model=name, prompt=prompt, stop=stop, stop_ids=stop_ids)
    if version is not None:
        request.version = version
    elif alias:
        request.alias = alias
    for key, value in options.items():
        if value is not None:
            setattr(request.sampling if key in _SAMPLING else request, key, value)
    for token_id, bias in (logit_bias or {}).items():
        request.sampling.logit_bias[token_id] = bias
    return request


def generate(connection: Connection, request: generator_pb2.GenerateRequest) -> generator_pb2.GenerateResponse:
    """Ask for whole samples."""
    response: generator_pb2.GenerateResponse = connection.generator.Generate(request, timeout_s=GENERATE_S)
    return response


def stream(connection: Connection, request: generator_pb2.GenerateRequest) -> Iterator[generator_pb2.GenerateDelta]:
    """Ask for samples piece by piece. Closing the iterator gives the slots back."""
    deltas: Iterator[generator_pb2.GenerateDelta] = connection.generator.GenerateStream(request, timeout_s=STREAM_S)
    return deltas


def collect(
    deltas: Iterator[generator_pb2.GenerateDelta], on_tokens: Callable[[int, int], None]
) -> generator_pb2.GenerateResponse:
    """Put a stream together into the response that Generate would have given.

    Args:
        on_tokens: told tokens written and the most that may be written, over all samples.
    """
    response = generator_pb2.GenerateResponse()
    samples: dict[int, generator_pb2.GeneratedSample] = {}
    pieces: dict[int, list[str]] = {}
    written = most = 0
    for delta in deltas:
        kind = delta.WhichOneof("delta")
        if kind == "start":
            response.model.CopyFrom(delta.start.model)
            response.effective.CopyFrom(delta.start.effective)
            most = delta.start.effective.max_new_tokens * max(1, delta.start.effective.n)
            on_tokens(0, most)
        elif kind == "text":
            index = delta.text.index
            sample = samples.setdefault(index, generator_pb2.GeneratedSample(index=index))
            pieces.setdefault(index, []).append(delta.text.text)
            sample.ids.extend(delta.text.ids)
            sample.logprobs.extend(delta.text.logprobs)
            written += len(delta.text.ids)
            on_tokens(written, most)
        elif kind == "end":
            sample = samples.setdefault(delta.end.index, generator_pb2.GeneratedSample(index=delta.end.index))
            sample.finish_reason = delta.end.finish_reason
            sample.stop = delta.end.stop
            if delta.end.HasField("originality"):
                sample.originality.CopyFrom(delta.end.originality)
        elif kind == "done":
            response.usage.CopyFrom(delta.done.usage)
            response.timings.CopyFrom(delta.done.timings)
    for index in sorted(samples):
        samples[index].text = "".join(pieces.get(index, ()))
        response.samples.append(samples[index])
    return response


def patiently(attempt: Callable[[], T], patience_s: float, *, until_published: bool = False) -> T:
    """Call `attempt` until it succeeds, or raise its last error after `patience_s` seconds.

    Args:
        attempt: makes one call; Busy, and Unavailable with a time to try again, are worth another.
        until_published: a model that is not there yet is worth another, too.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return attempt()
        except (Busy, Unavailable, NotFound, FailedPrecondition) as error:
            is_absent = isinstance(error, NotFound | FailedPrecondition)
            is_unsaid = isinstance(error, Unavailable) and error.retry_after_s is None
            if (is_absent or is_unsaid) and not until_published:
                raise
            pause_s = error.retry_after_s if error.retry_after_s is not None else PAUSE_S
            if time.monotonic() + pause_s > deadline:
                raise
        time.sleep(pause_s)

"""Asks the generator for a whole post."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from protos import generator_pb2
from services.client.connection import Connection
from services.client.writing import GENERATE_S, parse_model
from services.common.errors import FailedPrecondition

_SAMPLING = frozenset(field.name for field in generator_pb2.SamplingParameters.DESCRIPTOR.fields)


def make_post_request(
    *, model: str = "", tags: Sequence[str] = (), **options: Any
) -> generator_pb2.GeneratePostRequest:
    """Build a request.

    Args:
        model: `NAME`, `NAME@VERSION` or `NAME@ALIAS`; empty is the one published last.
        options: any other field of GeneratePostRequest or SamplingParameters by name; None leaves it unset.
    """
    name, version, alias = parse_model(model)
    request = generator_pb2.GeneratePostRequest(model=name, tags=tags)
    if version is not None:
        request.version = version
    elif alias:
        request.alias = alias
    for key, value in options.items():
        if value is not None:
            setattr(request.sampling if key in _SAMPLING else request, key, value)
    return request


def write_post(
    connection: Connection, request: generator_pb2.GeneratePostRequest
) -> tuple[generator_pb2.GeneratePostRequest, generator_pb2.GeneratePostResponse]:
    """Have a post written, with its originality where the model can tell it; return what was asked, and the answer."""
    measured = generator_pb2.GeneratePostRequest()
    measured.CopyFrom(request)
    measured.originality = True
    try:
        return measured, connection.generator.GeneratePost(measured, timeout_s=GENERATE_S)
    except FailedPrecondition as error:
        if error.reason != "NO_INDEX":  # told before anything is written
            raise
    measured.originality = False
    return measured, connection.generator.GeneratePost(measured, timeout_s=GENERATE_S)


def again(
    request: generator_pb2.GeneratePostRequest, response: generator_pb2.GeneratePostResponse
) -> generator_pb2.GeneratePostRequest:
    """The same request with a new seed, of the model that wrote the post, also where another was published since."""
    other = generator_pb2.GeneratePostRequest()
    other.CopyFrom(request)
    other.model = response.model.name
    other.ClearField("seed")
    return other


def more_like(
    request: generator_pb2.GeneratePostRequest, response: generator_pb2.GeneratePostResponse
) -> generator_pb2.GeneratePostRequest:
    """A request for another post with the tags of this one, written in the same way; all else is invented."""
    other = again(request, response)
    for field in ("title", "date", "opening"):
        other.ClearField(field)
    del other.tags[:]
    other.tags.extend(response.tags)
    return other

"""A text while it is written, as the page's script reads it.

In: the deltas of GenerateStream. Out: server-sent events: `start` (model and seed), `text` (characters that
follow), `header` (the title and so on, once they are whole), `originality` (what of it is borrowed, see borrowed.py),
`end` (why it ended, how fast it was), `problem`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

from protos import generator_pb2
from services.admin import borrowed, streams, words
from services.admin.problems import explain
from services.client.connection import Connection
from services.client.post import parse
from services.client.writing import stream
from services.common.errors import FailedPrecondition, NonesuchError

# A header is three short lines; what goes on longer without a blank line is text that only looks like one.
MAX_HEADER_CHARACTERS = 1000
_HEADER_LINE = re.compile(r"(title|tags|date): ?.*")
_HEADER_BEGINNINGS = ("title: ", "tags: ", "date: ")


class HeaderWatch:
    """Tells when the header of a text that is being written is whole."""

    def __init__(self, prompt: str) -> None:
        self._text = prompt
        self._pending = True

    def push(self, text: str, *, is_last: bool = False) -> dict[str, Any] | None:
        """Add text. Returns the header once, when it is certain; `skip` is its length as scripts count.

        Args:
            is_last: nothing more will come, so what is there is all.
        """
        if not self._pending:
            return None
        self._text += text
        if may_be_header(self._text) and not is_last:
            return None
        self._pending = False
        head, end, _ = self._text.partition("\n\n")
        post = parse(head + end)
        if not post.has_header:
            return None
        return {
            "title": post.title,
            "tags": list(post.tags),
            "date": post.date,
            "skip": borrowed.script_length(head + end),
        }


def may_be_header(text: str) -> bool:
    """Whether a text that is still being written may be inside its header."""
    if len(text) > MAX_HEADER_CHARACTERS or "\n\n" in text:
        return False
    *whole, last = text.split("\n")
    return all(_HEADER_LINE.fullmatch(line) for line in whole) and (
        _HEADER_LINE.fullmatch(last) is not None or any(name.startswith(last) for name in _HEADER_BEGINNINGS)
    )


def lines(services: Connection, request: generator_pb2.GenerateRequest, stopping: threading.Event) -> Iterator[str]:
    """The events of one text."""
    watch = HeaderWatch(request.prompt)
    whole = ""
    reason: int = generator_pb2.FINISH_REASON_UNSPECIFIED
    try:
        deltas = _measured(services, request)
        for batch in streams.batches(deltas, stopping):
            if not batch:
                yield streams.HEARTBEAT
            written = ""
            for delta in batch:
                match delta.WhichOneof("delta"):
                    case "start":
                        yield streams.event("start", _start_json(delta.start))
                    case "text":
                        written += delta.text.text
                        whole += delta.text.text
                    case "end":
                        reason = delta.end.finish_reason
                        yield from _text(written, watch)
                        written = ""
                        if delta.end.HasField("originality"):
                            found = borrowed.as_json(delta.end.originality, whole, request.prompt)
                            yield streams.event("originality", found)
                    case "done":
                        if header := watch.push("", is_last=True):
                            yield streams.event("header", header)
                        if reason == generator_pb2.FINISH_REASON_LENGTH and not request.HasField("max_new_tokens"):
                            reason = generator_pb2.FINISH_REASON_CONTEXT  # nobody asked for a length
                        yield streams.event("end", _end_json(delta.done, reason))
                    case _:
                        pass
            yield from _text(written, watch)
    except NonesuchError as error:
        yield streams.event("problem", explain(error).as_json())


def _measured(services: Connection, request: generator_pb2.GenerateRequest) -> Iterator[generator_pb2.GenerateDelta]:
    """The deltas, with originality where the model can tell it."""
    measured = generator_pb2.GenerateRequest(originality=True)
    measured.MergeFrom(request)
    try:
        yield from stream(services, measured)
    except FailedPrecondition as error:
        if error.reason != "NO_INDEX":  # told before anything is written
            raise
        yield from stream(services, request)


def _text(written: str, watch: HeaderWatch) -> Iterator[str]:
    if written:
        yield streams.event("text", written)
        if header := watch.push(written):
            yield streams.event("header", header)


def _start_json(start: generator_pb2.StreamStart) -> dict[str, Any]:
    # A seed has 64 bits and a script's numbers have 53: it goes as text.
    return {"model": start.model.name, "version": start.model.version, "seed": str(start.effective.seed)}


def _end_json(done: generator_pb2.StreamEnd, reason: int) -> dict[str, Any]:
    seconds = done.timings.prefill.ToMilliseconds() / 1000 + done.timings.decode.ToMilliseconds() / 1000
    tokens = done.usage.generated_tokens
    speed = f"{tokens / seconds:.0f} tokens/s" if seconds > 0 else ""
    return {
        "reason": words.finish(reason),
        "tokens": words.plural(tokens, "token"),
        "seconds": words.duration(seconds) if seconds >= 10 else f"{seconds:.1f} s",
        "speed": speed,
    }

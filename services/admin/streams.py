"""Server-sent events: from a gRPC stream to lines that a browser's EventSource reads.

A thread reads the gRPC stream, so that a heartbeat goes out while it is silent. A browser that has gone away
is noticed when something is written to it; the gRPC call is then ended, which frees what the service held for
it.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Response

HEARTBEAT = ": still here\n\n"
HEARTBEAT_S = 10.0
POLL_S = 0.25  # how soon a stream ends after SIGTERM
BATCH = 500  # messages handed on together while a long history is caught up with
BACKLOG = 1000


def event(name: str, data: Any, identifier: int | str | None = None) -> str:
    """One event. `data` goes as JSON on one line; the browser sends `identifier` back when it reconnects."""
    head = f"id: {identifier}\n" if identifier is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def batches(messages: Iterator[Any], stopping: threading.Event) -> Iterator[list[Any]]:
    """Yield what has come from a stream, in order; an empty list means that nothing came for a while.

    Args:
        messages: a generator, or another iterator. It is closed at the message after this one was.
        stopping: when set, this generator ends.

    Raises:
        NonesuchError: the stream's own error, after everything that came before it.
    """
    arrived: queue.Queue[tuple[str, Any]] = queue.Queue(BACKLOG)
    abandoned = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not abandoned.is_set():
            try:
                return arrived.put((kind, value), timeout=POLL_S)
            except queue.Full:
                continue

    def read() -> None:
        try:
            for message in messages:
                put("message", message)
                if abandoned.is_set():
                    break
            put("end", None)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that serves the browser
            put("error", error)
        finally:
            close = getattr(messages, "close", None)
            if close is not None:
                close()

    threading.Thread(target=read, name="watch", daemon=True).start()
    silent_s = 0.0
    try:
        while not stopping.is_set():
            batch, last = _take(arrived)
            if batch:
                silent_s = 0.0
                yield batch
            if last is not None:
                kind, error = last
                if kind == "error":
                    raise error
                return
            if not batch:
                silent_s += POLL_S
                if silent_s >= HEARTBEAT_S:
                    silent_s = 0.0
                    yield []
    finally:
        abandoned.set()


def _take(arrived: queue.Queue[tuple[str, Any]]) -> tuple[list[Any], tuple[str, Any] | None]:
    """What is there now, waiting up to POLL_S for the first; and how the stream ended, if it did."""
    batch: list[Any] = []
    try:
        kind, value = arrived.get(timeout=POLL_S)
        while kind == "message":
            batch.append(value)
            if len(batch) == BATCH:
                return batch, None
            kind, value = arrived.get_nowait()
    except queue.Empty:
        return batch, None
    return batch, (kind, value)


def respond(lines: Iterable[str]) -> Response:
    """A response that sends each line as it comes."""
    response = Response(lines, mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # a proxy in front must not hold events back
    return response

"""Watches long work until it is done, over any number of broken connections.

A stream that breaks is opened again: from the last cursor for a run, from the present state for a dataset
or a fetch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from protos import tokenizer_pb2, trainer_pb2
from services.client import statuses
from services.client.connection import Connection
from services.common.errors import Cancelled, NonesuchError, Unavailable

T = TypeVar("T")

STREAM_S = 3600.0  # deadline of one stream; the watch goes on with the next
PATIENCE_S = 300.0  # how long a service may be away before the watch gives up
PAUSE_S = 0.5  # between two attempts; grpc's own backoff comes on top

RUN_ENDS = (trainer_pb2.RUN_STATE_SUCCEEDED, trainer_pb2.RUN_STATE_FAILED, trainer_pb2.RUN_STATE_CANCELLED)


def say_nothing(error: NonesuchError) -> None:
    """Ignore a break."""


def watch_run(
    connection: Connection,
    run: str,
    *,
    cursor: int = 0,
    patience_s: float = PATIENCE_S,
    on_break: Callable[[NonesuchError], None] = say_nothing,
) -> Iterator[trainer_pb2.RunUpdate]:
    """Yield what happened and happens in a run until it is SUCCEEDED, FAILED or CANCELLED.

    The past comes first: of a run that was resumed, earlier ends are among it. The run as it is now is what
    GetRun returns, and the end is the end of the iterator.

    Args:
        cursor: of the last update seen; 0 begins at the run's beginning.
        patience_s: seconds that the trainer may be away before Unavailable is raised.
        on_break: told once per break why the stream broke.

    Raises:
        NotFound: no such run.
    """

    def open_stream() -> Iterator[trainer_pb2.RunUpdate]:
        request = trainer_pb2.WatchRunRequest(run=run, cursor=cursor)
        updates: Iterator[trainer_pb2.RunUpdate] = connection.trainer.WatchRun(request, timeout_s=STREAM_S)
        return updates

    for update in _unbroken(open_stream, patience_s, on_break):
        cursor = max(cursor, update.cursor)
        yield update


def watch_dataset(
    connection: Connection,
    dataset: str,
    *,
    patience_s: float = PATIENCE_S,
    on_break: Callable[[NonesuchError], None] = say_nothing,
) -> Iterator[tokenizer_pb2.Dataset]:
    """Yield a dataset's states until it is SUCCEEDED, FAILED or CANCELLED.

    Raises:
        NotFound: no such dataset.
    """

    def open_stream() -> Iterator[tokenizer_pb2.Dataset]:
        request = tokenizer_pb2.WatchDatasetRequest(dataset=dataset)
        states: Iterator[tokenizer_pb2.Dataset] = connection.tokenizer.WatchDataset(request, timeout_s=STREAM_S)
        return states

    yield from _unbroken(open_stream, patience_s, on_break)


def watch_fetch(
    connection: Connection,
    name: str,
    *,
    patience_s: float = PATIENCE_S,
    on_break: Callable[[NonesuchError], None] = say_nothing,
) -> Iterator[trainer_pb2.Fetch]:
    """Yield the states of a base's fetch until it is SUCCEEDED, FAILED or CANCELLED.

    Raises:
        NotFound: no such fetch, and no base of that name.
    """

    def open_stream() -> Iterator[trainer_pb2.Fetch]:
        request = trainer_pb2.WatchFetchRequest(name=name)
        states: Iterator[trainer_pb2.Fetch] = connection.trainer.WatchFetch(request, timeout_s=STREAM_S)
        return states

    yield from _unbroken(open_stream, patience_s, on_break)


def _unbroken(
    open_stream: Callable[[], Iterator[T]], patience_s: float, on_break: Callable[[NonesuchError], None]
) -> Iterator[T]:
    """Chain streams until one ends by itself; raise when none brings anything for `patience_s`."""
    was_there = False
    away_since: float | None = None
    while True:
        try:
            for item in open_stream():
                was_there, away_since = True, None
                yield item
            return
        except (Unavailable, Cancelled) as error:
            if error.reason != statuses.DEADLINE:
                if not was_there and error.reason == statuses.UNREACHABLE:
                    raise
                if away_since is None:
                    away_since = time.monotonic()
                    on_break(error)
                elif time.monotonic() - away_since > patience_s:
                    raise
        time.sleep(PAUSE_S)

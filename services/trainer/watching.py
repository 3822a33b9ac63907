"""A run's history as it grows, from a cursor on, until the run has ended. Knows no wire."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from services.common.errors import Unavailable
from services.trainer.events import EventLog
from services.trainer.run_record import ACTIVE
from services.trainer.runs import Runs

POLL_S = 0.2


def watch(
    runs: Runs, run: str, cursor: int, *, stopping: threading.Event, listening: Callable[[], bool]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (cursor after it, line of events.jsonl) until the run is neither pending nor running.

    Args:
        cursor: 0, or one that was yielded before.
        stopping: set when the service drains.
        listening: False when the caller has gone.

    Raises:
        NotFound: no such run, or it was deleted meanwhile. InvalidRequest: not a cursor of this run.
        Corrupt: the history is damaged; names the file.
        Unavailable: the service is stopping; watch again from the last cursor.
    """
    while listening():
        active = runs.get(run).state in ACTIVE  # before reading: what it then says is the end is the end
        for after, line in EventLog(runs.folder(run)).read(cursor):
            cursor = after
            yield cursor, line
        if not active:
            return
        if stopping.wait(POLL_S):
            raise Unavailable("the trainer is stopping; watch again from the last cursor", retry_after_s=1.0)

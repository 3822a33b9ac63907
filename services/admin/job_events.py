"""A job's progress as server-sent events: `job`, at once and at each change, until it has ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from services.admin import streams
from services.admin.jobs import PREPARING, Job, Jobs


def lines(jobs: Jobs, job: Job, stopping: threading.Event) -> Iterator[str]:
    """The events of one job.

    Args:
        stopping: when set, this generator ends.
    """
    yield streams.event("job", job.as_json())
    waited_s = 0.0
    seen: Job | None = job
    while seen is not None and seen.state == PREPARING and not stopping.is_set():
        changed = jobs.after(seen, streams.POLL_S)
        if changed is not None and changed != seen:
            yield streams.event("job", changed.as_json())
        waited_s += streams.POLL_S
        if waited_s >= streams.HEARTBEAT_S:
            waited_s = 0.0
            yield streams.HEARTBEAT
        seen = changed

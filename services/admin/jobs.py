"""Starting or planning a run from posts: what is missing is built first, in a thread; a page shows how far it is.

A job lives in memory. A restart of the page loses the display, not the work: the dataset goes on being built,
and starting again finds it.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.admin.problems import Problem, explain
from services.common.errors import NonesuchError

log = logging.getLogger(__name__)

KEPT = 50

PREPARING = "preparing"
STARTED = "started"
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """One start of a run.

    Args:
        state: PREPARING, STARTED or FAILED.
        message: what it is doing, for a person.
        done, total: how far; total is 0 while that is unknown.
        problem: why it failed.
        result: what the work returned, when it has ended: nothing where a run was started.
    """

    id: str
    run: str
    state: str = PREPARING
    message: str = "Looking at your posts"
    done: int = 0
    total: int = 0
    problem: Problem | None = None
    result: Any = None

    def as_json(self) -> dict[str, Any]:
        """What the page's script shows."""
        return {
            "state": self.state,
            "message": self.message,
            "done": self.done,
            "total": self.total,
            "problem": self.problem.as_json() if self.problem else None,
        }


Progress = Callable[[str, int, int], None]


class Jobs:
    """The jobs of this process, newest last; the oldest are forgotten. Safe from any thread."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._changed = threading.Condition()

    def start(self, run: str, work: Callable[[Progress], Any]) -> Job:
        """Do `work` in a thread and return its job at once.

        Args:
            run: name of the run that will be there when it is done.
            work: called with a function that takes a message and how far it is (done, total).
        """
        job = Job(id=uuid.uuid4().hex[:12], run=run)
        with self._changed:
            self._jobs[job.id] = job
            while len(self._jobs) > KEPT:
                self._jobs.popitem(last=False)
        threading.Thread(target=self._do, args=(job.id, work), name=f"job-{run}", daemon=True).start()
        return job

    def get(self, identifier: str) -> Job | None:
        """The job as it is now; None when it is unknown or forgotten."""
        with self._changed:
            return self._jobs.get(identifier)

    def after(self, seen: Job, timeout_s: float) -> Job | None:
        """Wait until the job is another than `seen`, at most `timeout_s`, and return it as it is then."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs.get(seen.id) != seen, timeout_s)
            return self._jobs.get(seen.id)

    def underway(self) -> list[Job]:
        """Jobs that are still preparing, newest first."""
        with self._changed:
            return [job for job in reversed(self._jobs.values()) if job.state == PREPARING]

    def _do(self, identifier: str, work: Callable[[Progress], Any]) -> None:
        def progress(message: str, done: int = 0, total: int = 0) -> None:
            self._replace(identifier, message=message, done=done, total=total)

        try:
            result = work(progress)
        except NonesuchError as error:
            self._replace(identifier, state=FAILED, problem=explain(error))
        except Exception as error:  # a thread's last line of defence: the page must not wait for ever
            log.exception("job %s failed", identifier)
            problem = Problem(f"Nonesuch made a mistake ({type(error).__name__}).", "The log of the page says more.")
            self._replace(identifier, state=FAILED, problem=problem)
        else:
            self._replace(identifier, state=STARTED, message="Done", result=result)

    def _replace(self, identifier: str, **changes: Any) -> None:
        with self._changed:
            job = self._jobs.get(identifier)
            if job is not None:
                self._jobs[identifier] = dataclasses.replace(job, **changes)
                self._changed.notify_all()

"""The gatherings of this process: one of a version at a time, whoever asks for it.

Those that nobody asks for wait until none is under way, so that they never take more than one place of the generator's.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Iterable

from services.admin.game.gathering import Progress
from services.admin.game.version import Version
from services.admin.jobs import FAILED, PREPARING, Job, Jobs

REST_S = 30.0  # one that failed so soon is not begun again by opening the page, or a reload would hide the failure
UNASKED_REST_S = 600.0  # the same for one that nobody asked for


class Gatherings:
    """Starts them and finds them again. Safe from any thread."""

    def __init__(self) -> None:
        self.jobs = Jobs()
        self._begun: dict[Version, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def find(self, version: Version) -> Job | None:
        """The last gathering of a version; None if there was none, or it is forgotten."""
        with self._lock:
            return self._find(version)

    def begin(self, version: Version, work: Callable[[Progress], None], *, again: bool = False) -> Job:
        """Start one, unless one is under way or has just failed.

        Args:
            work: told a function for its progress.
            again: do not rest after a failure.
        """
        with self._lock:
            job = self._find(version)
            if job is not None and job.state == PREPARING:
                return job
            if job is not None and job.state == FAILED and not again:
                _, begun_at = self._begun[version]
                if time.monotonic() - begun_at < REST_S:
                    return job
            return self._start(version, work)

    def begin_unasked(self, versions: Iterable[Version], work: Callable[[Version, Progress], None]) -> None:
        """Start that of the first version that had none, or failed long ago; nothing while one is under way.

        Args:
            versions: of which something is missing.
            work: told the version, and a function for its progress.
        """
        with self._lock:
            if self.jobs.underway():
                return
            now = time.monotonic()
            for version in versions:
                _, begun_at = self._begun.get(version, ("", -math.inf))
                if now - begun_at >= UNASKED_REST_S:
                    self._start(version, functools.partial(work, version))
                    return

    def _start(self, version: Version, work: Callable[[Progress], None]) -> Job:
        job = self.jobs.start(version.name, work)
        self._begun[version] = (job.id, time.monotonic())
        return job

    def _find(self, version: Version) -> Job | None:
        begun = self._begun.get(version)
        return self.jobs.get(begun[0]) if begun else None

"""Builds of datasets as long work: a queue with one worker, states that survive a restart, waiting.

    PENDING -> RUNNING -> (complete: the dataset's own manifest takes over) | FAILED | CANCELLED

Every build that is not complete has a record, `datasets/.builds/<id>.json`. At the start, builds that were
pending or running begin again: they depend on immutable inputs alone. The work itself is given (building.py).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path

from services.common.errors import Cancelled, FailedPrecondition, NonesuchError, Unavailable
from services.common.files import write_json
from services.tokenizer.building import Order
from services.tokenizer.datasets import no_dataset
from services.tokenizer.documents import Snapshot
from services.tokenizer.encoding import Progress

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3  # of a build during which the process died each time
_PROGRESS_S = 0.1  # between two reports of documents done
_WAIT_S = 1.0  # how often a waiting stream looks whether its caller is still there


class State(StrEnum):
    """What has become of a build; a complete one has no record any more."""

    PENDING = "pending"
    RUNNING = "running"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A build that is not complete."""

    order: Order
    created_at: str
    state: State = State.PENDING
    error: str = ""
    num_attempts: int = 0
    num_documents_done: int = 0

    @property
    def is_active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in (State.PENDING, State.RUNNING)


# Builds the dataset of an order; created_at and progress as for building.build_dataset.
Work = Callable[[Order, str, Progress], object]


class _StoppedError(Exception):
    """The service stops; the build goes on at the next start."""


class Builds:
    """The queue and its records. Safe to share between threads."""

    def __init__(self, folder: Path, work: Work) -> None:
        self._folder = folder / ".builds"
        self._work = work
        self._builds: dict[str, Build] = {}
        self._queue: list[str] = []
        self._cancelled: set[str] = set()
        self._num_changes = 0
        self._draining = self._stopping = False
        self._changed = threading.Condition()
        self._worker = threading.Thread(target=self._run_queue, name="builds", daemon=True)

    def start(self) -> None:
        """Read the records, queue what was interrupted, and begin to work."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._folder.glob("*.json")):
            build = _read(path)
            if build is None:
                path.unlink()
                continue
            if build.state is State.RUNNING and build.num_attempts >= MOST_ATTEMPTS:
                reason = f"the service ended {build.num_attempts} times while building it; give it more memory"
                build = dataclasses.replace(build, state=State.FAILED, error=reason)
            elif build.is_active:
                build = dataclasses.replace(build, state=State.PENDING)
            self._builds[build.order.dataset_id] = build
            self._save(build)
        waiting = [build for build in self._builds.values() if build.state is State.PENDING]
        self._queue = [build.order.dataset_id for build in sorted(waiting, key=lambda build: build.created_at)]
        self._worker.start()

    def submit(self, order: Order) -> Build:
        """Queue a build and return it; one that waits or runs already is returned as it is."""
        dataset_id = order.dataset_id
        with self._changed:
            known = self._builds.get(dataset_id)
            if known is not None and known.is_active:
                return known
            build = Build(order=order, created_at=datetime.now(UTC).isoformat(timespec="milliseconds"))
            self._set(build)
            self._cancelled.discard(dataset_id)
            self._queue.append(dataset_id)
            return build

    def get(self, dataset_id: str) -> Build | None:
        """The build of a dataset that is not complete, or None."""
        with self._changed:
            return self._builds.get(dataset_id)

    def all(self) -> list[Build]:
        """All builds that are not complete."""
        with self._changed:
            return list(self._builds.values())

    def cancel(self, dataset_id: str) -> None:
        """Ask a build to end. One that waits ends at once, one that runs at its next document.

        Raises:
            FailedPrecondition: it is finished.
            NotFound: there is no such build.
        """
        with self._changed:
            build = self._builds.get(dataset_id)
            if build is None:
                raise no_dataset(dataset_id)
            if not build.is_active:
                raise FailedPrecondition(f"dataset {dataset_id!r} is {build.state}; there is nothing to cancel")
            self._cancelled.add(dataset_id)
            if build.state is State.PENDING:
                self._queue.remove(dataset_id)
                self._set(dataclasses.replace(build, state=State.CANCELLED))

    def forget(self, dataset_id: str) -> bool:
        """Drop the record of a failed or cancelled build; return whether there was one.

        Raises:
            FailedPrecondition: it waits or runs.
        """
        with self._changed:
            build = self._builds.get(dataset_id)
            if build is None:
                return False
            if build.is_active:
                raise FailedPrecondition(f"dataset {dataset_id!r} is being built; cancel it first")
            self._drop(dataset_id)
            return True

    def changes(self, is_alive: Callable[[], bool]) -> Iterator[None]:
        """Yield at once, and again after each change of any build, until `is_alive` is false.

        Raises:
            Unavailable: the service stops.
        """
        seen = -1
        while is_alive():
            with self._changed:
                self._changed.wait_for(partial(self._differs, seen), _WAIT_S)
                if self._draining:
                    raise Unavailable("the tokenizer service is stopping; watch again", retry_after_s=2)
                if self._num_changes == seen:
                    continue
                seen = self._num_changes
            yield

    def _differs(self, seen: int) -> bool:
        return self._draining or self._num_changes != seen

    def drain(self) -> None:
        """End all waiting in `changes`."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the work so that the next start takes it up; wait for that up to `timeout_s` seconds."""
        self.drain()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._worker.join(timeout_s)

    def _run_queue(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or bool(self._queue))
                if self._stopping:
                    return
                build = self._builds[self._queue.pop(0)]
                build = dataclasses.replace(build, state=State.RUNNING, num_attempts=build.num_attempts + 1)
                self._set(build)
            self._run(build)

    def _run(self, build: Build) -> None:
        dataset_id = build.order.dataset_id

        told_at = 0.0

        def progress(num_documents_done: int) -> None:
            nonlocal told_at
            if dataset_id in self._cancelled:
                raise Cancelled(f"building dataset {dataset_id!r} was cancelled")
            if self._stopping:
                raise _StoppedError
            if time.monotonic() - told_at >= _PROGRESS_S:
                told_at = time.monotonic()
                with self._changed:
                    self._set(dataclasses.replace(build, num_documents_done=num_documents_done), save=False)

        state, error = State.FAILED, ""
        try:
            self._work(build.order, build.created_at, progress)
        except _StoppedError:
            state = State.PENDING
        except Cancelled:
            state = State.CANCELLED
        except (NonesuchError, OSError) as failure:
            log.warning("dataset %s: %s", dataset_id, failure)
            error = str(failure)
        except Exception:  # whatever it was, the queue must go on
            log.exception("dataset %s", dataset_id)
            error = "a bug in the tokenizer service; its log says more"
        else:
            with self._changed:
                self._drop(dataset_id)
            return
        with self._changed:
            attempts = 0 if state is State.PENDING else build.num_attempts
            self._set(dataclasses.replace(build, state=state, error=error, num_attempts=attempts))

    def _set(self, build: Build, *, save: bool = True) -> None:
        self._builds[build.order.dataset_id] = build
        if save:
            try:
                self._save(build)
            except OSError as error:  # a full disk must not end the queue; only a restart misses the record
                log.error("the record of dataset %s cannot be written: %s", build.order.dataset_id, error)
        self._num_changes += 1
        self._changed.notify_all()

    def _drop(self, dataset_id: str) -> None:
        self._builds.pop(dataset_id, None)
        (self._folder / f"{dataset_id}.json").unlink(missing_ok=True)
        self._num_changes += 1
        self._changed.notify_all()

    def _save(self, build: Build) -> None:
        write_json(self._folder / f"{build.order.dataset_id}.json", dataclasses.asdict(build))


def _read(path: Path) -> Build | None:
    """The build of a record, or None if it cannot be read: then only the wish for it is lost."""
    try:
        record = json.loads(path.read_bytes())
        order = record.pop("order")
        snapshot = Snapshot(**order.pop("snapshot"))
        return Build(order=Order(snapshot=snapshot, **order), **{**record, "state": State(record["state"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s cannot be read (%s); the build it recorded must be asked for again", path, error)
        return None

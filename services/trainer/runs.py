"""Runs: what each was asked for and what has become of it, kept in run.json, which outlives the service.

    PENDING ──> RUNNING ──> SUCCEEDED
      │ ^         │ ├────> FAILED ────┐
      │ └─────────┘ └────> CANCELLED ─┤        RUNNING -> PENDING: the service ended, the next start carries
      on └──> CANCELLED    ^─────────────┴── resume: back to PENDING

The queue is in order of `queued_at` until someone moves a run; then as queue_order.py keeps it.
One service owns the folder; its threads share this object. Starts no process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.common.errors import AlreadyExists, Corrupt, FailedPrecondition, InvalidRequest, NotFound
from services.common.files import MAX_NAME_LENGTH, new_folder, remove_folder, remove_partials, write_json
from services.trainer.environment import differences, environment
from services.trainer.events import EventLog, now
from services.trainer.queue_order import read_order, ticket, write_order
from services.trainer.restarting import Again, Failure, Restarts
from services.trainer.run_record import ACTIVE, RECORD_FILE, RESUMABLE, RunRecord, RunState, read_record, to_json
from services.trainer.run_settings import RunSettings
from services.trainer.volume import Volume, is_foreign

log = logging.getLogger(__name__)

_NEXT = {
    RunState.PENDING: {RunState.RUNNING, RunState.CANCELLED},
    RunState.RUNNING: {RunState.PENDING, RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED},
    RunState.SUCCEEDED: set(),
    RunState.FAILED: {RunState.PENDING},
    RunState.CANCELLED: {RunState.PENDING},
}


class Runs:
    """All runs of a volume. Safe to share between threads."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._lock = threading.RLock()
        self._records: dict[str, RunRecord] = {}
        self._damaged: dict[str, Corrupt] = {}
        self._order: dict[str, int] = {}

    def load(self) -> None:
        """Read every run; those that were training when the service ended go back into the queue."""
        self._volume.runs.mkdir(parents=True, exist_ok=True)
        remove_partials(self._volume.runs)
        for folder in sorted(self._volume.runs.iterdir()):
            if folder.name.startswith(".") or not folder.is_dir() or is_foreign(folder):
                continue
            try:
                self._records[folder.name] = read_record(folder)
            except Corrupt as error:
                log.error("run %s is damaged: %s", folder.name, error.message)
                self._damaged[folder.name] = error
            remove_partials(folder)
            remove_partials(self._volume.samples / folder.name)
        self._order = read_order(self._volume.runs)
        for record in tuple(self._records.values()):
            if record.state == RunState.RUNNING:
                self._take_back(record)

    def _take_back(self, record: RunRecord) -> None:
        """Queue a run whose service was killed while it trained, unless that was tried often enough."""
        name, restarts = record.name, Restarts(self.folder(record.name), record)
        decision = restarts.after_service()
        state, error = RunState.PENDING, ""
        if isinstance(decision, Failure):
            state, error = RunState.FAILED, decision.error
        record = replace(record, tries=restarts.in_a_row, tries_step=restarts.step)
        self._records[name] = replace(record, restarts=record.restarts + (not error))
        try:
            self.move(name, state, error=error)
            if isinstance(decision, Again):
                EventLog(self.folder(name)).append("event", step=restarts.step, message=decision.why)
        except OSError as failure:  # the disk is full; a service that does not start could not make room
            log.error("run %s is %s, which its record does not tell: %s", name, state, failure)
            self._records[name] = replace(self._records[name], state=state, error=error)

    def folder(self, name: str) -> Path:
        """The run's folder."""
        return self._volume.runs / name

    def get(self, name: str) -> RunRecord:
        """Return a run.

        Raises:
            NotFound: there is none of that name. Corrupt: its run.json is damaged; names the file.
        """
        record = self.find(name)
        if record is None:
            words, reason = f"there is no run {name!r}", "RUN_NOT_FOUND"
            if name and is_foreign(self.folder(name)):
                reason = "FOREIGN_RUN"
                words = f"checkpoint/{name} holds a run that gpt-2-simple began; start run {name!r} to carry it on"
            raise NotFound(words, reason=reason, metadata={"run": name})
        return record

    def find(self, name: str) -> RunRecord | None:
        """Return a run, or None; Corrupt as `get`."""
        with self._lock:
            if name in self._damaged:
                error = self._damaged[name]
                raise Corrupt(f"{error.message}; restore the file, or delete the run", metadata=error.metadata)
            return self._records.get(name)

    def free_name(self, name: str) -> str:
        """The name with the lowest number from 2 that no run has: `blog-2` after `blog`."""
        with self._lock:
            taken = {path.name for path in self._volume.runs.iterdir()}
            numbers = range(2, len(taken) + 3)
            stem = name[: MAX_NAME_LENGTH - len(f"-{len(taken) + 3}")]
            return next(free for number in numbers if (free := f"{stem}-{number}") not in taken)

    def all(self) -> list[RunRecord]:
        """All runs, newest first."""
        with self._lock:
            return sorted(self._records.values(), key=lambda record: record.created_at, reverse=True)

    def queue(self) -> Iterator[RunRecord]:
        """The pending runs, next first."""
        with self._lock:
            pending = [record for record in self._records.values() if record.state == RunState.PENDING]
            order = self._order
        # Those that were there when the order was last changed, in that order; then the later ones.
        yield from sorted(pending, key=lambda record: (order.get(ticket(record), len(order)), record.queued_at))

    def reorder(self, name: str, position: int) -> RunRecord:
        """Move a pending run to a place of the queue.

        Args:
            position: from 1; beyond the end means last.

        Raises:
            NotFound: no such run. FailedPrecondition: it is not pending. InvalidRequest: a place below 1.
        """
        if position < 1:
            raise InvalidRequest(f"queue_position is {position}: places begin with 1", field="queue_position")
        with self._lock:
            record = self.get(name)
            if record.state != RunState.PENDING:
                raise _wrong_state(record, "only a pending run has a place in the queue")
            order = [other for other in self.queue() if other.name != name]
            order.insert(position - 1, record)
            # A run that trains now comes first again should the service end meanwhile.
            training = [other for other in self._records.values() if other.state == RunState.RUNNING]
            self._order = write_order(self._volume.runs, (*training, *order))
        return record

    def create(
        self,
        name: str,
        settings: RunSettings,
        asked: dict[str, Any],
        *,
        num_parameters: int,
        fill: Callable[[Path], None],
        dataset_facts: dict[str, Any] | None = None,
        in_place: bool = False,
    ) -> RunRecord:
        """Make a PENDING run.

        Args:
            dataset_facts: see RunRecord; None: nothing is known of its dataset.
            fill: writes hparams.json and the vocabulary into the new folder.
            in_place: the folder is there and holds what another program wrote; run.json makes it ours.

        Raises:
            AlreadyExists: the name is taken.
        """
        moment = now()
        record = RunRecord(
            name=name,
            state=RunState.PENDING,
            error="",
            settings=settings,
            asked=asked,
            num_parameters=num_parameters,
            created_at=moment,
            updated_at=moment,
            queued_at=moment,
            dataset_facts=dataset_facts or {},
        )
        with self._lock:
            folder = self.folder(name)
            if in_place:
                fill(folder)
                EventLog(folder).append("state", state=record.state, error="")
                write_json(folder / RECORD_FILE, to_json(record))  # last: with it the folder is ours
            elif folder.exists():
                raise AlreadyExists(f"there is a run {name!r} already; resume it or choose another name")
            else:
                with new_folder(folder) as partial:
                    fill(partial)
                    write_json(partial / RECORD_FILE, to_json(record))
                    EventLog(partial).append("state", state=record.state, error="")
            self._records[name] = record
        return record

    def note_restart(self, name: str, *, tries: int, tries_step: int) -> RunRecord:
        """Count that a run's process was killed and that it goes on by itself; see RunRecord for the tries."""
        with self._lock:
            record = self.get(name)
            record = replace(record, restarts=record.restarts + 1, tries=tries, tries_step=tries_step)
            write_json(self.folder(name) / RECORD_FILE, to_json(record))
            self._records[name] = record
        return record

    def move(self, name: str, state: RunState, *, error: str = "", ended_because: str = "") -> RunRecord:
        """Change a run's state, on the volume first.

        Args:
            error: why it is FAILED.
            ended_because: why it has ended, when it has.

        Raises:
            FailedPrecondition: its present state does not lead there.
        """
        with self._lock:
            record = self.get(name)
            if state not in _NEXT[record.state]:
                raise _wrong_state(record, f"it cannot become {state}")
            moment = now()
            # A run that its service left keeps its place in the queue; one that is resumed goes to the end.
            queued_at = moment if state == RunState.PENDING and record.state in RESUMABLE else record.queued_at
            here = environment()
            changed = differences(record.environment, here) if record.environment else []
            record = replace(
                record,
                state=state,
                error=error,
                ended_because=ended_because,
                updated_at=moment,
                queued_at=queued_at,
                tries=0 if record.state in RESUMABLE else record.tries,
                environment=record.environment or (here if state == RunState.RUNNING else {}),
            )
            write_json(self.folder(name) / RECORD_FILE, to_json(record))
            self._records[name] = record
            try:
                events = EventLog(self.folder(name))
                events.repair()
                events.append("state", state=state, error=error)
                if state == RunState.RUNNING and changed:
                    message = f"goes on elsewhere than it began: {'; '.join(changed)}"
                    events.append("event", step=0, message=message)
            except OSError as failure:  # the disk is full now; the state is noted, and whoever watches sees that
                log.error("run %s is %s, which its history does not tell: %s", name, state, failure)
        return record

    @contextmanager
    def resting(self, name: str) -> Iterator[RunRecord]:
        """Hold a run where it is: what happens in the block, happens before anyone can resume it.

        Raises:
            FailedPrecondition: it is pending or running.
        """
        with self._lock:
            record = self.get(name)
            if record.state in ACTIVE:
                raise _wrong_state(record, "stop it first")
            yield record

    def delete(self, name: str) -> None:
        """Delete a run with its checkpoints and samples, damaged or not, unless it is pending or running."""
        with self._lock, nullcontext() if name in self._damaged else self.resting(name):
            # The samples first: a kill in between leaves a run that can be deleted again, and no texts of a
            # run that is gone for the next of its name.
            if (self._volume.samples / name).exists():
                remove_folder(self._volume.samples / name)
            remove_folder(self.folder(name))
            self._records.pop(name, None)
            self._damaged.pop(name, None)


def _wrong_state(record: RunRecord, rule: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"run {record.name!r} is {record.state}: {rule}",
        reason="WRONG_STATE",
        metadata={"run": record.name, "state": record.state},
    )

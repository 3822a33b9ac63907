"""Fetches as long work: a queue with one worker, which runs each in a process of its own and tells how far it is.

    PENDING -> RUNNING -> SUCCEEDED (the base is there; its folder of files is gone)
                       -> FAILED | CANCELLED (what has come is kept; asking again goes on from it)

Records outlive the service in base/.fetch-<name>/; at its start, those that waited or ran go on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.common.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    NonesuchError,
    NotFound,
    Unavailable,
)
from services.common.files import check_name, remove_folder
from services.gpt2.config import FRESH
from services.trainer.bases import Bases
from services.trainer.events import now
from services.trainer.fetching.__main__ import Order
from services.trainer.fetching.names import resolve
from services.trainer.fetching.record import (
    ACTIVE,
    MOST_REMARKS,
    RESULT,
    FetchRecord,
    FetchState,
    read_record,
    write_record,
)
from services.trainer.fetching.sources import OPENAI, Sources

log = logging.getLogger(__name__)

PREFIX = ".fetch-"  # readers of base/ skip names that begin with a dot
LOG_FILE = "log.txt"
_POLL_S = 1.0  # how often a waiting stream looks whether its caller is still there


class Fetches:
    """The queue of fetches. Safe to share between threads.

    Args:
        folder: base/.
        nice: added to the niceness of the process that fetches.
    """

    def __init__(self, bases: Bases, folder: Path, sources: Sources, *, nice: int = 0) -> None:
        self._bases, self._folder, self._sources, self._nice = bases, folder, sources, nice
        self._records: dict[str, FetchRecord] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._cancelled: dict[str, bool] = {}  # whether to discard what has come
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="fetches", daemon=True)

    def load(self) -> None:
        """Read the records of the volume. At the start of the service."""
        for folder in sorted(self._folder.glob(f"{PREFIX}*")):
            try:
                record = read_record(folder)
            except NonesuchError as error:
                log.warning("%s is removed: %s", folder, error.message)
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if record.state == FetchState.SUCCEEDED or (self._folder / record.name).exists():
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if record.state not in ACTIVE and not any(path.is_file() for path in folder.glob("*/**/*")):
                shutil.rmtree(folder, ignore_errors=True)  # nothing had come that another try could use
                continue
            state = FetchState.PENDING if record.state in ACTIVE else record.state
            self._records[record.name] = replace(record, state=state)

    def start(self) -> None:
        """Begin to work through the queue."""
        self._thread.start()

    def ask(self, asked: str, *, name: str = "", source: str = "") -> FetchRecord:
        """Queue a fetch and return it; one under way, or a base that is there, is returned as it is.

        Args:
            asked: `124M`, or what else names.py knows.
            name: what to call the base; empty is its own name.
            source: `hub` or `openai` alone; empty follows the settings.

        Raises:
            NotFound: nothing of that name can be fetched. InvalidRequest: a bad name, or a fresh base.
            FailedPrecondition: the service is offline, or the source does not have it.
            AlreadyExists: something else is being fetched under that name.
        """
        if (name or asked) in FRESH:
            raise InvalidRequest(
                f"{name or asked!r} starts from fresh weights: nothing of that name is fetched", field="base"
            )
        if not name and asked in self._bases.names():
            return FetchRecord(name=asked, asked=asked, state=FetchState.SUCCEEDED)
        wanted = resolve(asked)
        name = check_name(name or wanted.name, field="name", kind="base")
        if name in self._bases.names():
            return FetchRecord(name=name, asked=asked, state=FetchState.SUCCEEDED)
        if source == OPENAI and not wanted.in_bucket:
            raise FailedPrecondition(f"OpenAI's bucket has GPT-2's four sizes alone; {asked!r} is on the hub")
        with self._changed:
            known = self._records.get(name)
            same = known is not None and resolve(known.asked) == wanted
            if known is not None and known.state in ACTIVE:
                if not same:
                    raise AlreadyExists(
                        f"{known.asked!r} is being fetched as {name!r}: cancel it, or take another name"
                    )
                return known
            if self._sources.offline:
                raise FailedPrecondition(
                    f"base {asked!r} is not here, and NONESUCH_TRAINER_FETCH_OFFLINE is set: "
                    "import it with `nonesuch bases import FOLDER`, or fetch on another machine and copy base/",
                    reason="OFFLINE",
                )
            folder = self._folder_of(name)
            if known is not None and not same:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            record = FetchRecord(name=name, asked=asked, source=source, created_at=now(), updated_at=now())
            self._set(record)
            return record

    def get(self, name: str) -> FetchRecord:
        """A fetch by the base's name; a base that is there counts as fetched. NotFound when there is neither."""
        with self._changed:
            if name in self._records:
                return self._records[name]
        if name in self._bases.names():
            return FetchRecord(name=name, asked=name, state=FetchState.SUCCEEDED)
        raise NotFound(f"nothing is being fetched as {name!r}", reason="FETCH_NOT_FOUND", metadata={"fetch": name})

    def all(self) -> list[FetchRecord]:
        """All fetches that this service knows of, by name."""
        with self._changed:
            return sorted(self._records.values(), key=lambda record: record.name)

    def cancel(self, name: str, *, discard: bool = False) -> FetchRecord:
        """End a fetch; what has come is kept for the next time, or discarded.

        Raises:
            NotFound: there is none. FailedPrecondition: it has ended, and there is nothing to discard.
        """
        with self._changed:
            record = self._records.get(name)
            if record is None:
                raise NotFound(
                    f"nothing is being fetched as {name!r}", reason="FETCH_NOT_FOUND", metadata={"fetch": name}
                )
            if record.state == FetchState.RUNNING:
                self._cancelled[name] = discard or self._cancelled.get(name, False)
                if self._child:
                    self._child.kill()
                return record
            if record.state == FetchState.SUCCEEDED or (record.state != FetchState.PENDING and not discard):
                raise FailedPrecondition(f"the fetch of {name!r} is {record.state}; there is nothing to cancel")
            self._set(replace(record, state=FetchState.CANCELLED, updated_at=now()), discard=discard)
            return self._records.get(name, replace(record, state=FetchState.CANCELLED))

    def watch(self, name: str, *, stopping: threading.Event, listening: Callable[[], bool]) -> Iterator[FetchRecord]:
        """Yield a fetch as it is now, and whenever it changes, until it neither waits nor runs.

        Raises:
            NotFound: there is none. Unavailable: the service is stopping; watch again.
        """
        seen = None
        while listening():
            record = self.get(name)
            if record != seen:
                seen = record
                yield record
            if record.state not in ACTIVE:
                return
            if stopping.is_set():
                raise Unavailable("the trainer is stopping; watch again", retry_after_s=1.0)
            with self._changed:
                if self._records.get(name) == seen and not stopping.is_set():
                    self._changed.wait(_POLL_S)

    def begin_stop(self) -> None:
        """Start no more, and end the process that fetches; the next start of the service goes on."""
        with self._changed:
            self._stopping = True
            if self._child:
                self._child.kill()
            self._changed.notify_all()

    def finish_stop(self) -> None:
        """Wait for the worker."""
        if self._thread.is_alive():
            self._thread.join()

    def _folder_of(self, name: str) -> Path:
        return self._folder / f"{PREFIX}{name}"

    def _set(self, record: FetchRecord, *, keep: bool = True, discard: bool = False) -> None:
        """Note a fetch as it is now. The condition's lock is held.

        Args:
            keep: whether the file says so too; progress is told alone.
            discard: forget it, with what has come.
        """
        if discard:
            self._records.pop(record.name, None)
            with contextlib.suppress(FileNotFoundError):
                remove_folder(self._folder_of(record.name))
        else:
            self._records[record.name] = record
            if keep and self._folder_of(record.name).is_dir():
                write_record(self._folder_of(record.name), record)
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and not self._waiting():
                    self._changed.wait()
                if self._stopping:
                    return
                record = min(self._waiting(), key=lambda record: record.created_at)
            try:
                self._fetch(record)
            except Exception as error:  # the boundary of the thread: a full disk, or a bug; the queue must go on
                log.exception("the fetch of %s stumbled", record.name)
                with self._changed, contextlib.suppress(OSError):
                    self._records[record.name] = replace(
                        record, state=FetchState.FAILED, error=f"it could not be carried out: {error}"
                    )
                    self._set(self._records[record.name])

    def _waiting(self) -> list[FetchRecord]:
        return [record for record in self._records.values() if record.state == FetchState.PENDING]

    def _fetch(self, record: FetchRecord) -> None:
        """Run one fetch to its end."""
        name, folder = record.name, self._folder_of(record.name)
        order = (record.source,) if record.source else self._sources.order
        line = Order(record.asked, name, str(folder), replace(self._sources, order=order), self._nice).line()
        with self._changed:
            if self._stopping or self._records.get(name) != record:
                return  # cancelled meanwhile
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / LOG_FILE).open("wb") as errors:
                child = self._child = subprocess.Popen(
                    [sys.executable, "-m", "services.trainer.fetching"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,  # a Ctrl-C at the terminal is the service's to handle
                )
            self._set(replace(record, state=FetchState.RUNNING, error="", remarks=(), updated_at=now()))
        log.info("base %s is fetched in process %d", name, child.pid)
        assert child.stdin and child.stdout  # pipes
        outcome: dict[str, Any] = {}
        with child.stdin, child.stdout:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(line)
                child.stdin.flush()
            for said in child.stdout:
                outcome = self._hear(name, said) or outcome
        self._settle(name, child.wait(), outcome)

    def _hear(self, name: str, said: bytes) -> dict[str, Any]:
        """Take a line of the process; return it when it is the outcome."""
        try:
            line = json.loads(said)
            kind = line.pop("kind")
        except (ValueError, AttributeError, KeyError):
            return {}  # a library's chatter, or the last line of a process that was killed
        if kind in ("done", "error"):
            return {"kind": kind, **line}
        with self._changed:
            record = self._records[name]
            if kind == "progress":
                self._set(replace(record, **line), keep=False)
            else:
                log.info("fetch of %s: %s", name, line["message"])
                self._set(replace(record, remarks=(*record.remarks, line["message"])[-MOST_REMARKS:]))
        return {}

    def _settle(self, name: str, exit_status: int, outcome: dict[str, Any]) -> None:
        """Note what has become of a fetch whose process has ended."""
        folder = self._folder_of(name)
        with self._changed:
            self._child = None
            record = replace(self._records[name], updated_at=now(), file="")
            discard = self._cancelled.pop(name, None)
            if outcome.get("kind") == "done":
                try:
                    self._bases.adopt(name, folder / RESULT)
                    record = replace(record, state=FetchState.SUCCEEDED)
                except (AlreadyExists, OSError) as error:
                    record = replace(record, state=FetchState.FAILED, error=str(error))
            elif discard is not None:
                record = replace(record, state=FetchState.CANCELLED)
            elif outcome.get("kind") == "error":
                record = replace(record, state=FetchState.FAILED, error=outcome["message"])
            elif self._stopping:
                record = replace(record, state=FetchState.PENDING)
            else:
                record = replace(record, state=FetchState.FAILED, error=_explain(exit_status, folder / LOG_FILE))
            if record.state == FetchState.SUCCEEDED:
                remove_folder(folder)
            self._set(record, discard=bool(discard) and record.state == FetchState.CANCELLED)
        log.info("fetch of %s: %s%s", name, record.state, f": {record.error}" if record.error else "")


def _explain(exit_status: int, log_file: Path) -> str:
    if exit_status < 0:
        name = signal.Signals(-exit_status).name
        return f"the fetching process was killed by {name}, by hand or for want of memory; fetch again to go on"
    lines = log_file.read_text(errors="replace").strip().splitlines()
    return f"the fetching process ended with status {exit_status}: {lines[-1] if lines else 'it said nothing'}"

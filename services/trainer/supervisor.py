"""Trains the runs of the queue, one at a time, each in a child process, and notes what becomes of them.

One thread starts the child and waits for it; as it lives as long as the service, the kernel can tie the
child's
life to it. A child that dies takes its run down, not the service. In: the runs. Out: their states. Loads no
model.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from prometheus_client import Counter, Gauge

from services.common.errors import FailedPrecondition, NonesuchError
from services.common.files import remove_partials
from services.trainer.events import EventLog
from services.trainer.outcome import EXIT_DONE, EXIT_STOPPED, LOG_FILE, OUTCOME_FILE, explain, oom_kills
from services.trainer.runs import RunRecord, Runs, RunState
from services.trainer.volume import Volume

log = logging.getLogger(__name__)
ENDED = Counter("nonesuch_trainer_runs_ended_total", "Ends of training processes.", ["state"])
TRAINING = Gauge("nonesuch_trainer_training", "Runs in training now: 0 or 1.")

_STOP_SIGNALS = (-signal.SIGTERM, -signal.SIGKILL)  # before it could listen, or after the grace period
RETRY_S = 5.0
OnSuccess = Callable[[RunRecord], None]


class Supervisor:
    """The queue's worker.

    Args:
        runs: loaded.
        nice: added to the child's niceness, so that generation and the page go first.
        on_success: called before a run is noted as SUCCEEDED; an error of ours in it becomes an event of
        the run.
    """

    def __init__(self, runs: Runs, volume: Volume, *, nice: int, on_success: OnSuccess) -> None:
        self._runs, self._volume, self._nice, self._on_success = runs, volume, nice, on_success
        self._changed = threading.Condition()
        self._stopping = False
        self._stop_wanted: set[str] = set()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="supervisor", daemon=True)

    @property
    def child_pid(self) -> int | None:
        """Process id of the training process, while there is one."""
        child = self._child
        return child.pid if child else None

    def start(self) -> None:
        """Begin to work through the queue."""
        self._thread.start()

    def wake(self) -> None:
        """Say that the queue has changed."""
        with self._changed:
            self._changed.notify_all()

    def stop_run(self, name: str) -> RunRecord:
        """Ask a run to stop: a pending one is CANCELLED at once, a running one after its step.

        Raises:
            FailedPrecondition: it is neither.
        """
        with self._changed:
            record = self._runs.get(name)
            if record.state == RunState.PENDING:
                return self._runs.move(name, RunState.CANCELLED)
            if record.state != RunState.RUNNING:
                raise FailedPrecondition(
                    f"run {name!r} is {record.state}: only a pending or running one can be stopped",
                    reason="WRONG_STATE",
                    metadata={"run": name, "state": record.state},
                )
            self._stop_wanted.add(name)
            if self._child:
                self._child.terminate()
            return record

    def begin_stop(self) -> None:
        """Start no more children, and ask the one there is to finish its step, save and end."""
        with self._changed:
            self._stopping = True
            if self._child:
                self._child.terminate()
            self._changed.notify_all()

    def finish_stop(self, grace_s: float) -> None:
        """Wait for the child to have saved; kill it after `grace_s` seconds. The next start carries on."""
        self._thread.join(grace_s)
        if self._thread.is_alive() and self._child:
            log.warning("the training process did not save within %.0f s; its last checkpoint stands", grace_s)
            self._child.kill()
            self._thread.join()

    def _work(self) -> None:
        while True:
            try:
                if not self._train_next():
                    return
            except Exception:  # the boundary of the thread: a full disk, or a bug; the queue must go on
                log.exception("the queue stumbled; trying again in %.0f s", RETRY_S)
                with self._changed:
                    self._changed.wait(RETRY_S)

    def _train_next(self) -> bool:
        """Train the next run of the queue, waiting for one; False when the service ends."""
        with self._changed:
            while not self._stopping and next(self._runs.queue(), None) is None:
                self._changed.wait()
            if self._stopping:
                return False
            record = self._runs.move(next(self._runs.queue()).name, RunState.RUNNING)
            folder = self._runs.folder(record.name)
            (folder / OUTCOME_FILE).unlink(missing_ok=True)
            kills_before = oom_kills()
            try:
                with (folder / LOG_FILE).open("ab") as output:
                    child = self._child = self._spawn(record.name, output)
            except OSError as failure:
                self._settle(record.name, RunState.FAILED, f"the training process could not be started: {failure}")
                return True
        log.info("run %s trains in process %d", record.name, child.pid)
        TRAINING.set(1)
        exit_status = child.wait()
        TRAINING.set(0)
        self._note_end(record, exit_status, out_of_memory=oom_kills() > kills_before)
        return True

    def _spawn(self, run: str, output: BinaryIO) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "services.trainer.training", str(self._volume.root), run),
                *("--parent", str(os.getpid()), "--nice", str(self._nice)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at the terminal is the service's to handle
        )

    def _note_end(self, record: RunRecord, exit_status: int, *, out_of_memory: bool) -> None:
        folder = self._runs.folder(record.name)
        remove_partials(folder)  # a killed process may have left most of a checkpoint
        error = ""
        if exit_status == EXIT_DONE:
            state = RunState.SUCCEEDED
            self._publish(record)
        elif self._stopping and exit_status in (EXIT_STOPPED, *_STOP_SIGNALS):
            state = RunState.CANCELLED if record.name in self._stop_wanted else RunState.PENDING
        elif exit_status in (EXIT_STOPPED, -signal.SIGTERM):
            state = RunState.CANCELLED
        else:
            state, error = RunState.FAILED, explain(exit_status, folder, out_of_memory=out_of_memory)
        self._settle(record.name, state, error)

    def _publish(self, record: RunRecord) -> None:
        """What is due when a run has succeeded; a failure of it does not undo the run's success."""
        try:
            self._on_success(record)
        except Exception as failure:  # a bug in it must not leave the run RUNNING for ever
            if not isinstance(failure, NonesuchError):
                log.exception("run %s: not published", record.name)
            with contextlib.suppress(OSError):  # the disk may be full: that is why
                EventLog(self._runs.folder(record.name)).append(
                    "event", step=record.settings.steps, message=f"not published: {failure}"
                )

    def _settle(self, run: str, state: RunState, error: str) -> None:
        """Note what has become of a run. A full disk only delays it: a run without a process is not RUNNING."""
        with self._changed:
            self._child = None
            while self._runs.get(run).state == RunState.RUNNING:
                try:
                    self._runs.move(run, state, error=error)
                except OSError:
                    log.exception("run %s: cannot note that it is %s; trying again in %.0f s", run, state, RETRY_S)
                    if self._stopping:
                        return  # the next start finds it RUNNING, and carries it on
                    self._changed.wait(RETRY_S)
            self._stop_wanted.discard(run)
        ENDED.labels(state).inc()
        log.info("run %s: %s%s", run, state, f": {error}" if error else "")

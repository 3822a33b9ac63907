"""Trains the runs of the queue, one at a time, each in a child process, and notes what becomes of them.

One thread starts the child and waits for it; as it lives as long as the service, the kernel can tie the child's
life to it. A child that dies is followed by another, as restarting.py decides. In: the runs. Out: their states.
Loads no model.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Sequence

from prometheus_client import Counter, Gauge

from services.common.errors import FailedPrecondition, NonesuchError
from services.common.files import remove_partials
from services.trainer.child import PROGRAM, Child, Ending
from services.trainer.events import EventLog
from services.trainer.outcome import EXIT_DONE, EXIT_STOPPED, explain, read_outcome
from services.trainer.restarting import Failure, Restarts, newest_step
from services.trainer.run_record import RunRecord, RunState
from services.trainer.runs import Runs
from services.trainer.volume import Volume

log = logging.getLogger(__name__)
ENDED = Counter("nonesuch_trainer_runs_ended_total", "Ends of training processes.", ["state"])
RESTARTS = Counter("nonesuch_trainer_restarts_total", "Killed training processes that were started again.")
TRAINING = Gauge("nonesuch_trainer_training", "Runs in training now: 0 or 1.")

RETRY_S = 5.0
OnSuccess = Callable[[RunRecord], None]


class Supervisor:
    """The queue's worker.

    Args:
        runs: loaded.
        nice: added to the child's niceness, so that generation and the page go first.
        on_success: called before a run is noted as SUCCEEDED; an error of ours in it becomes an event of
        the run.
        program: what trains; a volume and a run are its arguments.
    """

    def __init__(
        self, runs: Runs, volume: Volume, *, nice: int, on_success: OnSuccess, program: Sequence[str] = PROGRAM
    ) -> None:
        self._runs, self._volume, self._nice, self._on_success = runs, volume, nice, on_success
        self._program = program
        self._changed = threading.Condition()
        self._stopping = False
        self._stop_wanted: set[str] = set()
        self._child: Child | None = None
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
            self._changed.notify_all()
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
        try:
            restarts = Restarts(self._runs.folder(record.name), record)
            while not self._train_once(record, restarts):
                pass
        except Exception as failure:  # a bug, or a volume that fails: the run must not stay RUNNING without a process
            log.exception("run %s: its supervision failed", record.name)
            if child := self._child:
                child.kill()
            words = f"the trainer stumbled over {type(failure).__name__}: {failure}"
            self._settle(record.name, RunState.FAILED, error=f"{words}; its checkpoints stand, resume it")
        return True

    def _train_once(self, record: RunRecord, restarts: Restarts) -> bool:
        """Have one process train the run; True when the run has settled, False when another is to go on."""
        folder = self._runs.folder(record.name)
        with self._changed:
            if self._stopping or record.name in self._stop_wanted:
                self._settle(record.name, self._stopped(record.name))
                return True
            try:
                child = self._child = Child(self._volume.root, folder, nice=self._nice, program=self._program)
            except OSError as failure:
                error = f"the training process could not be started: {failure}; make room for it, then resume the run"
                self._settle(record.name, RunState.FAILED, error=error)
                return True
        log.info("run %s trains in process %d", record.name, child.pid)
        TRAINING.set(1)
        ending = child.wait()
        TRAINING.set(0)
        with self._changed:
            self._child = None
        # A killed process may have left most of a checkpoint; marks and notes may be being written by other threads.
        remove_partials(folder, files=False)
        if ending.status == EXIT_DONE:
            said = read_outcome(folder)
            self._publish(record)
            self._settle(record.name, RunState.SUCCEEDED, ended_because=said.ended_because if said else "")
            return True
        if self._stopping or record.name in self._stop_wanted or ending.status in (EXIT_STOPPED, -signal.SIGTERM):
            self._tell_end_of_stopped(record.name, ending)
            self._settle(record.name, self._stopped(record.name))
            return True
        try:
            decision = restarts.after(ending)
        except (OSError, NonesuchError) as failure:
            decision = Failure(f"what had to be noted before another try could not be: {failure}")
        if isinstance(decision, Failure):
            self._settle(record.name, RunState.FAILED, error=decision.error)
            return True
        self._tell(record.name, decision.why)
        if decision.killed:
            self._note_restart(record.name, restarts)
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or record.name in self._stop_wanted, timeout=decision.wait_s)
        return False

    def _stopped(self, run: str) -> RunState:
        """What a run becomes whose process was stopped: with the service it waits for the next start."""
        return RunState.PENDING if self._stopping and run not in self._stop_wanted else RunState.CANCELLED

    def _tell_end_of_stopped(self, run: str, ending: Ending) -> None:
        if ending.status != EXIT_STOPPED:
            why = explain(ending.status, self._runs.folder(run), out_of_memory=ending.out_of_memory)
            self._tell(run, f"{why}; it had been asked to stop, and goes on from its last checkpoint when resumed")

    def _note_restart(self, run: str, restarts: Restarts) -> None:
        RESTARTS.inc()
        with contextlib.suppress(OSError):  # the disk may be full: that is why
            self._runs.note_restart(run, tries=restarts.in_a_row, tries_step=restarts.step)

    def _tell(self, run: str, message: str) -> None:
        """Tell those who watch a run, while no process trains it."""
        log.warning("run %s: %s", run, message)
        folder = self._runs.folder(run)
        with contextlib.suppress(OSError):
            events = EventLog(folder)
            events.repair()
            events.append("event", step=newest_step(folder), message=message)

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

    def _settle(self, run: str, state: RunState, *, error: str = "", ended_because: str = "") -> None:
        """Note what has become of a run. A full disk only delays it: a run without a process is not RUNNING."""
        with self._changed:
            self._child = None
            while self._runs.get(run).state == RunState.RUNNING:
                try:
                    self._runs.move(run, state, error=error, ended_because=ended_because)
                except OSError:
                    log.exception("run %s: cannot note that it is %s; trying again in %.0f s", run, state, RETRY_S)
                    if self._stopping:
                        return  # the next start finds it RUNNING, and carries it on
                    self._changed.wait(RETRY_S)
            self._stop_wanted.discard(run)
        ENDED.labels(state).inc()
        log.info("run %s: %s%s", run, state, f": {error}" if error else "")

"""The trainer put together: volume, runs, models, queue and rpcs, and in what order they start and stop."""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from services.trainer.auto_publishing import AutoPublisher
from services.trainer.bases import Bases
from services.trainer.child import PROGRAM
from services.trainer.converting import Convert, convert
from services.trainer.fetching.fetches import Fetches
from services.trainer.fetching.sources import Sources
from services.trainer.gauges import RunGauges
from services.trainer.publishing import Models
from services.trainer.runs import Runs
from services.trainer.servicer import TrainerServicer
from services.trainer.supervisor import Supervisor
from services.trainer.volume import Volume

LOCK_FILE = ".lock"


class Trainer:
    """One trainer service over one volume.


    Args:
        nice: added to the niceness of training processes.
        program: what trains a run; see child.py.
        sources: where base models are fetched from.
        convert: makes the engine file of a version; None: versions come without.
    """

    def __init__(
        self,
        data: Path,
        *,
        nice: int,
        program: Sequence[str] = PROGRAM,
        sources: Sources | None = None,
        convert: Convert | None = convert,
    ) -> None:
        self._volume = Volume(data)
        self._bases, self._models = Bases(self._volume.bases), Models(self._volume.models, convert)
        self._runs = Runs(self._volume)
        self._publisher = AutoPublisher(self._volume, self._runs, self._models)
        self._supervisor = Supervisor(
            self._runs, self._volume, nice=nice, on_success=self._publisher.at_end, program=program
        )
        self._fetches = Fetches(self._bases, self._volume.bases, sources or Sources(), nice=nice)
        self.servicer = TrainerServicer(
            self._volume, self._bases, self._fetches, self._runs, self._models, self._supervisor
        )
        self._lock: IO[bytes] | None = None

    @property
    def child_pid(self) -> int | None:
        """Process id of the training process, while there is one."""
        return self._supervisor.child_pid

    @property
    def gauges(self) -> RunGauges:
        """What the runs in training measure, for the metrics endpoint."""
        return RunGauges(self._runs)

    def open(self) -> None:
        """Take the volume, read what is on it, and remove what a killed service left half-written.

        Raises:
            OSError: another trainer has the volume.
        """
        self._volume.runs.mkdir(parents=True, exist_ok=True)
        self._lock = (self._volume.runs / LOCK_FILE).open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"another trainer works on {self._volume.root}: stop it first") from None
        self._bases.load()
        self._fetches.load()
        self._models.load()
        self._runs.load()

    def start(self) -> None:
        """Work through the queues; a run or fetch that the last service left goes on first."""
        self._publisher.start()
        self._supervisor.start()
        self._fetches.start()

    def begin_stop(self) -> None:
        """End streams, start no more runs, and ask the training process to save."""
        self.servicer.drain()
        self._publisher.begin_stop()
        self._fetches.begin_stop()
        self._supervisor.begin_stop()

    def finish_stop(self, grace_s: float) -> None:
        """Wait for the training process to have saved, at most `grace_s` seconds."""
        self._supervisor.finish_stop(grace_s)
        self._publisher.finish_stop()
        self._fetches.finish_stop()
        if self._lock:
            self._lock.close()

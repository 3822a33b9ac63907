"""The serving loop: one thread per loaded model that computes, draws and tells, step after step.

It is never one of the server's threads, so that health and cancellation are answered while a step runs.
"""

from __future__ import annotations

import logging
import threading
import time

import numpy as np
from numpy.typing import NDArray

from services.common.errors import NonesuchError, Unavailable
from services.generator import metrics
from services.generator.engine import Engine
from services.generator.events import End
from services.generator.generation import Generation
from services.generator.scheduler import Scheduler, Work
from services.generator.sequence import Sequence
from services.generator.writer import Writer

log = logging.getLogger(__name__)


class Loop:
    """Runs the requests of one model.

    Args:
        name: of the model, for the thread and the metrics.
        engine: of the model.
        scheduler: a new one, with as many slots as the engine.
    """

    def __init__(self, name: str, engine: Engine, scheduler: Scheduler) -> None:
        self._name = name
        self._engine = engine
        self._scheduler = scheduler
        self._owners: dict[Sequence, tuple[Generation, Writer]] = {}
        self._changed = threading.Condition()  # guards the scheduler and the owners
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"loop-{name}", daemon=True)
        self._thread.start()

    def submit(self, generation: Generation) -> None:
        """Queue a request; its events follow.

        Raises:
            Busy: the queue is full.
            Unavailable: the loop has been stopped.
        """
        with self._changed:
            if self._stopping:
                raise Unavailable("the model is being unloaded; try again", retry_after_s=1.0)
            self._scheduler.submit(writer.sequence for writer in generation.writers)
            for writer in generation.writers:
                self._owners[writer.sequence] = (generation, writer)
            self._changed.notify()

    def stop(self) -> None:
        """Cancel what runs and end the thread; returns when the step that runs is over."""
        with self._changed:
            self._stopping = True
            for sequence in self._owners:
                sequence.cancelled = True
            self._changed.notify()
        self._thread.join()

    @property
    def num_running(self) -> int:
        """Samples being written."""
        return self._scheduler.num_running

    @property
    def num_waiting(self) -> int:
        """Samples waiting for a slot."""
        return self._scheduler.num_waiting

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._owners and not self._stopping:
                    self._count()
                    self._changed.wait()
                for sequence in self._scheduler.sweep(time.monotonic()):
                    generation, writer = self._owners.pop(sequence)
                    generation.drop(writer)
                if self._stopping:
                    return
                work = self._scheduler.plan()
                self._count()
            if work:
                self._step(work)

    def _step(self, work: list[Work]) -> None:
        now = time.monotonic()
        for item in work:
            generation, _ = self._owners[item.sequence]
            generation.started_at = generation.started_at or now
        try:
            logits = self._engine.step([item.chunk for item in work])  # [K, V]
        except Exception as error:  # a failing engine ends these requests, not the service
            log.exception("%s: a step of %d chunks failed", self._name, len(work))
            for item in work:
                self._fail(item.sequence, error)
            return
        for item, row in zip(work, logits, strict=True):
            item.sequence.num_computed += len(item.chunk.ids)
            if item.last and item.sequence in self._owners:
                self._write(item.sequence, row)

    def _write(self, sequence: Sequence, row: NDArray[np.float32]) -> None:
        generation, writer = self._owners[sequence]
        try:
            events = writer.write(row)
        except NonesuchError as error:
            self._fail(sequence, error)
            return
        except Exception as error:  # a bug in one request must not end the others, nor this thread
            log.exception("%s: drawing a token failed", self._name)
            self._fail(sequence, error)
            return
        if generation.first_token_at is None:
            generation.first_token_at = writer.first_token_at
            metrics.observe_first_token(self._name, time.monotonic() - generation.submitted_at)
        if events and isinstance(events[-1], End):
            with self._changed:
                self._scheduler.remove(sequence)
                del self._owners[sequence]
            metrics.count_sample(self._name, events[-1].finish.name, sequence.num_written)
        generation.emit(events)

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        """End a whole request; its other sequences are swept before the next step."""
        with self._changed:
            owner = self._owners.pop(sequence, None)
            if owner is None:
                return
            self._scheduler.remove(sequence)
        owner[0].fail(error)

    def _count(self) -> None:
        metrics.set_load(self._name, self._scheduler.num_running, self._scheduler.num_waiting)

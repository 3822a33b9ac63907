"""The serving loop: one thread per loaded model that computes, draws and tells, step after step.

It is never one of the server's threads, so that health and cancellation are answered while a step runs.
"""

from __future__ import annotations

import logging
import threading
import time

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Busy, Unavailable
from services.generator import metrics
from services.generator.engine import Engine
from services.generator.events import End
from services.generator.generation import Generation
from services.generator.measurement import Measurement
from services.generator.rate import Rate
from services.generator.scheduler import Scheduler, Work
from services.generator.sequence import Sequence
from services.sampling.batch import Batch
from services.sampling.compiled import NOTHING_LEFT
from services.sampling.rules import why_nothing_is_left

log = logging.getLogger(__name__)

MAX_PAUSE_S = 0.25  # longer, and a reader sees text stand still


class Loop:
    """Runs the requests of one model.

    Args:
        name: of the model, for the thread and the metrics.
        engine: of the model.
        scheduler: a new one, over the engine's blocks.
        version: of the model, for the metrics.
        messages_per_s: how often callers are told of new text, over all of them; what comes in between waits,
            though no longer than MAX_PAUSE_S.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        scheduler: Scheduler,
        *,
        version: int = 1,
        messages_per_s: float = float("inf"),
    ) -> None:
        self._name = name
        self._engine = engine
        self._scheduler = scheduler
        self._messages_per_s = messages_per_s
        self._owners: dict[Sequence, Generation | Measurement] = {}
        self._batch = Batch(scheduler.num_places)
        self._lines: dict[Sequence, int] = {}  # of the samples that draw
        self._metrics = metrics.LoopMetrics(name, version)
        self._rate = Rate()
        self._changed = threading.Condition()  # guards the scheduler and the owners
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"loop-{name}", daemon=True)
        self._thread.start()

    def submit(self, request: Generation | Measurement) -> None:
        """Queue a request; its events follow.

        Raises:
            Busy: the queue is full.
            Unavailable: the loop has been stopped.
        """
        with self._changed:
            if self._stopping:
                raise Unavailable("the model is being unloaded; try again", retry_after_s=1.0)
            try:
                self._scheduler.submit(request.sequences)
            except Busy as error:
                metrics.count_rejected(self._name, error.reason)
                raise
            for sequence in request.sequences:
                self._owners[sequence] = request
            self._changed.notify()

    def stop(self) -> None:
        """Cancel what runs and end the thread; returns when the step that runs is over."""
        with self._changed:
            self._stopping = True
            for sequence in self._owners:
                sequence.cancelled = sequence.cancelled or "stopping"
            self._changed.notify()
        self._thread.join()

    @property
    def num_running(self) -> int:
        """Samples being written and texts being measured."""
        return self._scheduler.num_running

    @property
    def num_waiting(self) -> int:
        """Those waiting for a place."""
        return self._scheduler.num_waiting

    @property
    def num_places(self) -> int:
        """How many run at once."""
        return self._scheduler.num_places

    @property
    def most_at_once(self) -> int:
        """How many samples one request may have at most; more would be refused for ever."""
        return self._scheduler.most_at_once

    @property
    def blocks_held(self) -> tuple[int, int]:
        """Cache blocks in use, and all of them."""
        return self._scheduler.pool.num_held, self._scheduler.pool.num_blocks

    @property
    def tokens_per_second(self) -> float:
        """Tokens written per second, over the last ten seconds."""
        return self._rate.per_second(time.monotonic())

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._owners and not self._stopping:
                    self._count()
                    self._changed.wait()
                for sequence in self._scheduler.sweep(time.monotonic()):
                    self._owners.pop(sequence).drop(sequence)
                    self._free_line(sequence)
                    self._metrics.count_cancelled(sequence.cancelled)
                if self._stopping:
                    return
                work = self._scheduler.plan()
                self._metrics.count_shared(self._scheduler.take_num_shared())
                self._count()
            if work:
                self._step(work)

    def _step(self, work: list[Work]) -> None:
        started = time.monotonic()
        for item in work:
            waited_s = self._owners[item.sequence].begin(started)
            if waited_s is not None:
                self._metrics.observe_queue(waited_s)
        try:
            logits = self._engine.step([item.chunk for item in work])  # [sum of num_logits, V]
            with self._changed:
                self._scheduler.computed(work)
                self._scheduler.observe(work, time.monotonic() - started)
            self._use(work, logits, started)
        except Exception as error:  # a failing engine, or a bug, ends these requests, not the service
            log.exception("%s: a step of %d chunks failed", self._name, len(work))
            for item in work:
                self._fail(item.sequence, error)

    def _use(self, work: list[Work], logits: NDArray[np.float32], started: float) -> None:
        """Hand the logits to those who asked for them; ids are drawn for all samples at once."""
        assert len(logits) == sum(item.chunk.num_logits for item in work), logits.shape
        drawing: list[tuple[Sequence, Generation]] = []
        rows: list[int] = []
        row = 0
        for item in work:
            first, row = row, row + item.chunk.num_logits
            owner = self._owners.get(item.sequence)
            if isinstance(owner, Measurement):
                self._measure(owner, item, logits[first:row])
            elif owner is not None and item.last:
                drawing.append((item.sequence, owner))
                rows.append(first)
        lines = [self._line_of(sequence, generation) for sequence, generation in drawing]
        ids = self._batch.draw(logits, rows, lines) if lines else []
        now = time.monotonic()
        self._metrics.count_step(len(work), len(ids), now - started)
        if ids:
            self._rate.add(now, len(ids))
        for (sequence, generation), row, token_id in zip(drawing, rows, ids, strict=True):
            if sequence in self._owners:
                self._write(generation, sequence, token_id, logits[row])

    def _line_of(self, sequence: Sequence, generation: Generation) -> int:
        line = self._lines.get(sequence)
        if line is None:
            line = self._lines[sequence] = generation.writer_of(sequence).join(self._batch)
        return line

    def _measure(self, measurement: Measurement, item: Work, rows: NDArray[np.float32]) -> None:
        if measurement.take(item.chunk.start, rows):
            self._remove(item.sequence)

    def _write(self, generation: Generation, sequence: Sequence, token_id: int, row: NDArray[np.float32]) -> None:
        if token_id == NOTHING_LEFT:
            self._fail(sequence, why_nothing_is_left(row, len(sequence.ids)))
            return
        writer = generation.writer_of(sequence)
        try:
            events = writer.write(token_id, row)
        except Exception as error:  # a bug in one request must not end the others, nor this thread
            log.exception("%s: writing a token failed", self._name)
            self._fail(sequence, error)
            return
        if generation.first_token_at is None:
            generation.first_token_at = writer.first_token_at
            self._metrics.observe_first_token(time.monotonic() - generation.submitted_at)
        if events and isinstance(events[-1], End):
            self._remove(sequence)
            self._metrics.count_sample(events[-1].finish.name)
        pause_s = min(MAX_PAUSE_S, self._scheduler.num_running / self._messages_per_s)
        generation.emit(events, pause_s=pause_s)

    def _remove(self, sequence: Sequence) -> None:
        with self._changed:
            self._scheduler.remove(sequence)
            del self._owners[sequence]
            self._free_line(sequence)

    def _free_line(self, sequence: Sequence) -> None:
        line = self._lines.pop(sequence, None)
        if line is not None:
            self._batch.remove(line)

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        """End a whole request; its other sequences are swept before the next step."""
        with self._changed:
            owner = self._owners.pop(sequence, None)
            if owner is None:
                return
            self._scheduler.remove(sequence)
            self._free_line(sequence)
        owner.fail(error)

    def _count(self) -> None:
        held, blocks = self.blocks_held
        self._metrics.set_load(self._scheduler.num_running, self._scheduler.num_waiting, held / blocks)

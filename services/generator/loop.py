"""The serving loop: one thread per loaded model that computes, draws and tells, step after step.

It is never one of the server's threads, so that health and cancellation are answered while a step runs.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Busy, Unavailable
from services.generator import metrics
from services.generator.drafts import Drafts
from services.generator.engine import Engine
from services.generator.generation import Generation
from services.generator.measurement import Measurement
from services.generator.rate import Rate
from services.generator.scheduler import Scheduler, Work
from services.generator.sequence import Sequence
from services.generator.verbatim import VerbatimLimit
from services.sampling.batch import Batch
from services.sampling.compiled import NOTHING_LEFT
from services.sampling.rules import why_nothing_is_left

log = logging.getLogger(__name__)

MOST_REFUSED = (
    256  # ids drawn for one place of a sample that its limit does not allow; each costs a draw for all to wait
)
MIN_PAUSE_S = 0.05  # shorter, and nobody sees it
MAX_PAUSE_S = 0.25  # longer, and a reader sees text stand still


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A sample that has begun to draw ids, its line of the batch, and what keeps it from reciting."""

    sequence: Sequence
    generation: Generation
    line: int
    limit: VerbatimLimit | None


class Loop:
    """Runs the requests of one model.

    Args:
        name: of the model, for the thread and the metrics.
        engine: of the model.
        scheduler: a new one, over the engine's blocks.
        version: of the model, for the metrics.
        drafts: of what the samples may go on with; None: there are none.
        messages_per_s: how often callers are told of new text, over all of them; what comes in between waits at
            least MIN_PAUSE_S and at most MAX_PAUSE_S. Infinite: at every step.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        scheduler: Scheduler,
        *,
        version: int = 1,
        drafts: Drafts | None = None,
        messages_per_s: float = float("inf"),
    ) -> None:
        self._name = name
        self._engine = engine
        self._scheduler = scheduler
        self._messages_per_s = messages_per_s
        self._drafts = drafts
        self._owners: dict[Sequence, Generation | Measurement] = {}
        self._batch = Batch(scheduler.num_places)
        self._drawing: dict[Sequence, _Drawing] = {}
        self._metrics = metrics.LoopMetrics(name, version)
        self._rate = Rate()
        self._tell_at = 0.0  # monotonic seconds; until then text waits
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
                    self._drop(sequence)
                if self._stopping:
                    return
                work = self._scheduler.plan()
                self._begin(time.monotonic())
                if num_shared := self._scheduler.take_num_shared():
                    self._metrics.count_shared(num_shared)
            if work:
                self._step(work)

    def _drop(self, sequence: Sequence) -> None:
        """Let go of a sequence that was swept."""
        owner = self._owners.pop(sequence)
        try:
            owner.drop(sequence)
        except Exception as error:  # a bug in one request must not end this thread
            log.exception("%s: telling of an end failed", self._name)
            owner.fail(error)
        self._free_line(sequence)
        self._metrics.count_cancelled(sequence.cancelled)

    def _begin(self, now: float) -> None:
        """Note how long those waited who got their place."""
        for sequence in self._scheduler.take_begun():
            waited_s = self._owners[sequence].begin(now)
            if waited_s is not None:
                self._metrics.observe_queue(waited_s)

    def _step(self, work: list[Work]) -> None:
        started = time.monotonic()
        try:
            logits = self._engine.step([item.chunk for item in work])  # [sum of num_logits, V]
            with self._changed:
                self._scheduler.computed(work, time.monotonic() - started)
            self._use(work, logits, started)
        except Exception as error:  # a failing engine, or a bug, ends these requests, not the service
            log.exception("%s: a step of %d chunks failed", self._name, len(work))
            for item in work:
                self._fail(item.sequence, error)

    def _use(self, work: list[Work], logits: NDArray[np.float32], started: float) -> None:
        """Hand the logits to those who asked for them; ids are drawn for all samples at once."""
        assert len(logits) == sum(item.chunk.num_logits for item in work), logits.shape
        drawing: list[_Drawing] = []
        rows: list[int] = []
        row = 0
        for item in work:
            if item.sequence.measured:
                self._measure(item, logits[row : row + item.chunk.num_logits])
            elif item.last:
                drawing.append(self._drawing.get(item.sequence) or self._join(item.sequence))
                rows.append(row)
            row += item.chunk.num_logits
        num_tokens = 0
        try:
            num_tokens = self._draw(drawing, rows, logits)
        finally:  # whatever happens to one, the end of another is told
            now = time.monotonic()
            self._metrics.count_step(len(work), num_tokens, now - started)
            self._tell(drawing, now)
        if num_tokens:
            self._rate.add(now, num_tokens)
        if self._drafts is not None:
            self._metrics.count_drafts(*self._drafts.learn(work, num_tokens, now - started))

    def _draw(self, drawing: list[_Drawing], rows: list[int], logits: NDArray[np.float32]) -> int:
        """Draw and write an id of each sample; return how many were written.

        Where the id is the one that the sample's draft has there, the logits after it are known too, in the next row:
        there the next id is drawn as well, with the random number that is its own.
        """
        num_tokens = 0
        alone = [drawn.limit is None and bool(drawn.sequence.draft) for drawn in drawing]
        for drawn, row, is_alone in zip(drawing, rows, alone, strict=True):
            if is_alone:
                num_tokens += self._draw_on(drawn, logits[row : row + 1 + len(drawn.sequence.draft)])
        rows = [row for row, is_alone in zip(rows, alone, strict=True) if not is_alone]
        drawing = [drawn for drawn, is_alone in zip(drawing, alone, strict=True) if not is_alone]
        while drawing:
            kept = [self._exclude(drawn) for drawn in drawing]
            rows = [row for row, is_kept in zip(rows, kept, strict=True) if is_kept]
            drawing = [drawn for drawn, is_kept in zip(drawing, kept, strict=True) if is_kept]
            ids = self._batch.draw(logits, rows, [drawn.line for drawn in drawing])
            now = time.monotonic()
            num_tokens += len(ids)
            drafted: list[_Drawing] = []
            rows_after: list[int] = []
            for drawn, row, drawn_id in zip(drawing, rows, ids, strict=True):
                token_id = self._within(drawn, drawn_id, logits, row) if drawn.limit is not None else drawn_id
                if token_id is None:
                    continue
                if self._write(drawn, token_id, logits[row], now) and self._confirms(drawn.sequence, token_id):
                    drafted.append(drawn)
                    rows_after.append(row + 1)
            drawing, rows = drafted, rows_after
        return num_tokens

    def _draw_on(self, drawn: _Drawing, logits: NDArray[np.float32]) -> int:
        """Draw and write ids for as long as the draft goes on so, all of them in one call; return how many."""
        ids = self._batch.draw_on(logits, drawn.line, drawn.sequence.draft)
        now = time.monotonic()
        for number, token_id in enumerate(ids):
            if not self._write(drawn, token_id, logits[number], now):
                return number + 1  # the sample is over; what was drawn beyond is nobody's
            self._confirms(drawn.sequence, token_id)
        return len(ids)

    def _exclude(self, drawn: _Drawing) -> bool:
        """Exclude what a sample's limit does not allow; return False where that failed and ended the request."""
        if drawn.limit is None:
            return True
        try:
            excluded = drawn.limit.excluded()
            stops = drawn.generation.request.stop_ids  # are never written
            self._batch.exclude(drawn.line, excluded[~np.isin(excluded, stops)] if stops else excluded)
        except Exception as error:  # a bug in one request's limit must not end the others
            log.exception("%s: limiting what is recited failed", self._name)
            self._fail(drawn.sequence, error)
            return False
        return True

    def _within(self, drawn: _Drawing, token_id: int, logits: NDArray[np.float32], row: int) -> int | None:
        """The id that was drawn, or another, drawn with the same random number, with which nothing is recited.

        End-of-text where no other is left, or MOST_REFUSED were not allowed, whatever else was asked for. None where
        nobody waits for it any more.
        """
        sequence, limit, stops = drawn.sequence, drawn.limit, drawn.generation.request.stop_ids
        assert limit is not None
        num_refused = 0
        try:
            while token_id != NOTHING_LEFT and token_id not in stops and not limit.allows(token_id):
                if sequence.cancelled:
                    return None
                num_refused += 1
                if num_refused == MOST_REFUSED:
                    return limit.end_of_text_id
                self._batch.exclude_one(drawn.line, token_id)
                self._batch.take_back(drawn.line)
                (token_id,) = self._batch.draw(logits, [row], [drawn.line])
        except Exception as error:
            log.exception("%s: limiting what is recited failed", self._name)
            self._fail(sequence, error)
            return None
        if token_id == NOTHING_LEFT and not np.isnan(logits[row]).any():
            return limit.end_of_text_id
        return token_id

    def _confirms(self, sequence: Sequence, token_id: int) -> bool:
        """Whether an id that was written is the one that the draft has there."""
        if not sequence.draft or sequence.draft.pop(0) != token_id:
            return False
        self._scheduler.confirm(sequence)
        return True

    def _join(self, sequence: Sequence) -> _Drawing:
        """The first id of a sample is about to be drawn."""
        generation = self._owners[sequence]
        assert isinstance(generation, Generation)
        writer = generation.writer_of(sequence)
        line = writer.join(self._batch)
        if self._drafts is not None:
            self._drafts.join(sequence, generation.request.max_new_tokens)
        self._drawing[sequence] = drawn = _Drawing(sequence, generation, line, writer.limit)
        return drawn

    def _measure(self, item: Work, rows: NDArray[np.float32]) -> None:
        measurement = self._owners[item.sequence]
        assert isinstance(measurement, Measurement)
        if measurement.take(item.chunk.start, rows):
            self._remove(item.sequence)

    def _write(self, drawn: _Drawing, token_id: int, row: NDArray[np.float32], now: float) -> bool:
        """Write an id that was drawn; return whether the sample goes on."""
        sequence, generation = drawn.sequence, drawn.generation
        if token_id == NOTHING_LEFT:
            self._fail(sequence, why_nothing_is_left(row, len(sequence.ids)))
            return False
        try:
            finish = generation.write(sequence, token_id, row)
        except Exception as error:  # a bug in one request must not end the others, nor this thread
            log.exception("%s: writing a token failed", self._name)
            self._fail(sequence, error)
            return False
        if generation.first_token_at is None:
            generation.first_token_at = now
            self._metrics.observe_first_token(now - generation.submitted_at)
        if finish is not None:
            self._remove(sequence)
            self._metrics.count_sample(finish.name)
        return finish is None

    def _tell(self, drawing: list[_Drawing], now: float) -> None:
        """Let callers have what was written: all of them at once when it is time, so that threads are woken together.

        Args:
            drawing: samples of this step. Others have text that waits when they read anew what slid.
        """
        due = now >= self._tell_at
        told = dict.fromkeys(drawn.generation for drawn in drawing)
        if due:
            self._tell_at = now + self._pause_s()
            told.update(dict.fromkeys(drawn.generation for drawn in self._drawing.values()))
            self._count()
        for generation in told:
            try:
                generation.tell(due=due)
            except Exception as error:
                log.exception("%s: telling of new text failed", self._name)
                generation.fail(error)

    def _pause_s(self) -> float:
        if math.isinf(self._messages_per_s):
            return 0.0
        return min(MAX_PAUSE_S, max(MIN_PAUSE_S, self._scheduler.num_running / self._messages_per_s))

    def _remove(self, sequence: Sequence) -> None:
        with self._changed:
            self._scheduler.remove(sequence)
            del self._owners[sequence]
            self._free_line(sequence)

    def _free_line(self, sequence: Sequence) -> None:
        drawn = self._drawing.pop(sequence, None)
        if drawn is not None:
            self._batch.remove(drawn.line)
            if self._drafts is not None:
                self._drafts.leave(sequence)

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

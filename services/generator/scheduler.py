"""Continuous batching: which ids of which sequences are computed in the next step.

A sequence joins at the next step when there is a place, callers in turn, and leaves it when it is finished,
cancelled or past its deadline. A place is memory for a whole context, so what runs is never interrupted.
Sequences that write give one id per step; prompts are cut into pieces so that they never stall long, and what
several prompts begin with is computed once. Knows no tensors, no text and no threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from services.common.errors import Busy
from services.generator.blocks import BlockPool, Holding, Key
from services.generator.engine import Chunk
from services.generator.pace import Pace
from services.generator.sequence import Sequence
from services.generator.waiting import Waiting

RETRY_AFTER_S = 1.0
MAX_MEASURED_IDS = 64  # of one text in one step: their logits are 13 MB at GPT-2's vocabulary


@dataclass(frozen=True, slots=True)
class Work:
    """A chunk and whose it is; `last` when the next id can be drawn after it.

    Of the chunk's ids the last `num_drafted` are a draft: they stand in the cache only for those that are confirmed.
    """

    sequence: Sequence
    chunk: Chunk
    last: bool
    num_drafted: int = 0


class Scheduler:
    """The waiting and the running sequences of one model.

    Args:
        pool: of the engine's blocks.
        context: longest sequence of the model.
        queue_limit: sequences that may wait when all places are taken.
        caller_limit: of one caller.
        pace: how many prompt ids a step may hold.
    """

    def __init__(self, pool: BlockPool, context: int, *, queue_limit: int, caller_limit: int, pace: Pace) -> None:
        self.pool = pool
        self.num_places = pool.num_blocks // -(-context // pool.block_size)
        self._queue_limit = queue_limit
        self._caller_limit = caller_limit
        self._pace = pace
        self._waiting = Waiting()
        self._running: list[Sequence] = []  # in order of arrival
        self._begun: list[Sequence] = []  # got their place since the last `take_begun`
        self._num_shared = 0

    @property
    def num_waiting(self) -> int:
        """Sequences without a place."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Sequences with a place."""
        return len(self._running)

    @property
    def most_at_once(self) -> int:
        """Sequences that one request may have: more would not fit even if nothing else ran."""
        return self.num_places + min(self._queue_limit, self._caller_limit)

    def submit(self, sequences: Iterable[Sequence]) -> None:
        """Queue the sequences of one request, all or none.

        Raises:
            Busy: the queue would be longer than its limit, or this caller's part of it; `reason` tells which.
        """
        new = list(sequences)
        room = self.num_places - len(self._running)
        if len(self._waiting) + len(new) > room + self._queue_limit:
            raise Busy(
                f"the queue is full: {self.num_running} samples are being written, {self.num_waiting} wait "
                f"(limit {self._queue_limit}); try again in a moment, or ask for fewer samples",
                reason="QUEUE_FULL",
                retry_after_s=RETRY_AFTER_S,
            )
        of_caller = self._waiting.count_of(new[0].caller)
        if of_caller + len(new) > room + self._caller_limit:
            raise Busy(
                f"{of_caller} samples of caller {new[0].caller!r} wait already (limit {self._caller_limit} per "
                "caller); try again when some are done, or ask for fewer samples",
                reason="CALLER_SHARE",
                retry_after_s=RETRY_AFTER_S,
            )
        for sequence in new:
            self._waiting.add(sequence)

    def sweep(self, now: float) -> list[Sequence]:
        """Remove and return what nobody waits for any more; `cancelled` says why."""
        gone = []
        for sequence in (*self._running, *self._waiting):
            if not sequence.cancelled and now >= sequence.deadline:
                sequence.cancelled = "deadline"
            if sequence.cancelled:
                gone.append(sequence)
        for sequence in gone:
            self.remove(sequence)
        return gone

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, finished or not; its place is free for the next step."""
        if sequence.holding is None:
            self._waiting.remove(sequence)
        else:
            self._running.remove(sequence)
            self.pool.release(sequence.holding)
            sequence.holding = None

    def plan(self) -> list[Work]:
        """Give free places to those who wait, and return the next step; empty when there is nothing to do."""
        while len(self._running) < self.num_places and self._waiting:
            sequence = self._waiting.take()
            sequence.holding = Holding()
            self._running.append(sequence)
            self._begun.append(sequence)
        for sequence in self._running:
            self._catch_up(sequence)
        writing = [s for s in self._running if s.num_pending == 1 and not s.measured]
        work = [_work(self.pool, s, 1) for s in writing]
        if len(writing) < len(self._running):
            reading = self._without_followers([s for s in self._running if s.num_pending > 1 or s.measured])
            sizes = _divide(self._pace.prompt_ids(len(writing)), reading)
            work += [_work(self.pool, s, size) for s, size in sizes]
        return work

    def computed(self, work: Iterable[Work], seconds: float) -> None:
        """A step is done and took so long: its ids stand in the cache."""
        num_prompt_ids = 0
        for item in work:
            sequence, count = item.sequence, len(item.chunk.ids) - item.num_drafted
            if count > 1:
                num_prompt_ids += count
            sequence.num_computed += count
            if sequence.holding is not None:
                self.pool.settle(sequence.holding, sequence.context, sequence.num_computed)
        if num_prompt_ids:
            self._pace.observe(num_prompt_ids, seconds)

    def confirm(self, sequence: Sequence) -> None:
        """The next id of the draft that was computed is what was written: it stands in the cache."""
        sequence.num_computed += 1
        if sequence.holding is not None:
            self.pool.settle(sequence.holding, sequence.context, sequence.num_computed)

    def take_begun(self) -> list[Sequence]:
        """Those that got their place since the last call."""
        begun, self._begun = self._begun, []
        return begun

    def take_num_shared(self) -> int:
        """Ids that stood in the cache already, since the last call."""
        count, self._num_shared = self._num_shared, 0
        return count

    def _catch_up(self, sequence: Sequence) -> None:
        """Let go of what slid out, and take what others have computed; the last id is always computed."""
        holding, pool = sequence.holding, self.pool
        assert holding is not None
        if len(holding.prefixes) * pool.block_size > sequence.num_computed:
            sequence.num_computed = pool.cut(holding, sequence.num_computed)
        if sequence.num_pending > 1 and not sequence.measured:
            shared = pool.share(holding, sequence.context, len(sequence.context) - 1)
            sequence.num_computed += shared
            self._num_shared += shared

    def _without_followers(self, reading: list[Sequence]) -> list[Sequence]:
        """Of those whose next block would hold the same ids after the same prefix, the one that is furthest on.

        The others wait for the block instead of computing it too.
        """
        leaders: dict[Key, Sequence] = {}
        keys: dict[Sequence, Key] = {}
        for sequence in reading:
            assert sequence.holding is not None
            key = self.pool.next_key(sequence.holding, sequence.context, len(sequence.context) - 1)
            if key is not None:
                keys[sequence] = key
                leader = leaders.setdefault(key, sequence)
                if sequence.num_computed > leader.num_computed:
                    leaders[key] = sequence
        return [s for s in reading if s not in keys or s.measured or leaders[keys[s]] is s]


def _divide(budget: int, reading: list[Sequence]) -> list[tuple[Sequence, int]]:
    """Prompt ids for each: callers get equal parts, and what one does not need goes to the others.

    Of one caller, first come, first served.
    """
    needs: dict[str, int] = {}
    for sequence in reading:
        needs[sequence.caller] = needs.get(sequence.caller, 0) + _need(sequence)
    parts: dict[str, int] = {}
    for left, caller in zip(itertools.count(len(needs), -1), sorted(needs, key=lambda c: needs[c]), strict=False):
        parts[caller] = min(needs[caller], -(-budget // left))
        budget -= parts[caller]
    sizes = []
    for sequence in reading:
        size = min(_need(sequence), parts[sequence.caller])
        parts[sequence.caller] -= size
        if size:
            sizes.append((sequence, size))
    return sizes


def _need(sequence: Sequence) -> int:
    return min(sequence.num_pending, MAX_MEASURED_IDS) if sequence.measured else sequence.num_pending


def _work(pool: BlockPool, sequence: Sequence, size: int) -> Work:
    assert sequence.holding is not None
    start, end = sequence.num_computed, sequence.num_computed + size
    last = end == len(sequence.context)
    draft = sequence.draft if last and not sequence.measured else []
    pool.cover(sequence.holding, end + len(draft))
    num_logits = size if sequence.measured else int(last) + len(draft)
    ids = sequence.context[start:end] + draft
    return Work(sequence, Chunk(sequence.holding.blocks, start, ids, num_logits), last, len(draft))

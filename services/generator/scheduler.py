"""Continuous batching: which ids of which sequences are computed in the next step.

A sequence joins at the next step when a slot is free, first come, first served, and leaves its slot when it
is finished, cancelled or past its deadline. Sequences that write give one id per step; prompts are cut into
pieces so that they never stall long. Knows no tensors, no text and no threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from services.common.errors import Busy
from services.generator.engine import Chunk
from services.generator.sequence import Sequence

RETRY_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """A chunk and whose it is; `last` when the next id can be drawn after it."""

    sequence: Sequence
    chunk: Chunk
    last: bool


class Scheduler:
    """The waiting and the running sequences of one model.

    Args:
        num_slots: sequences that run at once.
        queue_limit: sequences that may wait when all slots are taken.
        prefill_tokens: prompt ids computed per step, over all sequences.
    """

    def __init__(self, num_slots: int, queue_limit: int, prefill_tokens: int) -> None:
        self._free = list(reversed(range(num_slots)))
        self._queue_limit = queue_limit
        self._prefill_tokens = prefill_tokens
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []  # in order of arrival

    @property
    def num_waiting(self) -> int:
        """Sequences without a slot."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Sequences with a slot."""
        return len(self._running)

    def submit(self, sequences: Iterable[Sequence]) -> None:
        """Queue the sequences of one request, all or none.

        Raises:
            Busy: the queue would be longer than its limit.
        """
        new = list(sequences)
        if len(self._waiting) + len(new) > len(self._free) + self._queue_limit:
            raise Busy(
                f"the queue is full: {self.num_running} samples are being written, {self.num_waiting} wait "
                f"(limit {self._queue_limit}); try again in a moment, or ask for fewer samples",
                retry_after_s=RETRY_AFTER_S,
            )
        self._waiting.extend(new)

    def sweep(self, now: float) -> list[Sequence]:
        """Remove and return what nobody waits for any more."""
        gone = [s for s in (*self._running, *self._waiting) if s.cancelled or now >= s.deadline]
        for sequence in gone:
            self.remove(sequence)
        return gone

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, finished or not; its slot is free for the next step."""
        if sequence.slot is None:
            self._waiting.remove(sequence)
        else:
            self._running.remove(sequence)
            self._free.append(sequence.slot)
            sequence.slot = None

    def plan(self) -> list[Work]:
        """Give free slots to those who wait, and return the next step; empty when there is nothing to do."""
        while self._free and self._waiting:
            sequence = self._waiting.popleft()
            sequence.slot = self._free.pop()
            self._running.append(sequence)
        work: list[Work] = []
        budget = self._prefill_tokens
        for sequence in self._running:
            size = sequence.num_pending
            if size > 1:
                size = min(size, budget)
                budget -= size
            if size:
                work.append(_work(sequence, size))
        return work


def _work(sequence: Sequence, size: int) -> Work:
    assert sequence.slot is not None
    start = sequence.num_computed
    chunk = Chunk(sequence.slot, start, sequence.context[start : start + size])
    return Work(sequence, chunk, last=start + size == len(sequence.context))

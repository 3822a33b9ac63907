"""The queue of one model: sequences without a place, taken from their callers in turn.

A caller with many sequences does not hold back one with few. Knows no time and no cache.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from services.generator.sequence import Sequence


class Waiting:
    """Sequences by caller; of one caller, first come, first served."""

    def __init__(self) -> None:
        self._of_caller: OrderedDict[str, deque[Sequence]] = OrderedDict()  # the caller whose turn is next first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Sequence]:
        for sequences in self._of_caller.values():
            yield from sequences

    def count_of(self, caller: str) -> int:
        """How many sequences of one caller wait."""
        return len(self._of_caller.get(caller, ()))

    def add(self, sequence: Sequence) -> None:
        """Add a sequence behind the others of its caller."""
        self._of_caller.setdefault(sequence.caller, deque()).append(sequence)
        self._count += 1

    def take(self) -> Sequence:
        """Remove and return the next sequence of the caller whose turn it is; there must be one."""
        caller, sequences = next(iter(self._of_caller.items()))
        sequence = sequences.popleft()
        self._of_caller.move_to_end(caller)
        self._drop_if_empty(caller)
        self._count -= 1
        return sequence

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence that waits."""
        self._of_caller[sequence.caller].remove(sequence)
        self._drop_if_empty(sequence.caller)
        self._count -= 1

    def _drop_if_empty(self, caller: str) -> None:
        if not self._of_caller[caller]:
            del self._of_caller[caller]

"""How many threads a step gets: all, or one where the others are kept from working.

In: how long the caller's thread waited in each step. Out: 1 or all. Threads wait awake for each other, dozens of times
in a step; where another program has a core of theirs, until the system takes it away again, which is milliseconds. A
small model's step is then ten times as long on two threads as on one.
"""

from __future__ import annotations

FADING = 0.7  # what counts of the average at each step
FIRST_ALONE, LONGEST_ALONE = 32, 1024  # steps alone before all are tried again; twice as many each time


class ThreadCount:
    """Of one model.

    Args:
        threads: all of them.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        # Of two threads that wait for half of a step one alone does as much, of four that wait for three quarters.
        # Undisturbed it is 0.02 to 0.2 with two.
        self._held_up = 1 - 1 / threads
        self._waited = 0.0  # share of a step, fading average
        self._steps_alone = 0
        self._next_alone = FIRST_ALONE

    def next(self) -> int:
        """Threads of the step that begins."""
        if self._steps_alone:
            self._steps_alone -= 1
            return 1
        return self._threads

    def observe(self, waited: int, spent: int) -> None:
        """A step on all threads is over.

        Args:
            waited, spent: ticks in which the caller's thread waited for others, and all of the step's.
        """
        if spent <= 0:
            return
        self._waited = FADING * self._waited + (1 - FADING) * waited / spent
        if self._waited > self._held_up:
            # As soon as two steps in a row are held up again it goes on alone.
            self._waited = self._held_up / 2
            self._steps_alone = self._next_alone
            self._next_alone = min(LONGEST_ALONE, 2 * self._next_alone)
        elif self._waited < self._held_up / 2:
            self._next_alone = FIRST_ALONE

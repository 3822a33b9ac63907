"""How many tokens a second were written lately. Knows no clock: it is told the time."""

from __future__ import annotations

from collections import deque

WINDOW_S = 10.0


class Rate:
    """The steps of the last ten seconds."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque()  # when, and how many tokens

    def add(self, now: float, num_tokens: int) -> None:
        """So many tokens were written. By one thread."""
        self._steps.append((now, num_tokens))
        while self._steps[0][0] <= now - WINDOW_S:
            self._steps.popleft()

    def per_second(self, now: float) -> float:
        """Tokens per second up to now, over the window or since the first of them. From any thread."""
        steps = [step for step in self._steps.copy() if step[0] > now - WINDOW_S]
        if len(steps) < 2:
            return 0.0
        # The first step's tokens were written before it was noted.
        return sum(count for _, count in steps[1:]) / (now - steps[0][0])

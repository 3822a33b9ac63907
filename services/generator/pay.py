"""Whether drafts pay, learned from the steps before.

An id more in a step takes a little longer, and gives a token more where the model would have written it. So a draft
goes on for as long as an id of it brings more tokens a second than the steps bring anyway. Knows no clock, no text and
no ids: it is told what steps took.
"""

from __future__ import annotations

import math

from services.generator.drafter import LEVELS, MOST

_KEPT = 0.97  # of what was learned, at each step
_TRY_AGAIN = 32  # a level that does not pay gets one id in so many steps, in twice as many each time
_AT_LEAST = 512  # in so many; in a fourth of them when it was right
_LIKELY = 0.999  # no draft is certain
_CLEARLY = 0.05  # likelier than what pays just so, of which nothing is gained and the text must be followed
# What an id more is thought to take until steps show it: its part of a step of one, and how many squared ids it weighs.
_USUAL, _WEIGHT = 0.1, 4.0
_HELD_UP = 4.0  # times the mean step: in a longer one another program had the processor


class Pay:
    """Of one model."""

    def __init__(self) -> None:
        self._accepted = [1.0] * LEVELS  # ids of drafts that were written, by level
        self._checked = [2.0] * LEVELS  # and those of which it was seen whether they were
        self._refused = [0] * LEVELS
        self._pause = [_TRY_AGAIN] * LEVELS
        # Of steps that only write: sums over them, old ones fading, of 1, rows, rows**2, seconds, rows * seconds.
        self._sums = [0.0] * 5
        self._tokens = 0.0

    def length(self, level: int, most: int = MOST) -> int:
        """How many ids a draft of this level should have to pay, 0 to `most`."""
        least = self._least()
        likely = min(_LIKELY, self._accepted[level] / self._checked[level])
        if likely <= least + _CLEARLY:
            return 0
        return min(most, int(math.log(least) / math.log(likely)))

    def is_due(self, level: int) -> bool:
        """Asked where drafts of this level do not pay: whether it is time to see whether they still do not."""
        self._refused[level] += 1
        if self._refused[level] < self._pause[level]:
            return False
        self._refused[level] = 0
        self._pause[level] = min(_AT_LEAST, 2 * self._pause[level])
        return True

    def observe_draft(self, level: int, num_ids: int, num_accepted: int) -> None:
        """Of a draft of so many ids, the first so many were written."""
        self._accepted[level] = self._accepted[level] * _KEPT + num_accepted
        self._checked[level] = self._checked[level] * _KEPT + min(num_accepted + 1, num_ids)
        if num_accepted:
            self._pause[level] = max(_TRY_AGAIN, self._pause[level] // 4)

    def observe_step(self, num_rows: int, num_tokens: int, seconds: float) -> None:
        """A step that only wrote computed so many ids, wrote so many tokens and took so long."""
        if self._sums[0] > 1.0:
            seconds = min(seconds, _HELD_UP * self._sums[3] / self._sums[0])
        step = (1.0, num_rows, num_rows**2, seconds, num_rows * seconds)
        self._sums = [_KEPT * before + new for before, new in zip(self._sums, step, strict=True)]
        self._tokens = _KEPT * self._tokens + num_tokens

    def _least(self) -> float:
        """How likely an id must be to be worth its time: what the time of one more would bring otherwise."""
        steps, rows, squares, seconds, products = self._sums
        if seconds <= 0.0:
            return 0.5
        mean = seconds / steps
        spread = squares - rows * rows / steps
        usual = _USUAL * mean / (1 - _USUAL + _USUAL * rows / steps)
        slope = (products - rows * mean + _WEIGHT * usual) / (spread + _WEIGHT)
        # Never free, and never more than its share of the step.
        slope = min(max(slope, 0.01 * mean), seconds / rows)
        return min(1.0, slope * self._tokens / seconds)

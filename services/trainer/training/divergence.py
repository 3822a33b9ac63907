"""When a step's loss has jumped. In: the losses so far. Out: the limit of the next. Knows no weights."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

LENGTH = 128
LEAST = 16  # below so many losses nobody knows what is usual
MOST_REFUSED = 10  # steps in a row that change nothing: then the numbers have gone bad for good


@dataclass(frozen=True, slots=True)
class LossHistory:
    """The last losses, nats per token, those of refused steps left out."""

    losses: tuple[float, ...] = ()

    def add(self, loss: float) -> LossHistory:
        """Return the history with one more."""
        return LossHistory((*self.losses, loss)[-LENGTH:])

    def limit(self, deviations: float) -> float:
        """The largest loss that is no jump: so many standard deviations above the mean; infinity while unknown.

        Args:
            deviations: 0: nothing is a jump.
        """
        if not deviations or len(self.losses) < LEAST:
            return math.inf
        return statistics.fmean(self.losses) + deviations * statistics.stdev(self.losses)

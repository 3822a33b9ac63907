"""The running average of the loss, as train.py prints it: exponential, divided by its own weight."""

from __future__ import annotations

from dataclasses import dataclass

DECAY = 0.99


@dataclass(frozen=True, slots=True)
class LossAverage:
    """A weighted sum of the losses so far, and the sum of the weights."""

    total: float = 0.0
    weight: float = 0.0

    def add(self, loss: float) -> LossAverage:
        """Return the average with one more loss: every earlier one counts 0.99 times as much as before."""
        return LossAverage(self.total * DECAY + loss, self.weight * DECAY + 1.0)

    @property
    def value(self) -> float:
        """The average in the losses' unit (nats per token); 0 before the first loss."""
        return self.total / self.weight if self.weight else 0.0

"""A share with its interval: how many of how many, and where the true share may lie.

Wilson's score interval (E. B. Wilson, 1927) holds for few answers and for shares near 0 and 1 as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959964  # of 95 %


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `total`; total is above 0."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share itself, 0 to 1."""
        return self.count / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high end of the 95 % interval, 0 to 1."""
        squared = Z * Z / self.total
        centre = (self.value + squared / 2) / (1 + squared)
        reach = Z / (1 + squared) * math.sqrt(self.value * (1 - self.value) / self.total + squared / 4 / self.total)
        return max(0.0, centre - reach), min(1.0, centre + reach)

    @property
    def holds_half(self) -> bool:
        """Whether a half lies in the interval: no difference is shown."""
        low, high = self.interval
        return low <= 0.5 <= high

"""What the loss is multiplied by in float16, so that small gradients do not vanish; moves with what it led to.

A step whose gradients overflow is done again with half the scale, down to 1; after 2000 steps in a row without an
overflow the scale doubles. Source: Micikevicius et al. 2018, section 3.2, with the numbers of PyTorch's GradScaler.
"""

from __future__ import annotations

from dataclasses import dataclass

GROW_AFTER = 2000
LARGEST = 2.0**24  # far above any use; keeps the scaled loss a float32


@dataclass(frozen=True, slots=True)
class LossScale:
    """A scale, a power of two from 1, and the steps without an overflow since it changed."""

    scale: float = 2.0**16
    sound_steps: int = 0

    def after(self, *, overflow: bool) -> LossScale:
        """The scale of the next attempt, or of the next step."""
        if overflow:
            return LossScale(max(1.0, self.scale / 2))
        if self.sound_steps + 1 < GROW_AFTER:
            return LossScale(self.scale, self.sound_steps + 1)
        return LossScale(min(LARGEST, self.scale * 2))

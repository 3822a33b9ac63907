"""What one step trains on: rows of token ids, and what belongs together and counts in them.

N rows, T tokens per row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_NOISE = 3  # the random stream of `with_noise`: batches.py has 1 and 2


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The rows of a step."""

    inputs: npt.NDArray[np.int32]
    """[N, T]"""
    targets: npt.NDArray[np.int32]
    """[N, T]: the token that follows each input."""
    segments: npt.NDArray[np.int32] | None = None
    """[N, T]: tokens attend only to those of the same number in their row. None: to all before them."""
    weights: npt.NDArray[np.float32] | None = None
    """[N, T]: what each target's loss counts, 0 for padding; some in each row are above 0. None: all count 1."""

    @property
    def num_tokens(self) -> int:
        """Targets that count."""
        return self.targets.size if self.weights is None else int(np.count_nonzero(self.weights))

    def part(self, rows: slice) -> Batch:
        """Some of the rows."""
        return Batch(
            self.inputs[rows],
            self.targets[rows],
            None if self.segments is None else self.segments[rows],
            None if self.weights is None else self.weights[rows],
        )

    def share(self, rows: slice) -> float:
        """What some of the rows contribute to the mean loss: their weight in that of all."""
        if self.weights is None:
            return len(self.inputs[rows]) / len(self.inputs)
        return float(self.weights[rows].sum(dtype=np.float64) / self.weights.sum(dtype=np.float64))


def with_noise(batch: Batch, chance: float, *, n_vocab: int, seed: int, step: int) -> Batch:
    """Replace inputs by random ids, as train.py's --noise does; targets stay what they are.

    Args:
        chance: of each input, 0 to below 1.
        n_vocab: ids are drawn from 0 to below this.
        seed, step: the draw depends on nothing else.
    """
    if not chance:
        return batch
    random = np.random.default_rng([seed, _NOISE, step])
    replaced = random.random(batch.inputs.shape) < chance
    others = random.integers(0, n_vocab, batch.inputs.shape, np.int32)
    return Batch(np.where(replaced, others, batch.inputs), batch.targets, batch.segments, batch.weights)

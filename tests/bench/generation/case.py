"""What every contestant of bench_generate agrees on: a case, what running it came to, and what each must offer.

In: numbers. Out: numbers. Knows no contestant, and imports nothing heavy: the process that asks imports it too.
Legend: S streams, P tokens of a prompt, V vocabulary.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

TOP_K = 40
SEED = 1  # of the weights
CORES = len(os.sched_getaffinity(0))
Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """So many streams that arrive at once, each with a prompt of its own.

    Attributes:
        prompt: tokens of each prompt.
        streams: how many.
        new: tokens that each stream decodes after its first one.
    """

    prompt: int
    streams: int
    new: int

    @property
    def title(self) -> str:
        """As in the benchmark's lines."""
        return f"prompt {self.prompt}, {self.streams} stream{'s' if self.streams > 1 else ''}"

    def prompts(self, number: int, num_vocabulary: int = 50256) -> np.ndarray:
        """Random ids without end-of-text, the same for everyone and others in every round: int64 [S, P]."""
        rng = np.random.default_rng([number, self.prompt, self.streams])
        return rng.integers(0, num_vocabulary, (self.streams, self.prompt))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of a case.

    Attributes:
        prefill_s: from the start until every stream has its first token.
        decode_s: what the `new` tokens of every stream took, all of them decoding.
        first_s: until the first token, the median over the streams.
    """

    prefill_s: float
    decode_s: float
    first_s: float


class Contestant(Protocol):
    """A loaded model, warm or not."""

    def run(self, prompts: np.ndarray, new: int) -> Outcome:
        """Write `new` tokens after the first one behind each prompt [S, P], top_k 40, end-of-text ignored."""
        ...

    def peak_gb(self) -> float:
        """The most memory that the process of the model has held."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


def peak_gb(process: int | str = "self") -> float:
    """The most memory that a process has held, in GB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1]) * 1024 / 1e9


class InThisProcess:
    """What contestants share whose model lies in the contestant's own process."""

    def peak_gb(self) -> float:
        return peak_gb()

    def close(self) -> None:
        """Nothing was started."""

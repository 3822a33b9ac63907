"""A text being measured: its ids go through the model like a prompt, and of each the log-probability is kept.

Made and read in the caller's thread, worked on by the model's thread.
Legend: N rows, T ids, V vocabulary.
"""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Cancelled
from services.generator.sequence import Sequence
from services.sampling.likelihood import log_probabilities_of


class Measurement:
    """The likelihood of one text.

    Args:
        ids: of the text, at least one, at most the context.
        end_of_text_id: stands before the text.
        caller: whose it is.
        timeout_s: seconds after which the caller is gone; None: never.
    """

    def __init__(
        self, ids: list[int], end_of_text_id: int, *, caller: str = "", timeout_s: float | None = None
    ) -> None:
        self._submitted_at: float | None = time.monotonic()
        deadline = float("inf") if timeout_s is None else self._submitted_at + timeout_s
        context = [end_of_text_id, *ids[:-1]]
        self.sequences = [Sequence(context, len(context), caller, measured=True, deadline=deadline)]
        self._ids = np.array(ids)
        self._found = np.empty(len(ids), np.float32)  # [T], nats
        self._error: Exception | None = None
        self._ended = threading.Event()

    # From the caller's thread.

    def cancel(self, why: str = "caller") -> None:
        """Nobody waits any more. Any thread, any number of times."""
        sequence = self.sequences[0]
        sequence.cancelled = sequence.cancelled or why

    def result(self) -> NDArray[np.float32]:
        """Wait, and return the log-probability of each id after those before it: float32 [T], nats.

        Raises:
            NonesuchError: it failed on the way, or was cancelled.
        """
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._found

    # From the model's thread.

    def begin(self, now: float) -> float | None:
        """It is computed; for the first step, return how long it waited."""
        submitted_at, self._submitted_at = self._submitted_at, None
        return None if submitted_at is None else now - submitted_at

    def take(self, start: int, logits: NDArray[np.float32]) -> bool:
        """Use the logits after the ids from `start` on, [N, V]; return whether these were the last."""
        end = start + len(logits)
        self._found[start:end] = log_probabilities_of(logits, self._ids[start:end])
        if end == len(self._ids):
            self._ended.set()
        return end == len(self._ids)

    def drop(self, sequence: Sequence) -> None:
        """It was cancelled or is too late."""
        self.fail(Cancelled("the caller gave up, the deadline passed, or the server is stopping"))

    def fail(self, error: Exception) -> None:
        """It cannot go on."""
        self.cancel("failed")
        self._error = error
        self._ended.set()

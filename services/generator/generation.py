"""A request being answered: its writers, the events for its caller, and where the time went.

Made in the caller's thread, worked on by the model's thread, read in the caller's thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Busy
from services.generator.events import End, Event, Failed, Finish, Text
from services.generator.outbox import Outbox
from services.generator.request import SampleRequest
from services.generator.sequence import Sequence
from services.generator.verbatim import VerbatimLimit
from services.generator.writer import Writer
from services.tokens.codec import Codec

MAX_JOINED_IDS = 2048  # of one event: with 20 log-probabilities each, far less than a message may have


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds: waiting for a slot, reading the prompt, writing, and writing per token."""

    queue_s: float
    prefill_s: float
    decode_s: float
    per_token_s: float


class Generation:
    """The samples of one request.

    Args:
        request: validated.
        codec: of the model's vocabulary.
        context: longest sequence of the model.
        caller: whose it is.
        timeout_s: seconds after which the caller is gone; None: never.
        streams: whether the caller wants to hear of the text before its end.
        unread_limit: tokens that may wait for the caller to read them; None: any number.
        limit: makes what keeps a sample from reciting; None: nothing does.
        on_slow: called by the model's thread when more would wait, after the request was given up.
    """

    def __init__(
        self,
        request: SampleRequest,
        codec: Codec,
        context: int,
        *,
        caller: str = "",
        timeout_s: float | None = None,
        streams: bool = True,
        unread_limit: int | None = None,
        limit: Callable[[], VerbatimLimit] | None = None,
        on_slow: Callable[[], None] = lambda: None,
    ) -> None:
        self.request = request
        self.submitted_at = time.monotonic()
        deadline = float("inf") if timeout_s is None else self.submitted_at + timeout_s
        self.writers = [
            Writer(request, index, codec, context, caller=caller, deadline=deadline, limit=limit() if limit else None)
            for index in range(request.best_of)
        ]
        self.sequences = [writer.sequence for writer in self.writers]
        self.started_at: float | None = None  # the first sample got its place
        self.first_token_at: float | None = None
        self.ended_at: float | None = None
        self._outbox = Outbox(unread_limit)
        self._streams = streams
        self._on_slow = on_slow
        self._open = list(self.writers)  # samples whose end was not told
        self._num_untold = 0  # tokens
        self._hurries = True  # what is told next must not wait: the first text, or an end
        self._writer_of = dict(zip(self.sequences, self.writers, strict=True))

    # From the caller's thread.

    def cancel(self, why: str = "caller") -> None:
        """Nobody listens any more: the next step frees the places. Any thread, any number of times."""
        for sequence in self.sequences:
            sequence.cancelled = sequence.cancelled or why

    def events(self) -> Iterator[Text | End]:
        """Yield what happens until all samples have ended; what waits already is joined into few events.

        Raises:
            NonesuchError: the request failed on the way.
        """
        num_open = len(self.writers)
        while num_open:
            for event in _join(self._outbox.take()):
                if isinstance(event, Failed):
                    raise event.error
                num_open -= isinstance(event, End)
                yield event

    @property
    def num_drawn(self) -> int:
        """Tokens written over all samples."""
        return sum(writer.sequence.num_written for writer in self.writers)

    def timings(self) -> Timings:
        """Where the time went, up to now or to the end."""
        now = self.ended_at or time.monotonic()
        started = self.started_at or now
        first = self.first_token_at or now
        after_first = self.num_drawn - len(self.writers)
        decode_s = now - first
        return Timings(
            queue_s=started - self.submitted_at,
            prefill_s=first - started,
            decode_s=decode_s,
            per_token_s=decode_s / after_first if after_first > 0 else 0.0,
        )

    def likeliest(self) -> list[int]:
        """Indices of the n samples to return: all in order, or with best_of the likeliest first."""
        order = list(range(len(self.writers)))
        if self.request.best_of > self.request.n:
            order.sort(key=lambda index: -self.writers[index].mean_logprob)
        return order[: self.request.n]

    # From the model's thread.

    def begin(self, now: float) -> float | None:
        """One of the samples is computed; for the first step of the first, return how long it waited."""
        if self.started_at is not None:
            return None
        self.started_at = now
        return now - self.submitted_at

    def writer_of(self, sequence: Sequence) -> Writer:
        """The writer of one of the samples."""
        return self._writer_of[sequence]

    def write(self, sequence: Sequence, token_id: int, logits: NDArray[np.float32]) -> Finish | None:
        """Take the id that was drawn for a sample from a row of logits [V]; return why the sample is over, if it is."""
        writer = self._writer_of[sequence]
        writer.write(token_id, logits)
        self._num_untold += 1
        if writer.finish is not None:
            self._hurries = True
        return writer.finish

    def tell(self, *, due: bool) -> None:
        """Let the caller have what was written.

        Args:
            due: else it waits and goes together with what follows: each message costs both sides more than the
                tokens in it. The request's first text and ends never wait, nor more than half of what may be unread.
        """
        limit = self._outbox.limit
        if not (due or self._hurries or (limit is not None and 2 * self._num_untold >= limit)):
            return
        events = [event for writer in self._open for event in writer.take()]
        self._num_untold = 0
        if not events:
            return
        self._hurries = False
        self._open = [writer for writer in self._open if writer.finish is None]
        if not self._open:
            self.ended_at = time.monotonic()
        if not self._outbox.put(events, wake=self._streams or not self._open):
            self._give_up(
                Busy(
                    f"{limit} tokens wait to be read and more were written: the caller reads too slowly; "
                    "read faster, or ask for fewer samples and log-probabilities",
                    reason="SLOW_READER",
                ),
                "slow_reader",
            )
            self._on_slow()

    def drop(self, sequence: Sequence) -> None:
        """One of the samples was cancelled or is too late."""
        self._writer_of[sequence].finish = Finish.CANCELLED
        self.tell(due=True)

    def fail(self, error: Exception) -> None:
        """The request cannot go on; its samples leave at the next step."""
        self._give_up(error, "failed")

    def _give_up(self, error: Exception, why: str) -> None:
        self.cancel(why)
        self._open = []  # nothing more is asked of its writers, one of which may be what failed
        self._outbox.close(Failed(error))


def _join(events: list[Event]) -> list[Event]:
    """Make one event of neighbouring texts of the same sample: fewer messages when the caller is slow."""
    joined: list[Event] = []
    last_text: dict[int, int] = {}  # sample -> place in `joined`
    for event in events:
        if not isinstance(event, Text):
            joined.append(event)
            continue
        place = last_text.get(event.index)
        before = None if place is None else joined[place]
        if place is None or not isinstance(before, Text) or len(before.ids) + len(event.ids) > MAX_JOINED_IDS:
            last_text[event.index] = len(joined)
            joined.append(event)
            continue
        joined[place] = Text(
            event.index,
            before.text + event.text,
            before.ids + event.ids,
            before.logprobs + event.logprobs,
        )
    return joined

"""A request being answered: its writers, the events for its caller, and where the time went.

Made in the caller's thread, worked on by the model's thread, read in the caller's thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.common.errors import Busy
from services.generator.events import End, Event, Failed, Finish, Text
from services.generator.outbox import Outbox
from services.generator.request import SampleRequest
from services.generator.sequence import Sequence
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
        on_slow: Callable[[], None] = lambda: None,
    ) -> None:
        self.request = request
        self.submitted_at = time.monotonic()
        deadline = float("inf") if timeout_s is None else self.submitted_at + timeout_s
        self.writers = [
            Writer(request, index, codec, context, caller=caller, deadline=deadline) for index in range(request.best_of)
        ]
        self.sequences = [writer.sequence for writer in self.writers]
        self.started_at: float | None = None  # the first sample got its place
        self.first_token_at: float | None = None
        self.ended_at: float | None = None
        self._outbox = Outbox(unread_limit)
        self._streams = streams
        self._woken_at = float("-inf")  # monotonic seconds; the first text is never held back
        self._on_slow = on_slow
        self._num_open = len(self.writers)
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

    def emit(self, events: list[Event], *, pause_s: float = 0.0) -> None:
        """Tell the caller.

        Args:
            pause_s: text may wait until this long after the text before, and go together with what follows.
        """
        now = time.monotonic()
        wake = self._streams and now - self._woken_at >= pause_s
        for event in events:
            if isinstance(event, End):
                self._num_open -= 1
                wake = wake or self._streams
                if self._num_open == 0:
                    self.ended_at = now
                    wake = True
        if wake and events:
            self._woken_at = now
        if not self._outbox.put(events, wake=wake):
            self._give_up(
                Busy(
                    f"{self._outbox.limit} tokens wait to be read and more were written: the caller reads too slowly; "
                    "read faster, or ask for fewer samples and log-probabilities",
                    reason="SLOW_READER",
                ),
                "slow_reader",
            )
            self._on_slow()

    def drop(self, sequence: Sequence) -> None:
        """One of the samples was cancelled or is too late."""
        self.emit(self._writer_of[sequence].finish(Finish.CANCELLED))

    def fail(self, error: Exception) -> None:
        """The request cannot go on; its samples leave at the next step."""
        self._give_up(error, "failed")

    def _give_up(self, error: Exception, why: str) -> None:
        self.cancel(why)
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

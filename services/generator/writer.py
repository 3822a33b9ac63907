"""One sample being written: an id that was drawn becomes text, and may end the sample.

In: ids. Out: events. Knows the rules of ending; knows no scheduler, no thread and no wire.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from services.generator.events import End, Event, Finish, Logprob, Text
from services.generator.request import SampleRequest
from services.generator.sequence import Sequence
from services.generator.stops import StopMatcher
from services.sampling.batch import Batch
from services.sampling.likelihood import log_probabilities, top_ids
from services.tokens.codec import Codec, IncrementalDecoder


class Writer:
    """Writes sample number `index` of a request.

    Args:
        request: validated.
        index: from 0; part of the random numbers' counter.
        codec: of the model's vocabulary.
        context: longest sequence of the model.
        caller: whose it is.
        deadline: monotonic seconds after which nobody waits.
    """

    def __init__(
        self,
        request: SampleRequest,
        index: int,
        codec: Codec,
        context: int,
        *,
        caller: str = "",
        deadline: float = float("inf"),
    ) -> None:
        self.request = request
        self.index = index
        self.sequence = Sequence(list(request.prompt_ids), len(request.prompt_ids), caller, deadline=deadline)
        self.first_token_at: float | None = None  # monotonic seconds
        self.num_drawn = 0
        self.mean_logprob = float("-inf")  # of the ids drawn; for best_of
        self._sum_logprobs = 0.0
        self._context = context
        self._end_of_text = codec.vocabulary.end_of_text_id
        self._decoder = IncrementalDecoder(codec)
        self._matcher = StopMatcher(request.stop)
        self._decoded = 0  # characters that the ids so far have given
        self._sent = 0  # characters that were sent
        self._held: list[tuple[int, Logprob | None, int, int]] = []  # id, where its text starts and ends

    def join(self, batch: Batch) -> int:
        """Add what the request says of drawing to a batch; return the line."""
        request = self.request
        return batch.add(
            request.sampling,
            seed=request.seed,
            sample=self.index,
            prompt=request.prompt_ids,
            max_new_tokens=request.max_new_tokens,
            excluded=(self._end_of_text,) if request.ignore_end_of_text else (),
            excluded_early=(*request.stop_ids, self._end_of_text),
            min_new_tokens=request.min_new_tokens,
        )

    def write(self, token_id: int, logits: NDArray[np.float32]) -> list[Event]:
        """Take the id that was drawn from a row of logits [V], and return what to tell the caller.

        The sample is over when the last event is an End.
        """
        request, written = self.request, self.sequence.num_written
        self.num_drawn += 1
        if self.first_token_at is None:
            self.first_token_at = time.monotonic()
        logprob = self._measure(logits, token_id)
        if token_id in request.stop_ids:
            return self.finish(Finish.STOP)
        if token_id == self._end_of_text:
            return self.finish(Finish.END_OF_TEXT)

        self.sequence.append(token_id)
        text = self._decoder.push(token_id)
        self._held.append((token_id, logprob, self._decoded, self._decoded + len(text)))
        self._decoded += len(text)
        # A stop text counts from min_new_tokens on.
        events = self._send(text if written < request.min_new_tokens else self._matcher.push(text))
        if self._matcher.found:
            return [*events, *self.finish(Finish.STOP)]
        if self.sequence.num_written >= request.max_new_tokens:
            return [*events, *self.finish(Finish.LENGTH)]
        if len(self.sequence.context) >= self._context:
            if not request.slide:
                return [*events, *self.finish(Finish.CONTEXT)]
            self.sequence.slide(request.slide_keep)
        return events

    def finish(self, finish: Finish) -> list[Event]:
        """Return the last events: text that was held back, and the end."""
        events: list[Event] = []
        if not self._matcher.found:
            rest = self._decoder.flush()
            self._decoded += len(rest)
            events = self._send(self._matcher.push(rest) + self._matcher.flush(), everything=True)
        return [*events, End(self.index, finish, self._matcher.found)]

    def _measure(self, logits: NDArray[np.float32], token_id: int) -> Logprob | None:
        request = self.request
        if request.logprobs is None and request.best_of == request.n:
            return None
        log_p = log_probabilities(logits)
        self._sum_logprobs += float(log_p[token_id])
        self.mean_logprob = self._sum_logprobs / self.num_drawn
        alternatives = tuple((i, float(log_p[i])) for i in top_ids(log_p, request.logprobs or 0))
        return Logprob(token_id, float(log_p[token_id]), alternatives)

    def _send(self, text: str, *, everything: bool = False) -> list[Event]:
        """One event with `text` and the ids whose text is out by then.

        When a stop was found, an id belongs to the sample if its text begins before the stop.
        """
        self._sent += len(text)
        ready = 0
        for _, _, start, end in self._held:
            if not (everything or end <= self._sent or (self._matcher.found and start < self._sent)):
                break
            if self._matcher.found and start >= self._sent:
                break
            ready += 1
        out, self._held = self._held[:ready], self._held[ready:]
        if not text and not out:
            return []
        logprobs = tuple(held[1] for held in out if held[1] is not None and self.request.logprobs is not None)
        return [Text(self.index, text, tuple(held[0] for held in out), logprobs)]

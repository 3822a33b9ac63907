"""One sample being written: an id that was drawn becomes text, and may end the sample.

In: ids. Out: events, when asked for. Knows the rules of ending; knows no scheduler, no thread, no time and no wire.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.generator.events import End, Event, Finish, Logprob, Text
from services.generator.request import SampleRequest
from services.generator.sequence import Sequence
from services.generator.stops import StopMatcher
from services.generator.verbatim import VerbatimLimit
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
        limit: on what may be recited; None: there is none.
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
        limit: VerbatimLimit | None = None,
    ) -> None:
        self.request = request
        self.limit = limit
        self.index = index
        self.sequence = Sequence(list(request.prompt_ids), len(request.prompt_ids), caller, deadline=deadline)
        self.finish: Finish | None = None  # why the sample is over
        self.num_drawn = 0
        self.mean_logprob = float("-inf")  # of the ids drawn; for best_of
        self._sum_logprobs = 0.0
        self._context = context
        self._end_of_text = codec.vocabulary.end_of_text_id
        self._decoder = IncrementalDecoder(codec)
        self._matcher = StopMatcher(request.stop)
        self._measures = request.logprobs is not None or request.best_of != request.n
        self._drawn: list[tuple[int, Logprob | None]] = []  # ids whose text is not made yet
        self._num_spelled = 0  # ids whose text is
        self._safe = ""  # text that may be sent
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

    def write(self, token_id: int, logits: NDArray[np.float32]) -> None:
        """Take the id that was drawn from a row of logits [V]; `finish` is set when it ends the sample.

        Its text is made at once only where a stop text may end the sample: many ids together cost a fraction.
        """
        request, sequence = self.request, self.sequence
        self.num_drawn += 1
        logprob = self._measure(logits, token_id) if self._measures else None
        if token_id in request.stop_ids:
            self.finish = Finish.STOP
            return
        if token_id == self._end_of_text:
            self.finish = Finish.END_OF_TEXT
            return

        sequence.append(token_id)
        if self.limit is not None:
            self.limit.push(token_id)
        self._drawn.append((token_id, logprob))
        if request.stop:
            self._spell()
        if self._matcher.found:
            self.finish = Finish.STOP
        elif sequence.num_written >= request.max_new_tokens:
            self.finish = Finish.LENGTH
        elif len(sequence.context) >= self._context:
            if request.slide:
                sequence.slide(request.slide_keep)
            else:
                self.finish = Finish.CONTEXT

    def take(self) -> list[Event]:
        """Return what to tell the caller that was not returned before: text, and the end once the sample is over."""
        self._spell()
        over = self.finish is not None and not self._matcher.found
        if over:
            rest = self._decoder.flush()
            self._decoded += len(rest)
            self._safe += self._matcher.push(rest) + self._matcher.flush()
        events = self._send(everything=over)
        if self.finish is not None:
            events.append(End(self.index, self.finish, self._matcher.found))
        return events

    def _measure(self, logits: NDArray[np.float32], token_id: int) -> Logprob:
        log_p = log_probabilities(logits)
        self._sum_logprobs += float(log_p[token_id])
        self.mean_logprob = self._sum_logprobs / self.num_drawn
        alternatives = tuple((i, float(log_p[i])) for i in top_ids(log_p, self.request.logprobs or 0))
        return Logprob(token_id, float(log_p[token_id]), alternatives)

    def _spell(self) -> None:
        """Make the text of the ids that were drawn; a stop text counts from min_new_tokens on."""
        for token_id, logprob in self._drawn:
            text = self._decoder.push(token_id)
            self._held.append((token_id, logprob, self._decoded, self._decoded + len(text)))
            self._decoded += len(text)
            self._safe += text if self._num_spelled < self.request.min_new_tokens else self._matcher.push(text)
            self._num_spelled += 1
        self._drawn.clear()

    def _send(self, *, everything: bool) -> list[Event]:
        """One event with the text that is safe and the ids whose text is out by then.

        When a stop was found, an id belongs to the sample if its text begins before the stop.
        """
        text, self._safe = self._safe, ""
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

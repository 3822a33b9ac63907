"""Samples written during training, with the weights as they are.

In: the run's variables; prompts and how to draw. Out: token ids. Draws with services.sampling, each position of
each sample with a random number of its own, so that a resumed run writes the samples that an undisturbed one would.
Knows no text.
N samples, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from services.gpt2.cache import CachedModel
from services.gpt2.config import GPT2Config
from services.gpt2.model import Params
from services.sampling.draw import uniform
from services.sampling.parameters import SamplingParameters
from services.sampling.rules import sample

MAX_CACHE_BYTES = 1 << 29  # of keys and values of the samples that are written together


@dataclass(frozen=True, slots=True)
class Request:
    """One sample."""

    prompt: tuple[int, ...]
    """Ids that it begins with; none: it begins from nothing."""
    parameters: SamplingParameters


class Writer:
    """Generates samples over a cache of its own; compiled once, for the variables it was given.

    Args:
        params: the run's variables, read anew at every step.
        requests: what to write each time, N samples. As many are written together as MAX_CACHE_BYTES hold.
        end_of_text_id: stands before each sample and ends it.
    """

    def __init__(
        self,
        params: Params,
        config: GPT2Config,
        compute_dtype: tf.DType,
        *,
        requests: Sequence[Request],
        end_of_text_id: int,
    ) -> None:
        bytes_each = 2 * config.n_layer * config.n_ctx * config.n_embd * compute_dtype.size
        self._together = min(len(requests), max(1, MAX_CACHE_BYTES // bytes_each))
        self._model = CachedModel(config, params, self._together, compute_dtype=compute_dtype)
        self._context, self._end_of_text_id, self.requests = config.n_ctx, end_of_text_id, requests

    def write(self, *, length: int, seed: int, wanted: Callable[[], bool] = lambda: True) -> list[list[int]] | None:
        """Return the ids of N samples: the prompt, then up to `length` new ones or the end-of-text id, left out.

        A sample longer than the context goes on from the second half of what the model sees.

        Args:
            wanted: asked before each token; None is returned as soon as it says no.
        """
        texts: list[list[int]] = []
        for first in range(0, len(self.requests), self._together):
            rows = range(first, min(first + self._together, len(self.requests)))
            written = self._write_together(rows, length, seed, wanted)
            if written is None:
                return None
            texts += written
        return texts

    def _write_together(
        self, numbers: range, length: int, seed: int, wanted: Callable[[], bool]
    ) -> list[list[int]] | None:
        """Write the samples of these numbers, each in a slot of the cache."""
        requests = [self.requests[number] for number in numbers]
        texts = [list(request.prompt) for request in requests]
        # What stands in each slot, the newest id not yet.
        seen = [self._cut([self._end_of_text_id, *text]) for text in texts]
        fed = [0] * len(texts)  # ids of `seen` that the cache holds
        active = list(range(len(texts)))
        while active:
            if not wanted():
                return None
            logits = self._logits(active, seen, fed)
            still = []
            for slot, slot_logits in zip(active, logits, strict=True):
                text, prompt = texts[slot], requests[slot].prompt
                number = uniform(seed, numbers[slot], len(text) - len(prompt))
                token_id = sample(slot_logits, requests[slot].parameters, (), number)
                if token_id == self._end_of_text_id:
                    continue
                text.append(token_id)
                seen[slot].append(token_id)
                if len(seen[slot]) > self._context:
                    seen[slot], fed[slot] = self._cut(seen[slot]), 0
                if len(text) - len(prompt) < length:
                    still.append(slot)
            active = still
        return texts

    def _cut(self, ids: list[int]) -> list[int]:
        """The ids, or the last half of a context of them where they are more than the model sees."""
        return ids if len(ids) <= self._context else ids[-(self._context // 2) - 1 :]

    def _logits(self, slots: list[int], seen: list[list[int]], fed: list[int]) -> np.ndarray:
        """Feed each slot's new ids to the cache and return the logits after the last, [slots, V]."""
        lengths = np.array([len(seen[slot]) - fed[slot] for slot in slots], np.int32)
        ids = np.zeros((len(slots), int(lengths.max())), np.int32)
        for i, slot in enumerate(slots):
            ids[i, : lengths[i]] = seen[slot][fed[slot] :]
        starts = np.array([fed[slot] for slot in slots], np.int32)
        for slot in slots:
            fed[slot] = len(seen[slot])
        return self._model.step(ids, np.array(slots, np.int32), starts, lengths)

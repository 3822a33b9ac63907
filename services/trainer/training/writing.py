"""Samples written during training, with the weights as they are.

In: the run's variables. Out: token ids. Draws with services.sampling, each position with a random number of
its own, so that a resumed run writes the samples that an undisturbed one would. Knows no text.
N samples, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from services.gpt2.cache import CachedModel
from services.gpt2.config import GPT2Config
from services.gpt2.model import Params
from services.sampling.draw import uniform
from services.sampling.parameters import SamplingParameters
from services.sampling.rules import sample

PARAMETERS = SamplingParameters(temperature=1.0, top_k=40)  # as train.py samples


class Writer:
    """Generates samples over a cache of its own; compiled once, for the variables it was given.

    Args:
        params: the run's variables, read anew at every step.
        num_samples: N.
        end_of_text_id: begins each sample and ends it.
    """

    def __init__(
        self,
        params: Params,
        config: GPT2Config,
        compute_dtype: tf.DType,
        *,
        num_samples: int,
        end_of_text_id: int,
    ) -> None:
        self._model = CachedModel(config, params, num_samples, compute_dtype=compute_dtype)
        self._context, self._end_of_text_id, self._num_samples = config.n_ctx, end_of_text_id, num_samples

    def write(self, *, length: int, seed: int, wanted: Callable[[], bool] = lambda: True) -> list[list[int]] | None:
        """Return the ids of N samples, each up to `length` or its end-of-text id, which is left out.

        A sample longer than the context goes on from the second half of what the model sees.

        Args:
            wanted: asked before each token; None is returned as soon as it says no.
        """
        texts: list[list[int]] = [[] for _ in range(self._num_samples)]
        seen = [[self._end_of_text_id] for _ in texts]  # what stands in each row's cache, the newest not yet
        fed = [0] * len(texts)  # ids of `seen` that the cache holds
        active = list(range(len(texts)))
        while active:
            if not wanted():
                return None
            logits = self._logits(active, seen, fed)
            still = []
            for row, row_logits in zip(active, logits, strict=True):
                token_id = sample(row_logits, PARAMETERS, (), uniform(seed, row, len(texts[row])))
                if token_id == self._end_of_text_id:
                    continue
                texts[row].append(token_id)
                seen[row].append(token_id)
                if len(seen[row]) > self._context:
                    seen[row], fed[row] = seen[row][-(self._context // 2) - 1 :], 0
                if len(texts[row]) < length:
                    still.append(row)
            active = still
        return texts

    def _logits(self, rows: list[int], seen: list[list[int]], fed: list[int]) -> np.ndarray:
        """Feed each row's new ids to the cache and return the logits after the last, [rows, V]."""
        lengths = np.array([len(seen[row]) - fed[row] for row in rows], np.int32)
        ids = np.zeros((len(rows), int(lengths.max())), np.int32)
        for i, row in enumerate(rows):
            ids[i, : lengths[i]] = seen[row][fed[row] :]
        starts = np.array([fed[row] for row in rows], np.int32)
        for row in rows:
            fed[row] = len(seen[row])
        return self._model.step(ids, np.array(rows, np.int32), starts, lengths)

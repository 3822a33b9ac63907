"""Rows that hold one document each, as a pure function of (seed, step).

A document begins a row, after an end-of-text id, which is how a model that writes from nothing begins; a long
one takes several rows; the rest of its last row is padding of weight 0. So every token is a target exactly
once per epoch. Within an epoch all rows are drawn in random order.

In: the dataset's tokens and documents. Out: batches. Knows no model, no files, no TensorFlow.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from services.trainer.training.batch import Batch

_ROW_ORDER = 2  # as in batches.py


class DocumentBatches:
    """Rows of the train documents, padded to one length.

    Args:
        tokens: all documents of the dataset, end to end.
        starts, ends: of each train document in `tokens`, at least one; a document includes its end-of-text id.
        end_of_text_id: stands before each document, and pads.
        context: tokens per row, T.
        seed: of the order of rows.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.unsignedinteger],
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        *,
        end_of_text_id: int,
        context: int,
        seed: int,
    ) -> None:
        self._tokens, self._end_of_text_id = tokens, end_of_text_id
        starts, ends = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
        pieces = -(-(ends - starts) // context)  # rows of each document
        first = np.repeat(np.cumsum(pieces) - pieces, pieces)
        self._row_starts = np.repeat(starts, pieces) + (np.arange(pieces.sum()) - first) * context
        self._row_ends = np.minimum(self._row_starts + context, np.repeat(ends, pieces))
        self._begins = np.arange(pieces.sum()) == first
        self.num_tokens = int((ends - starts).sum())
        if not self.num_tokens:
            raise ValueError("there are no tokens to make rows of")
        self.context, self._seed = context, seed
        self._order = lru_cache(maxsize=4)(self._draw_order)

    def batch(self, step: int, num_rows: int) -> Batch:
        """Return the rows of `step` (from 1), with weights."""
        shape = num_rows, self.context
        inputs, targets = np.full(shape, self._end_of_text_id, np.int32), np.full(shape, self._end_of_text_id, np.int32)
        weights = np.zeros(shape, np.float32)
        for i in range(num_rows):
            epoch, place = divmod((step - 1) * num_rows + i, len(self._row_starts))
            row = self._order(epoch)[place]
            start, end = self._row_starts[row], self._row_ends[row]
            targets[i, : end - start] = self._tokens[start:end]
            weights[i, : end - start] = 1
            skip = int(self._begins[row])  # the end-of-text id before the document
            inputs[i, skip : end - start] = self._tokens[start - 1 + skip : end - 1]
        return Batch(inputs, targets, weights=weights)

    def epoch(self, step: int, num_rows: int) -> float:
        """How often the corpus has been seen when `step` is done."""
        return step * num_rows / len(self._row_starts)

    def _draw_order(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self._seed, _ROW_ORDER, epoch]).permutation(len(self._row_starts))

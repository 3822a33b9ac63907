"""Which tokens a step trains on: a pure function of (seed, step), so the step is all that a resume needs.

The train documents of an epoch stand in a row, in an order drawn from (seed, epoch); the epochs follow
each other without a seam. Row r covers `context` inputs of that endless stream, so every token is an input
exactly once per epoch and nothing is dropped at its end. Within an epoch the rows are drawn in random order.

In: the dataset's tokens and documents. Out: int32 rows. Knows no model, no files, no TensorFlow.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

_DOCUMENT_ORDER, _ROW_ORDER = 1, 2  # one random stream for each purpose


class Batches:
    """Rows of consecutive tokens from the train documents.

    Args:
        tokens: all documents of the dataset, end to end.
        starts, ends: of each train document in `tokens`; a document includes its end-of-text id.
        context: inputs per row, T; below the number of train tokens.
        seed: of the order of documents and rows.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.unsignedinteger],
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        *,
        context: int,
        seed: int,
    ) -> None:
        self._tokens = tokens
        self._starts = np.asarray(starts, np.int64)
        self._lengths = np.asarray(ends, np.int64) - self._starts
        self.num_tokens = int(self._lengths.sum())
        if not 0 < context < self.num_tokens:
            raise ValueError(f"{self.num_tokens} tokens cannot fill a row of {context}")
        self.context = context
        self._seed = seed
        self._documents = lru_cache(maxsize=4)(self._draw_documents)
        self._rows = lru_cache(maxsize=4)(self._draw_rows)

    def batch(self, step: int, num_rows: int) -> npt.NDArray[np.int32]:
        """Return the rows of `step` (from 1), [num_rows, T+1]: inputs are [:, :-1], targets [:, 1:]."""
        first = (step - 1) * num_rows
        return np.stack([self._row(self._place(first + i)) for i in range(num_rows)])

    def epoch(self, step: int, num_rows: int) -> float:
        """How often the corpus has been seen when `step` is done."""
        return step * num_rows * self.context / self.num_tokens

    def _first_row(self, epoch: int) -> int:
        """The first row that starts in an epoch."""
        return -(-epoch * self.num_tokens // self.context)

    def _place(self, index: int) -> int:
        """Where the index-th row to be drawn stands in the endless stream, in rows."""
        epoch = index * self.context // self.num_tokens
        first = self._first_row(epoch)
        return first + int(self._rows(epoch)[index - first])

    def _draw_rows(self, epoch: int) -> npt.NDArray[np.int64]:
        count = self._first_row(epoch + 1) - self._first_row(epoch)
        return np.random.default_rng([self._seed, _ROW_ORDER, epoch]).permutation(count)

    def _draw_documents(self, epoch: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The order of an epoch's documents, and where each begins within the epoch."""
        order = np.random.default_rng([self._seed, _DOCUMENT_ORDER, epoch]).permutation(len(self._starts))
        offsets = np.concatenate([[0], np.cumsum(self._lengths[order])])
        return order, offsets

    def _row(self, row: int) -> npt.NDArray[np.int32]:
        """T+1 tokens of the endless stream from row * T on."""
        filled = np.empty(self.context + 1, np.int32)
        position, done = row * self.context, 0
        while done < len(filled):
            epoch, within = divmod(position, self.num_tokens)
            order, offsets = self._documents(epoch)
            place = int(np.searchsorted(offsets, within, side="right")) - 1
            document = int(order[place])
            skip = within - int(offsets[place])
            start = int(self._starts[document]) + skip
            count = min(len(filled) - done, int(self._lengths[document]) - skip)
            filled[done : done + count] = self._tokens[start : start + count]
            position, done = position + count, done + count
        return filled

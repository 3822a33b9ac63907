"""Which tokens a step trains on: a pure function of (seed, step), so the step is all that a resume needs.

The train documents of an epoch stand in a row, in an order drawn from (seed, epoch); the epochs follow
each other without a seam. Row r covers `context` inputs of that endless stream, so every token is an input
exactly once per epoch and nothing is dropped at its end. Within an epoch the rows are drawn in random order.

With `masked` no token attends to another document. The end-of-text id between two documents then belongs to the
second: it is what a model that writes from nothing begins with.

In: the dataset's tokens and documents. Out: batches. Knows no model, no files, no TensorFlow.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from services.trainer.run_settings import RunSettings
from services.trainer.training.batch import Batch
from services.trainer.training.document_batches import DocumentBatches

_DOCUMENT_ORDER, _ROW_ORDER = 1, 2  # one random stream for each purpose


def make_batches(
    tokens: npt.NDArray[np.unsignedinteger],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    end_of_text_id: int,
    *,
    settings: RunSettings,
) -> Batches | DocumentBatches:
    """Make a run's rows out of the train documents, in the way that its `packing` asks for."""
    context, seed = settings.context, settings.seed
    if settings.packing == "documents":
        return DocumentBatches(tokens, starts, ends, end_of_text_id=end_of_text_id, context=context, seed=seed)
    return Batches(tokens, starts, ends, context=context, seed=seed, masked=settings.packing == "masked")


class Batches:
    """Rows of consecutive tokens from the train documents.

    Args:
        tokens: all documents of the dataset, end to end.
        starts, ends: of each train document in `tokens`; a document includes its end-of-text id.
        context: inputs per row, T; below the number of train tokens.
        seed: of the order of documents and rows.
        masked: batches say which tokens belong to which document.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.unsignedinteger],
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        *,
        context: int,
        seed: int,
        masked: bool = False,
    ) -> None:
        self._tokens = tokens
        self._starts = np.asarray(starts, np.int64)
        self._lengths = np.asarray(ends, np.int64) - self._starts
        self.num_tokens = int(self._lengths.sum())
        if not 0 < context < self.num_tokens:
            raise ValueError(f"{self.num_tokens} tokens cannot fill a row of {context}")
        self.context = context
        self._seed, self._masked = seed, masked
        self._documents = lru_cache(maxsize=4)(self._draw_documents)
        self._rows = lru_cache(maxsize=4)(self._draw_rows)

    def batch(self, step: int, num_rows: int) -> Batch:
        """Return the rows of `step` (from 1)."""
        first = (step - 1) * num_rows
        rows, lasts = zip(*(self._row(self._place(first + i)) for i in range(num_rows)), strict=True)
        tokens = np.stack(rows)  # [N, T+1]
        segments = np.cumsum(np.stack(lasts), axis=1, dtype=np.int32)[:, :-1] if self._masked else None
        return Batch(tokens[:, :-1], tokens[:, 1:], segments)

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

    def _row(self, row: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """T+1 tokens of the endless stream from row * T on, and which of them is the last of its document."""
        filled, lasts = np.empty(self.context + 1, np.int32), np.zeros(self.context + 1, np.bool_)
        position, done = row * self.context, 0
        while done < len(filled):
            epoch, within = divmod(position, self.num_tokens)
            order, offsets = self._documents(epoch)
            place = int(np.searchsorted(offsets, within, side="right")) - 1
            document = int(order[place])
            skip = within - int(offsets[place])
            start = int(self._starts[document]) + skip
            left = int(self._lengths[document]) - skip
            count = min(len(filled) - done, left)
            filled[done : done + count] = self._tokens[start : start + count]
            lasts[done + count - 1] = count == left
            position, done = position + count, done + count
        return filled, lasts

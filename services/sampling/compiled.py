"""The compiled heart of the rules: from rows of logits to ids.

In: logits, and what each sample asked for as a line of numbers (line.py). Out: ids. What it asks of a row stands in
greatest.py and weights.py.

A row may be what the model gave (float32) or what penalties left (float64, -inf where excluded).

Legend: R rows of logits, V vocabulary, S samples, N ids so far, K candidates left or samples drawn for.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from services.common.sources import digest
from services.sampling.draw import philox
from services.sampling.greatest import NONE, Bits, Row, greatest, k_greatest
from services.sampling.weights import Floats, heaviest, pick, typical, weigh

NOTHING_LEFT = NONE
FEW = 16  # exclusions that are looked through at each candidate; for more the row is copied without them


def _kept(sources: int) -> tuple[Any, Any, Any]:
    """Return `_draw`, `_draw_all` and `_draw_on`, compiled and kept for Python to call.

    Args:
        sources: a digest of this package, which Numba keeps what it compiled under.
    """

    @numba.njit(cache=True, nogil=True)
    def draw(*arguments: Any) -> int:
        _key = sources
        return _draw(*arguments)

    @numba.njit(cache=True, nogil=True)
    def draw_all(*arguments: Any) -> None:
        _key = sources
        _draw_all(*arguments)

    @numba.njit(cache=True, nogil=True)
    def draw_on(*arguments: Any) -> int:
        _key = sources
        return _draw_on(*arguments)

    return draw, draw_all, draw_on


draw, draw_all, draw_on = _kept(digest(Path(__file__).parent))


@numba.njit(nogil=True)
def _draw_all(
    logits: NDArray[np.float32],
    rows: NDArray[np.int64],
    numbers: NDArray[np.int64],
    lines: NDArray[np.void],
    history: NDArray[np.int32],
    bias_ids: NDArray[np.int32],
    biases: Floats,
    excluded: NDArray[np.int32],
    found: NDArray[np.int64],
) -> None:
    """See batch.Batch.draw: the ids go to `found`, and each sample's line and history move on by one."""
    for i in range(len(rows)):
        found[i] = _draw_next(logits[rows[i]], numbers[i], lines, history, bias_ids, biases, excluded)


@numba.njit(nogil=True)
def _draw_on(
    logits: NDArray[np.float32],
    draft: NDArray[np.int64],
    number: int,
    lines: NDArray[np.void],
    history: NDArray[np.int32],
    bias_ids: NDArray[np.int32],
    biases: Floats,
    excluded: NDArray[np.int32],
    found: NDArray[np.int64],
) -> int:
    """See batch.Batch.draw_on: the ids go to `found`; how many there are."""
    for i in range(len(draft) + 1):
        found[i] = _draw_next(logits[i], number, lines, history, bias_ids, biases, excluded)
        if i == len(draft) or found[i] != draft[i]:
            break
    return i + 1


@numba.njit(nogil=True)
def _draw_next(
    row: NDArray[np.float32],
    number: int,
    lines: NDArray[np.void],
    history: NDArray[np.int32],
    bias_ids: NDArray[np.int32],
    biases: Floats,
    excluded: NDArray[np.int32],
) -> int:
    """The next id of a sample, whose line and history move on by one."""
    line = lines[number]
    early = line.position < np.uint64(line.min_new_tokens)
    token_id = _draw(
        row,
        line,
        history[number, : line.num_history],
        bias_ids[number, : line.num_biases],
        biases[number, : line.num_biases],
        excluded[number, : line.num_excluded_early if early else line.num_excluded],
        philox(line.seed, line.sample, line.position),
    )
    line.position += np.uint64(1)
    if line.keeps_history and token_id >= 0:
        history[number, line.num_history] = token_id
        line.num_history += 1
    return token_id


@numba.njit(nogil=True)
def _draw(
    logits: NDArray[np.float32],
    line: Any,
    history: NDArray[np.int32],
    bias_ids: NDArray[np.int32],
    biases: Floats,
    excluded: NDArray[np.int32],
    u: float,
) -> int:
    """The next id by all rules, or NOTHING_LEFT.

    Args:
        logits: float32 [V], not changed.
        line: what the sample asked for, a record of line.LINE.
        history: ids so far, prompt first, [N].
        bias_ids, biases: what to add to which logits.
        excluded: ids that must not be chosen.
        u: random number in [0, 1).
    """
    if (
        line.repetition_penalty == 1.0
        and line.presence_penalty == 0.0
        and line.frequency_penalty == 0.0
        and line.no_repeat_ngram == 0
        and len(bias_ids) == 0
    ):
        if len(excluded) > FEW:
            logits = _without(logits, excluded)
            excluded = excluded[:0]
        return _choose(logits, logits.view(np.int32), line, excluded, u)
    row = logits.astype(np.float64)
    _penalise(row, line, history)
    for i in range(len(bias_ids)):
        row[bias_ids[i]] += biases[i]
    _exclude_repeats(row, history, line.no_repeat_ngram)
    if len(excluded) > FEW:
        row = _without(row, excluded)
        excluded = excluded[:0]
    return _choose(row, row.view(np.int64), line, excluded, u)


@numba.njit(nogil=True)
def _without(row: Row, excluded: NDArray[np.int32]) -> Row:
    """A row in which these are -inf."""
    other = row.copy()
    for token_id in excluded:
        other[token_id] = -np.inf
    return other


@numba.njit(nogil=True)
def _penalise(row: Floats, line: Any, history: NDArray[np.int32]) -> None:
    repetition, presence, frequency = line.repetition_penalty, line.presence_penalty, line.frequency_penalty
    if repetition != 1.0:
        seen = np.zeros(len(row), np.bool_)
        for token_id in history:
            if not seen[token_id]:
                seen[token_id] = True
                row[token_id] = row[token_id] / repetition if row[token_id] > 0 else row[token_id] * repetition
    if presence != 0.0 or frequency != 0.0:
        counts = np.zeros(len(row), np.int32)
        for token_id in history[line.num_prompt :]:
            if counts[token_id] == 0:
                row[token_id] -= presence
            counts[token_id] += 1
            row[token_id] -= frequency


@numba.njit(nogil=True)
def _exclude_repeats(row: Floats, history: NDArray[np.int32], n: int) -> None:
    """Forbid each id that once followed the n - 1 ids which are now the last."""
    if n == 0 or len(history) < n:
        return
    tail = history[len(history) - (n - 1) :]
    for start in range(len(history) - n + 1):
        same = True
        for i in range(n - 1):
            if history[start + i] != tail[i]:
                same = False
                break
        if same:
            row[history[start + n - 1]] = -np.inf


@numba.njit(nogil=True)
def _choose(row: Row, bits: Bits, line: Any, excluded: NDArray[np.int32], u: float) -> int:
    """The next id, or NOTHING_LEFT when all are excluded or the row holds what is no number.

    Args:
        row: float32 or float64 [V], not changed.
        bits: the same, seen as whole numbers of its size.
        line, excluded, u: as of `_draw`.
    """
    if line.temperature == 0.0:
        return greatest(row, bits, excluded)
    if 0 < line.top_k < len(row):
        ids = k_greatest(row, bits, line.top_k, excluded)
        if len(ids) == 0:
            return NOTHING_LEFT
        top = np.float64(row[ids[0]])
        for i in range(1, len(ids)):
            top = max(top, np.float64(row[ids[i]]))
        weights = np.empty(len(ids))
        for i in range(len(ids)):
            weights[i] = math.exp((np.float64(row[ids[i]]) - top) / line.temperature)
    else:
        best = greatest(row, bits, excluded)
        if best < 0:
            return NOTHING_LEFT
        weights = weigh(row, np.float64(row[best]), line.temperature)
        for i in range(len(excluded)):
            weights[excluded[i]] = 0.0
        if line.top_p == 1.0 and line.min_p == 0.0 and line.typical_p == 1.0:
            return pick(weights, u)
        ids = np.flatnonzero(weights)
        weights = weights[ids]
    # Of K candidates: ids ascending, the greatest weight is 1.
    if line.top_p < 1.0:
        keep = heaviest(weights, line.top_p)
        ids, weights = ids[keep], weights[keep]
    if line.min_p > 0.0:
        keep = weights >= line.min_p
        ids, weights = ids[keep], weights[keep]
    if line.typical_p < 1.0:
        alive = weights > 0.0  # a weight that underflowed has no surprise
        ids, weights = ids[alive], weights[alive]
        keep = typical(weights, line.typical_p)
        ids, weights = ids[keep], weights[keep]
    return int(ids[pick(weights, u)])

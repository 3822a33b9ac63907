"""The rules that choose the next token, compiled, one pass per row.

Order: penalties and logit bias, exclusions, temperature, top_k, top_p (on the scaled logits, keeps the
token that crosses p), min_p, typical_p, draw. Temperature 0 is greedy. Equal logits rank by id.
Each rule sees the distribution that the one before it left, with sum 1 again. reference.py says the same
slowly; a test holds the two together.

Importing compiles nothing; the first call compiles (seconds) or loads from NUMBA_CACHE_DIR (0.3 s).
Legend: V vocabulary, N ids so far, K candidates left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from services.common.errors import Corrupt, InvalidRequest
from services.sampling.parameters import SamplingParameters

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


def sample(
    logits: NDArray[np.float32],
    parameters: SamplingParameters,
    history: NDArray[np.int32] | Sequence[int],
    u: float,
    *,
    num_prompt: int = 0,
    excluded: Sequence[int] = (),
) -> int:
    """Choose the next token.

    Args:
        logits: float32 [V], not changed.
        parameters: validated.
        history: ids so far, prompt first: int32 [N].
        u: random number in [0, 1), see draw.uniform.
        num_prompt: how many of `history` are the prompt; presence and frequency penalty count only the rest.
        excluded: ids that must not be drawn now (end-of-text before min_new_tokens, for one).

    Raises:
        InvalidRequest: nothing is left to draw, because exclusions cover the vocabulary.
        Corrupt: a logit is not a number.
    """
    token_id = _sample(  # exact types: each new combination would be compiled anew
        np.ascontiguousarray(logits, dtype=np.float32),
        np.asarray(history, dtype=np.int32),
        num_prompt,
        np.array([token_id for token_id, _ in parameters.logit_bias], dtype=np.int32),
        np.array([bias for _, bias in parameters.logit_bias], dtype=np.float64),
        np.asarray(excluded, dtype=np.int32),
        float(parameters.repetition_penalty),
        float(parameters.presence_penalty),
        float(parameters.frequency_penalty),
        parameters.no_repeat_ngram,
        float(parameters.temperature),
        parameters.top_k,
        float(parameters.top_p),
        float(parameters.min_p),
        float(parameters.typical_p),
        float(u),
    )
    if token_id < 0:
        if np.isnan(logits).any():
            raise Corrupt("the model's logits are not numbers: its weights are damaged; publish it anew")
        raise InvalidRequest(
            f"no token is left to draw after {len(history)} ids: the exclusions cover the vocabulary of "
            f"{len(logits)}; raise sampling.no_repeat_ngram or ask for fewer tokens",
            field="sampling.no_repeat_ngram",
        )
    return int(token_id)


def warm() -> None:
    """Compile, or load what was compiled, so that the first request does not wait."""
    sample(np.zeros(4, np.float32), SamplingParameters(top_p=0.9, typical_p=0.9), [], 0.5)


@numba.njit(cache=True, nogil=True)
def _sample(
    logits: NDArray[np.float32],
    history: NDArray[np.int32],
    num_prompt: int,
    bias_ids: NDArray[np.int32],
    biases: Floats,
    excluded: NDArray[np.int32],
    repetition_penalty: float,
    presence_penalty: float,
    frequency_penalty: float,
    no_repeat_ngram: int,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    typical_p: float,
    u: float,
) -> int:
    row = logits.astype(np.float64)
    _penalise(row, history, num_prompt, repetition_penalty, presence_penalty, frequency_penalty)
    for i in range(len(bias_ids)):
        row[bias_ids[i]] += biases[i]
    _exclude_repeats(row, history, no_repeat_ngram)
    for i in range(len(excluded)):
        row[excluded[i]] = -np.inf

    best = int(np.argmax(row))
    if not row[best] > -np.inf:  # all excluded, or NaN
        return -1
    if temperature == 0.0:
        return best
    top = row[best]

    ids = _top_k(row, top_k) if 0 < top_k < len(row) else np.flatnonzero(row > -np.inf)
    weights = np.exp((row[ids] - top) / temperature)  # [K], ids ascending, the greatest is 1
    if top_p < 1.0:
        ids, weights = _top_p(ids, weights, top_p)
    if min_p > 0.0:
        keep = weights >= min_p
        ids, weights = ids[keep], weights[keep]
    if typical_p < 1.0:
        ids, weights = _typical(ids, weights, typical_p)

    target = u * weights.sum()
    total = 0.0
    for i in range(len(ids)):
        total += weights[i]
        if total > target:
            return int(ids[i])
    return int(ids[-1])


@numba.njit(cache=True, nogil=True)
def _penalise(
    row: Floats,
    history: NDArray[np.int32],
    num_prompt: int,
    repetition: float,
    presence: float,
    frequency: float,
) -> None:
    if repetition != 1.0:
        seen = np.zeros(len(row), np.bool_)
        for token_id in history:
            if not seen[token_id]:
                seen[token_id] = True
                row[token_id] = row[token_id] / repetition if row[token_id] > 0 else row[token_id] * repetition
    if presence != 0.0 or frequency != 0.0:
        counts = np.zeros(len(row), np.int32)
        for token_id in history[num_prompt:]:
            if counts[token_id] == 0:
                row[token_id] -= presence
            counts[token_id] += 1
            row[token_id] -= frequency


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
def _top_k(row: Floats, k: int) -> Ids:
    """Ids of the k greatest, ascending, no -inf: one pass over V with a heap, the worst kept at its root."""
    heap = np.empty(k, np.int64)
    size = 0
    for token_id in range(len(row)):
        value = row[token_id]
        if size < k:
            if value == -np.inf:
                continue
            child = size
            size += 1
            while child > 0:
                parent = (child - 1) // 2
                # Ids come in ascending order, so the new one is the worse of two equals.
                if row[heap[parent]] < value:
                    break
                heap[child] = heap[parent]
                child = parent
            heap[child] = token_id
        elif value > row[heap[0]]:
            hole = 0
            while True:
                child = 2 * hole + 1
                if child >= k:
                    break
                if child + 1 < k and _worse(row, heap[child + 1], heap[child]):
                    child += 1
                if not _worse(row, heap[child], token_id):
                    break
                heap[hole] = heap[child]
                hole = child
            heap[hole] = token_id
    return np.sort(heap[:size])


@numba.njit(cache=True, nogil=True, inline="always")
def _worse(row: Floats, a: int, b: int) -> bool:
    return row[a] < row[b] or (row[a] == row[b] and a > b)


@numba.njit(cache=True, nogil=True)
def _top_p(ids: Ids, weights: Floats, top_p: float) -> tuple[Ids, Floats]:
    """The likeliest tokens up to and with the one that crosses p.

    Tokens below (1 - p) / K sum to less than 1 - p, so none of them is needed: only the rest is sorted.
    The factor 0.5 keeps rounding from mattering.
    """
    total = weights.sum()
    likely = np.flatnonzero(weights >= 0.5 * (1.0 - top_p) / len(ids) * total)
    order = likely[np.argsort(-weights[likely], kind="mergesort")]  # stable: equals in order of id
    return _until(ids, weights, order, top_p * total)


@numba.njit(cache=True, nogil=True)
def _typical(ids: Ids, weights: Floats, typical_p: float) -> tuple[Ids, Floats]:
    alive = weights > 0.0  # a weight that underflowed has no surprise
    ids, weights = ids[alive], weights[alive]
    total = weights.sum()
    surprise = np.log(total) - np.log(weights)
    entropy = (weights / total * surprise).sum()
    order = np.argsort(np.abs(surprise - entropy), kind="mergesort")
    return _until(ids, weights, order, typical_p * total)


@numba.njit(cache=True, nogil=True)
def _until(ids: Ids, weights: Floats, order: Ids, mass: float) -> tuple[Ids, Floats]:
    """The shortest beginning of `order` that reaches `mass`, put back in order of id."""
    reached = 0.0
    size = 0
    while size < len(order):
        reached += weights[order[size]]
        size += 1
        if reached >= mass:
            break
    kept = np.sort(order[:size])
    return ids[kept], weights[kept]

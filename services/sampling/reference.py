"""The sampling rules once more, slow and plain, in NumPy: what rules.py is tested against.

Every step is a whole-array expression in float64 over the vocabulary; nothing is shared with rules.py.
Legend: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.sampling.parameters import SamplingParameters


def adjusted_logits(
    logits: NDArray[np.float32],
    parameters: SamplingParameters,
    history: Sequence[int],
    num_prompt: int = 0,
    excluded: Sequence[int] = (),
) -> NDArray[np.float64]:
    """Logits after penalties, bias and exclusions, -inf where excluded: float64 [V]."""
    adjusted = logits.astype(np.float64)
    for token_id in set(history):
        value = adjusted[token_id]
        penalty = parameters.repetition_penalty
        adjusted[token_id] = value / penalty if value > 0 else value * penalty
    generated = list(history[num_prompt:])
    for token_id in set(generated):
        adjusted[token_id] -= parameters.presence_penalty
        adjusted[token_id] -= parameters.frequency_penalty * generated.count(token_id)
    for token_id, bias in parameters.logit_bias:
        adjusted[token_id] += bias
    for token_id in range(len(adjusted)):
        if _repeats(list(history), token_id, parameters.no_repeat_ngram) or token_id in excluded:
            adjusted[token_id] = -np.inf
    return adjusted


def distribution(
    logits: NDArray[np.float32],
    parameters: SamplingParameters,
    history: Sequence[int] = (),
    num_prompt: int = 0,
    excluded: Sequence[int] = (),
) -> NDArray[np.float64]:
    """The probabilities from which the next token is drawn: float64 [V], sum 1, in the order of the rules.

    Equal values are kept in order of id. Temperature 0 puts all mass on the first of the greatest.
    """
    adjusted = adjusted_logits(logits, parameters, history, num_prompt, excluded)
    if parameters.temperature == 0:
        greedy = np.zeros(len(adjusted))
        greedy[np.argmax(adjusted)] = 1
        return greedy
    p = _softmax(adjusted / parameters.temperature)
    if parameters.top_k:
        p = _keep(p, np.argsort(-p, kind="stable")[: parameters.top_k])
    if parameters.top_p < 1:
        p = _keep(p, _until(p, np.argsort(-p, kind="stable"), parameters.top_p))
    p = _keep(p, np.flatnonzero(p >= parameters.min_p * p.max()))
    if parameters.typical_p < 1:
        alive = np.flatnonzero(p)
        surprise = -np.log(p[alive])
        distance = np.abs(surprise - np.sum(p[alive] * surprise))
        p = _keep(p, _until(p, alive[np.argsort(distance, kind="stable")], parameters.typical_p))
    return p


def sample(
    logits: NDArray[np.float32],
    parameters: SamplingParameters,
    history: Sequence[int],
    u: float,
    *,
    num_prompt: int = 0,
    excluded: Sequence[int] = (),
) -> int:
    """As rules.sample: the first id at which the running sum of the probabilities exceeds u."""
    p = distribution(logits, parameters, history, num_prompt, excluded)
    alive = np.flatnonzero(p)
    index = int(np.searchsorted(np.cumsum(p[alive]), u, side="right"))
    return int(alive[min(index, len(alive) - 1)])


def _softmax(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(scaled - scaled.max())
    return np.asarray(weights / weights.sum())


def _keep(p: NDArray[np.float64], ids: NDArray[np.intp]) -> NDArray[np.float64]:
    """Zero but for `ids`, and sum 1 again."""
    kept = np.zeros_like(p)
    kept[ids] = p[ids]
    return np.asarray(kept / kept.sum())


def _until(p: NDArray[np.float64], order: NDArray[np.intp], mass: float) -> NDArray[np.intp]:
    """The shortest beginning of `order` whose probabilities reach `mass`: keeps the id that crosses it."""
    return order[: np.searchsorted(np.cumsum(p[order]), mass, side="left") + 1]


def _repeats(history: list[int], token_id: int, n: int) -> bool:
    """Whether `token_id` would complete n ids that came in a row before."""
    if n == 0 or len(history) < n:
        return False
    tail = [*history[len(history) - n + 1 :], token_id]
    return any(history[i : i + n] == tail for i in range(len(history) - n + 1))

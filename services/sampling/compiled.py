"""The compiled heart of the rules: from rows of logits to ids.

A row may be what the model gave (float32) or what penalties left (float64, -inf where excluded). Nothing is
sorted that need not be: the k greatest are looked for in the k stretches of the row with the greatest maxima,
and the shortest beginning of an order by adding up bins of equal leading bits.

One file, because Numba keeps what it compiled until the file of the function that was called changes: a change
in another file that it calls into would not be seen.

Legend: R rows of logits, V vocabulary, N ids so far, K candidates left or samples drawn for.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Row = NDArray[np.floating[Any]]
Bits = NDArray[np.signedinteger[Any]]

NOTHING_LEFT = -1

_STRETCH = 64  # logits whose maximum is taken, and weights whose sum is, many at once
_BIN_BITS = 50  # a bin is a quarter of an octave: sign, exponent and two leading bits agree
_NUM_BINS = 1 << (63 - _BIN_BITS)


@numba.njit(cache=True, nogil=True)
def draw_all(
    logits: NDArray[np.float32],
    rows: NDArray[np.int64],
    numbers: NDArray[np.int64],
    lines: NDArray[np.void],
    history: NDArray[np.int32],
    bias_ids: NDArray[np.int32],
    biases: NDArray[np.float64],
    excluded: NDArray[np.int32],
    found: NDArray[np.int64],
) -> None:
    """See batch.Batch.draw: the ids go to `found`, and each sample's line and history move on by one."""
    for i in range(len(rows)):
        number = numbers[i]
        line = lines[number]
        early = line.position < np.uint64(line.min_new_tokens)
        token_id = draw(
            logits[rows[i]],
            history[number, : line.num_history],
            line.num_prompt,
            bias_ids[number, : line.num_biases],
            biases[number, : line.num_biases],
            excluded[number, : line.num_excluded_early if early else line.num_excluded],
            line.repetition_penalty,
            line.presence_penalty,
            line.frequency_penalty,
            line.no_repeat_ngram,
            line.temperature,
            line.top_k,
            line.top_p,
            line.min_p,
            line.typical_p,
            philox(line.seed, line.sample, line.position),
        )
        found[i] = token_id
        line.position += np.uint64(1)
        if line.keeps_history and token_id >= 0:
            history[number, line.num_history] = token_id
            line.num_history += 1


@numba.njit(cache=True, nogil=True)
def draw(
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
    """As `sample`, from compiled code: the id, or NOTHING_LEFT."""
    if (
        repetition_penalty == 1.0
        and presence_penalty == 0.0
        and frequency_penalty == 0.0
        and no_repeat_ngram == 0
        and len(bias_ids) == 0
    ):
        return choose(logits, logits.view(np.int32), excluded, temperature, top_k, top_p, min_p, typical_p, u)
    row = logits.astype(np.float64)
    _penalise(row, history, num_prompt, repetition_penalty, presence_penalty, frequency_penalty)
    for i in range(len(bias_ids)):
        row[bias_ids[i]] += biases[i]
    _exclude_repeats(row, history, no_repeat_ngram)
    return choose(row, row.view(np.int64), excluded, temperature, top_k, top_p, min_p, typical_p, u)


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
def choose(
    row: Row,
    bits: Bits,
    excluded: NDArray[np.int32],
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    typical_p: float,
    u: float,
) -> int:
    """The next id, or NOTHING_LEFT when all are excluded or the row holds what is no number.

    Args:
        row: float32 or float64 [V], not changed.
        bits: the same, seen as whole numbers of its size.
        excluded: ids that must not be chosen; few.
        u: random number in [0, 1).
    """
    if temperature == 0.0:
        return _greatest(row, bits, excluded)
    if 0 < top_k < len(row):
        ids = _top_k(row, bits, top_k, excluded)
        if len(ids) == 0:
            return NOTHING_LEFT
        top = np.float64(row[ids[0]])
        for i in range(1, len(ids)):
            top = max(top, np.float64(row[ids[i]]))
        weights = np.empty(len(ids))
        for i in range(len(ids)):
            weights[i] = math.exp((np.float64(row[ids[i]]) - top) / temperature)
    else:
        best = _greatest(row, bits, excluded)
        if best < 0:
            return NOTHING_LEFT
        weights = _weights(row, np.float64(row[best]), temperature)
        for i in range(len(excluded)):
            weights[excluded[i]] = 0.0
        if top_p == 1.0 and min_p == 0.0 and typical_p == 1.0:
            return _pick(weights, u)
        ids = np.flatnonzero(weights)
        weights = weights[ids]
    # Of K candidates: ids ascending, the greatest weight is 1.
    if top_p < 1.0:
        keep = _beginning(_ONE_BITS - weights.view(np.int64), weights, top_p * weights.sum())
        ids, weights = ids[keep], weights[keep]
    if min_p > 0.0:
        keep = weights >= min_p
        ids, weights = ids[keep], weights[keep]
    if typical_p < 1.0:
        alive = weights > 0.0  # a weight that underflowed has no surprise
        ids, weights = ids[alive], weights[alive]
        keep = _typical(weights, typical_p)
        ids, weights = ids[keep], weights[keep]
    return int(ids[_pick(weights, u)])


@numba.njit(cache=True, nogil=True)
def _greatest(row: Row, bits: Bits, excluded: NDArray[np.int32]) -> int:
    """The first of the greatest; NOTHING_LEFT also when one is no number."""
    maxima = _maxima(row, bits, excluded)
    best = 0
    for stretch in range(len(maxima)):
        if maxima[stretch] != maxima[stretch]:
            return NOTHING_LEFT
        if maxima[stretch] > maxima[best]:
            best = stretch
    if maxima[best] == -np.inf:
        return NOTHING_LEFT
    i = best * _STRETCH
    while row[i] != maxima[best] or _is_in(excluded, i):
        i += 1
    return i


@numba.njit(cache=True, nogil=True)
def _top_k(row: Row, bits: Bits, k: int, excluded: NDArray[np.int32]) -> Ids:
    """Ids of the k greatest, ascending, no -inf; none at all when one is no number.

    They lie in the k stretches with the greatest maxima: each of these has one that is no less than any outside.
    """
    maxima = _maxima(row, bits, excluded)
    heap = np.empty(min(k, len(maxima)), np.int64)
    size = 0
    worst = row.dtype.type(-np.inf)  # what a value must exceed
    for stretch in range(len(maxima)):
        if maxima[stretch] != maxima[stretch]:
            return np.empty(0, np.int64)
        if maxima[stretch] > worst:
            size = _offer(heap, size, maxima, stretch)
            if size == len(heap):
                worst = maxima[heap[0]]
    stretches = np.sort(heap[:size])
    # k maxima reach it, so the k greatest do.
    floor = worst if size == k else row.dtype.type(-np.inf)
    heap = np.empty(k, np.int64)
    size = 0
    worst = row.dtype.type(-np.inf)
    for stretch in stretches:
        for i in range(stretch * _STRETCH, min((stretch + 1) * _STRETCH, len(row))):
            if row[i] >= floor and row[i] > worst and not _is_in(excluded, i):
                size = _offer(heap, size, row, i)
                if size == k:
                    worst = row[heap[0]]
    return np.sort(heap[:size])


@numba.njit(cache=True, nogil=True)
def _maxima(row: Row, bits: Bits, excluded: NDArray[np.int32]) -> Row:
    """The greatest of each stretch that is not excluded, -inf where none is; NaN where one is no number.

    The bits of floats compare as the floats do once those below the sign are turned around in negative ones, and
    whole numbers are compared many at once. Numbers lie between the two infinities.
    """
    sign = 8 * bits.itemsize - 1
    below_sign = (1 << sign) - 1
    infinite = np.array([-np.inf, np.inf], row.dtype).view(bits.dtype)
    lowest, highest = infinite[0] ^ below_sign, infinite[1]
    found = np.empty(-(-len(row) // _STRETCH), bits.dtype)
    for stretch in range(len(found)):
        part = bits[stretch * _STRETCH : (stretch + 1) * _STRETCH]
        least, greatest = highest, lowest
        for i in range(len(part)):
            key = part[i] ^ ((part[i] >> sign) & below_sign)
            least, greatest = min(least, key), max(greatest, key)
        if least < lowest:
            greatest = highest + 1  # the first NaN
        found[stretch] = greatest ^ ((greatest >> sign) & below_sign)
    maxima = found.view(row.dtype)
    for token_id in excluded:
        stretch = token_id // _STRETCH
        if row[token_id] == maxima[stretch]:
            top = row.dtype.type(-np.inf)
            for i in range(stretch * _STRETCH, min((stretch + 1) * _STRETCH, len(row))):
                if row[i] > top and not _is_in(excluded, i):
                    top = row[i]
            maxima[stretch] = top
    return maxima


@numba.njit(cache=True, nogil=True)
def _offer(heap: Ids, size: int, values: Row, i: int) -> int:
    """Put index i into a heap of the greatest values, for the worst at its root if it is full; the new size.

    Indices come in ascending order, so of two equals the new one is the worse.
    """
    value = values[i]
    if size < len(heap):
        child = size
        while child > 0:
            parent = (child - 1) // 2
            if values[heap[parent]] < value:
                break
            heap[child] = heap[parent]
            child = parent
        heap[child] = i
        return size + 1
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and _worse(values, heap[child + 1], heap[child]):
            child += 1
        if not _worse(values, heap[child], i):
            break
        heap[hole] = heap[child]
        hole = child
    heap[hole] = i
    return size


@numba.njit(cache=True, nogil=True, inline="always")
def _worse(row: Row, a: int, b: int) -> bool:
    return row[a] < row[b] or (row[a] == row[b] and a > b)


@numba.njit(cache=True, nogil=True, inline="always")
def _is_in(excluded: NDArray[np.int32], token_id: int) -> bool:
    for i in range(len(excluded)):  # noqa: SIM110 (compiled)
        if excluded[i] == token_id:
            return True
    return False


# exp(x) = 2**n * exp(r) with |r| <= ln(2) / 2; ln(2) in two parts, so that r loses nothing.
_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
_FACTORIALS = tuple(1.0 / math.factorial(n) for n in range(14))
_ONE_BITS = np.int64(0x3FF0000000000000)


@numba.njit(cache=True, nogil=True)
def _weights(row: Row, top: float, temperature: float) -> Floats:
    """exp((row - top) / temperature), [V]: as math.exp within 2 units in the last place, many at once.

    What is below 1e-300 is 0.
    """
    weights = np.empty(len(row))
    bits = weights.view(np.int64)
    for i in range(len(row)):
        x = max((np.float64(row[i]) - top) / temperature, -700.0)
        n = math.floor(x * _LOG2_E + 0.5)
        bits[i] = np.int64(n + 1023.0) << 52
    for i in range(len(row)):
        x = (np.float64(row[i]) - top) / temperature
        n = math.floor(x * _LOG2_E + 0.5)
        r = (x - n * _LN2_HIGH) - n * _LN2_LOW
        p = _FACTORIALS[13]
        p = p * r + _FACTORIALS[12]
        p = p * r + _FACTORIALS[11]
        p = p * r + _FACTORIALS[10]
        p = p * r + _FACTORIALS[9]
        p = p * r + _FACTORIALS[8]
        p = p * r + _FACTORIALS[7]
        p = p * r + _FACTORIALS[6]
        p = p * r + _FACTORIALS[5]
        p = p * r + _FACTORIALS[4]
        p = p * r + _FACTORIALS[3]
        p = p * r + _FACTORIALS[2]
        p = p * r + _FACTORIALS[1]
        p = p * r + _FACTORIALS[0]
        weights[i] = p * weights[i] if x > -690.0 else 0.0
    return weights


@numba.njit(cache=True, nogil=True)
def _pick(weights: Floats, u: float) -> int:
    """The first index at which the running sum exceeds u times the whole; the last with a weight at the end."""
    num_stretches = -(-len(weights) // _STRETCH)
    sums = np.empty(num_stretches)
    total = 0.0
    for stretch in range(num_stretches):
        sums[stretch] = _sum(weights[stretch * _STRETCH : (stretch + 1) * _STRETCH])
        total += sums[stretch]
    target = u * total
    running = 0.0
    last = 0
    for stretch in range(num_stretches):
        if running + sums[stretch] <= target and stretch < num_stretches - 1:
            running += sums[stretch]
            continue
        for i in range(stretch * _STRETCH, min((stretch + 1) * _STRETCH, len(weights))):
            running += weights[i]
            if running > target and weights[i] > 0.0:
                return i
    for i in range(len(weights)):  # rounding left the target out of reach
        if weights[i] > 0.0:
            last = i
    return last


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _sum(weights: Floats) -> float:
    total = 0.0
    for i in range(len(weights)):
        total += weights[i]
    return total


@numba.njit(cache=True, nogil=True)
def _typical(weights: Floats, typical_p: float) -> NDArray[np.bool_]:
    """Which to keep: those whose surprise is nearest the expected one, until they reach `typical_p`."""
    total = weights.sum()
    surprise = np.log(total) - np.log(weights)
    entropy = (weights / total * surprise).sum()
    distance = np.abs(surprise - entropy)
    return _beginning(distance.view(np.int64), weights, typical_p * total)


@numba.njit(cache=True, nogil=True)
def _beginning(order: Ids, weights: Floats, mass: float) -> NDArray[np.bool_]:
    """Which belong to the shortest beginning, in ascending order, whose weights reach `mass`.

    Args:
        order: what to order by: the bits of floats that are not negative, or their distance from a greater
            one's, which rank as the floats do; equals rank by index. Not negative, [K].
    """
    sums = np.zeros(_NUM_BINS)
    for i in range(len(order)):
        sums[order[i] >> _BIN_BITS] += weights[i]
    before = 0.0  # of the bins that are kept whole
    last_bin = 0
    while last_bin < _NUM_BINS - 1 and before + sums[last_bin] < mass:
        before += sums[last_bin]
        last_bin += 1
    keep = np.empty(len(order), np.bool_)
    inside = np.empty(len(order), np.int64)
    size = 0
    for i in range(len(order)):
        keep[i] = order[i] >> _BIN_BITS < last_bin
        if order[i] >> _BIN_BITS == last_bin:
            inside[size] = i
            size += 1
    ranked = inside[:size][np.argsort(order[inside[:size]], kind="mergesort")]  # stable: equals by index
    for i in ranked:
        keep[i] = True
        before += weights[i]
        if before >= mass:
            break
    return keep


# Philox 4x64 with 10 rounds (Salmon et al. 2011): multipliers of the counter, and what is added to the key.
_MULTIPLIERS = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_WEYL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@numba.njit(cache=True, nogil=True)
def philox(seed: np.uint64, sample: np.uint64, position: np.uint64) -> float:
    """As `uniform`, from compiled code; all three uint64, since Numba makes float64 of mixed ones."""
    a, b, c, d = position + np.uint64(1), sample, np.uint64(0), np.uint64(0)  # NumPy counts on before it draws
    key, other_key = seed, np.uint64(0)
    for _ in range(10):
        high_a, low_a = _multiply(_MULTIPLIERS[0], a)
        high_c, low_c = _multiply(_MULTIPLIERS[1], c)
        a, b, c, d = high_c ^ b ^ key, low_c, high_a ^ d ^ other_key, low_a
        key += _WEYL[0]
        other_key += _WEYL[1]
    return float(a >> np.uint64(11)) * 2.0**-53


@numba.njit(cache=True, nogil=True, inline="always")
def _multiply(x: np.uint64, y: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The upper and the lower 64 bits of a product."""
    x0, x1, y0, y1 = x & _LOW, x >> _HALF, y & _LOW, y >> _HALF
    middle = x1 * y0 + ((x0 * y0) >> _HALF)
    other = x0 * y1 + (middle & _LOW)
    return x1 * y1 + (middle >> _HALF) + (other >> _HALF), x * y

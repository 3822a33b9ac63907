"""MinHash: a short signature of a text, by which texts that are nearly the same are found without reading them.

A text is taken as the set of its sequences of five words; the similarity of two texts is the share of sequences that
they have in common, of all that either has (Jaccard). The chance that a hash function has its minimum over two such
sets at the same sequence is their similarity, so the share of equal minima estimates it (A. Broder, "On the
resemblance and containment of documents", 1997). One hash function serves for all minima: each is taken over the
sequences whose hash begins in its own way, and an empty one borrows from another (P. Li, A. Owen, C.-H. Zhang, "One
permutation hashing", 2012; A. Shrivastava, "Optimal densification for fast and accurate minwise hashing", 2017).

Texts that share a band of minima are candidates; with bands of four, one pair in 10^7 of similarity 0.8 is missed, and
one in eight of similarity 0.5. Knows texts and arrays, neither posts nor the catalogue.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

NUM_MINIMA = 128  # the estimate's standard deviation is at most 0.044
SIGNATURE_BYTES = 2 * NUM_MINIMA  # 16 bits of each minimum: two differ by chance in 1 of 65,536
BAND_BYTES = 8
NUM_BANDS = SIGNATURE_BYTES // BAND_BYTES
WORDS = 5  # of a sequence
MAX_CHARACTERS = 1 << 20  # of a text; what follows is not looked at

# A word is a run of letters and digits. Where words are not parted by spaces, each sign is one.
_SIGNS = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_PUNCTUATION = re.compile("[\xa0-\xbf\u2000-\u206f\u3000-\u303f\uff00-\uff0f\uff1a-\uff20]")
_IS_LETTER = np.array([byte >= 0x80 or chr(byte).isalnum() for byte in range(256)])

# Fixed for ever: stored signatures are compared with new ones.
_BYTE_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_BYTE_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_WORD_FACTORS = np.array([pow(0xD6E8FEB86659FD93, index, 1 << 64) for index in range(WORDS)], dtype=np.uint64)
# [attempt, minimum]: where a minimum that is over nothing looks for another one's, each column in an order of its own.
_LENDERS = np.stack([np.random.RandomState(index).permutation(NUM_MINIMA) for index in range(NUM_MINIMA)], axis=1)
_FIRSTS = np.arange(NUM_MINIMA, dtype=np.uint64) << np.uint64(57)  # the least hash of each minimum: 128 is 2^7


def signature(text: str) -> bytes:
    """SIGNATURE_BYTES that stand for a text's words; b"" if it has none. The same on every machine."""
    sequences = _sequences(text)
    if not len(sequences):
        return b""
    sequences.sort()
    at = np.searchsorted(sequences, _FIRSTS)
    minima = sequences[np.minimum(at, len(sequences) - 1)]
    is_own = (at < len(sequences)) & ((minima >> np.uint64(57)) == np.arange(NUM_MINIMA, dtype=np.uint64))
    if not is_own.all():
        lender = _LENDERS[is_own[_LENDERS].argmax(axis=0), np.arange(NUM_MINIMA)]
        minima = np.where(is_own, minima, minima[lender])
    return (minima & np.uint64(0xFFFF)).astype("<u2").tobytes()


def similarity_estimate(first: bytes, second: bytes) -> float:
    """Similarity of two texts by their signatures, neither of which is empty."""
    return float((np.frombuffer(first, "<u2") == np.frombuffer(second, "<u2")).mean())


def similarity(first: str, second: str) -> float:
    """Similarity of two texts, exactly."""
    left, right = (np.unique(_sequences(text)) for text in (first, second))
    num_common = len(np.intersect1d(left, right, assume_unique=True))
    return num_common / max(1, len(left) + len(right) - num_common)


def links(bands: npt.NDArray[np.uint64], previous: int = 2) -> npt.NDArray[np.int64]:
    """Pairs of texts that share a band, as `lower * len(bands) + higher`, ascending, each once.

    Of many texts that share one band, each is paired with the first and with the `previous` ones before it.

    Args:
        bands: [text, band], some of the bands of each text, in the order of the texts.
    """
    num_texts = len(bands)
    place = np.arange(num_texts)
    found = [np.empty(0, dtype=np.int64)]
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        is_first = np.ones(num_texts, dtype=bool)
        is_first[1:] = band[order[1:]] != band[order[:-1]]
        if is_first.all():
            continue
        first = np.maximum.accumulate(np.where(is_first, place, 0))
        for back in range(1, previous + 1):
            later = place[place - back >= first]
            found.append(order[later - back] * num_texts + order[later])
        later = place[place - previous > first]
        found.append(order[first[later]] * num_texts + order[later])
        if sum(map(len, found)) > 1_000_000:  # many alike: what the bands find is mostly the same
            found = [np.unique(np.concatenate(found))]
    return np.unique(np.concatenate(found))


def _sequences(text: str) -> npt.NDArray[np.uint64]:
    """A hash for each sequence of words; for all words together if there are fewer than five."""
    lower = text[:MAX_CHARACTERS].lower()
    if not lower.isascii():
        lower = _PUNCTUATION.sub(" ", lower)
        if _SIGNS.search(lower):
            lower = _SIGNS.sub(r" \g<0> ", lower)
    letters = np.frombuffer(f" {lower} ".encode(), dtype=np.uint8)
    is_letter = _IS_LETTER[letters]
    edges = np.flatnonzero(is_letter[1:] != is_letter[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return np.empty(0, dtype=np.uint64)
    # The hash of a word is the sum of its bytes times powers of a factor, taken as a difference of running sums.
    powers, back = _powers(len(letters))
    sums = np.cumsum(letters * powers, dtype=np.uint64)
    words = _mixed((sums[ends - 1] - sums[starts - 1]) * back[starts])
    num_sequences = max(1, len(words) - WORDS + 1)
    sequences = np.zeros(num_sequences, dtype=np.uint64)
    for index in range(min(WORDS, len(words))):
        sequences += words[index : index + num_sequences] * _WORD_FACTORS[index]
    return _mixed(sequences)


def _powers(number: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """So many powers of the factor and of its inverse, from the first."""
    if number > len(_POWERS):
        return _powers_of(_BYTE_FACTOR, number), _powers_of(_BYTE_INVERSE, number)
    return _POWERS[:number], _INVERSE_POWERS[:number]


def _powers_of(factor: np.uint64, number: int) -> npt.NDArray[np.uint64]:
    return np.cumprod(np.full(number, factor), dtype=np.uint64)


_POWERS, _INVERSE_POWERS = (_powers_of(factor, 1 << 15) for factor in (_BYTE_FACTOR, _BYTE_INVERSE))  # for most texts


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Every bit of the result depends on every bit of the value (the end of SplitMix64, S. Vigna)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))

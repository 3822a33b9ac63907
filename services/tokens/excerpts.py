"""What stands around a run in its document.

In: a place in a corpus. Out: a piece of the document's text, and where the run begins in it. Documents are as long as
they like, a book or all of a log: none is decoded from its beginning. Characters are counted by token instead, and up
to every so many tokens beforehand.

N tokens of the corpus, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.tokens.codec import Codec
from services.tokens.corpus_index import CorpusIndex, Place
from services.tokens.originality import token_edges, whole_characters
from services.tokens.vocabulary import Vocabulary

AROUND = 40  # tokens before and after
_STRIDE = 4096  # tokens between places up to which characters are counted beforehand
_PIECE = 256 * _STRIDE  # tokens looked at together


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A document's text around a run.

    Attributes:
        start, end: of the run in `text`, in characters; a character that lies in it in part counts to it.
        post_start: where the run begins in the document, in characters.
    """

    text: str
    start: int
    end: int
    post_start: int


class Excerpts:
    """Of one corpus. Immutable, safe to share between threads.

    Args:
        index: of the corpus; its ids are the vocabulary's.
        codec: of that vocabulary.
    """

    def __init__(self, index: CorpusIndex, codec: Codec) -> None:
        self._index, self._codec = index, codec
        self._begun, self._continues = _characters(codec.vocabulary)
        sums = []
        for start in range(0, len(index.tokens), _PIECE):
            begun = self._begun[index.tokens[start : start + _PIECE]]
            sums.append(np.add.reduceat(begun, np.arange(0, len(begun), _STRIDE), dtype=np.int64))
        self._sums = np.concatenate([[0], np.cumsum(np.concatenate(sums))])  # int64 [N / _STRIDE + 1]

    def of(self, place: Place, num_ids: int, around: int = AROUND) -> Excerpt:
        """What stands around a run of so many ids, in its document.

        Args:
            around: tokens before and after; a few more where a character would be cut.
        """
        index = self._index
        begin, last = index.begin(place.document), int(index.ends[place.document]) - 1  # without end-of-text
        start = begin + place.position
        first, end = max(begin, start - around), min(last, start + num_ids + around)
        while first > begin and self._continues[index.tokens[first]]:
            first -= 1
        while end < last and self._continues[index.tokens[end]]:
            end += 1
        ids = index.tokens[first:end]
        run_start, run_end = whole_characters(token_edges(ids, self._codec), start - first, start - first + num_ids)
        return Excerpt(
            text=self._codec.decode_bytes(ids).decode("utf-8", "ignore"),
            start=run_start,
            end=run_end,
            post_start=self._begun_before(first) - self._begun_before(begin) + run_start,
        )

    def _begun_before(self, position: int) -> int:
        """Characters begun in the corpus before a token."""
        stretch = position // _STRIDE
        rest = self._begun[self._index.tokens[stretch * _STRIDE : position]]
        return int(self._sums[stretch] + rest.sum(dtype=np.int64))


def _characters(vocabulary: Vocabulary) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Of each id how many characters begin in its bytes, and whether its first byte is inside one. [V] each."""
    tokens = [b""] * vocabulary.size
    for token, token_id in vocabulary.ranks.items():
        tokens[token_id] = token
    for text, token_id in vocabulary.specials.items():
        tokens[token_id] = text.encode()
    inner = (np.frombuffer(b"".join(tokens), np.uint8) & 0xC0) == 0x80
    borders = np.cumsum([0, *map(len, tokens)])
    begun = np.diff(np.concatenate([[0], np.cumsum(~inner)])[borders])
    continues = inner[np.minimum(borders[:-1], len(inner) - 1)]
    return begun.astype(np.uint16), continues

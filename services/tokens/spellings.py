"""The tokens of a vocabulary by the bytes that they stand for.

In: ids. Out: ids that are spelled alike at the begin.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache

from services.tokens.vocabulary import Vocabulary

_REMEMBERED = 4096


class Spellings:
    """Of one vocabulary. Safe to share between threads."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._id_of = vocabulary.ranks  # bytes -> id
        self._sorted = sorted(vocabulary.ranks)
        self._bytes_of = {token_id: token for token, token_id in vocabulary.ranks.items()}
        self._remembered = lru_cache(_REMEMBERED)(self._like)

    def beginning_as(self, ids: Iterable[int]) -> list[int]:
        """The ids with which a text may begin to be spelled as one of these: what it begins with, and what begins so.

        For " compiler" these are " ", " c", " comp" and so on, " compiler" itself, and " compilers".
        """
        return sorted({other for token_id in ids for other in self._remembered(token_id)})

    def _like(self, token_id: int) -> tuple[int, ...]:
        token = self._bytes_of.get(token_id, b"")
        if not token:
            return ()
        begins = [self._id_of[token[:end]] for end in range(1, len(token)) if token[:end] in self._id_of]
        place = bisect_left(self._sorted, token)
        while place < len(self._sorted) and self._sorted[place].startswith(token):
            begins.append(self._id_of[self._sorted[place]])
            place += 1
        return tuple(begins)

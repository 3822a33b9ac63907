"""The tokens of a vocabulary by the bytes that they stand for.

In: ids. Out: ids that are spelled alike at the begin.
V vocabulary.
"""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.tokens.vocabulary import Vocabulary


class Spellings:
    """Of one vocabulary. Safe to share between threads."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._id_of = vocabulary.ranks  # bytes -> id
        self._size = vocabulary.size

    def beginning_as(self, ids: NDArray[Any]) -> NDArray[np.int32]:
        """The ids with which a text may begin to be spelled as one of these: themselves and what they begin with.

        For " compiler" these are " ", " c", " comp" and so on, and " compiler". What goes on beyond it, such as
        " compilers", is another text.
        """
        first, others = self._begins
        counts = first[ids + 1] - first[ids]
        # Of each id its stretch of `others`, one after the other.
        places = np.repeat(first[ids] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        return np.unique(np.concatenate([ids, others[places]])).astype(np.int32)

    @cached_property
    def begins_with_line_end(self) -> NDArray[np.bool_]:
        """Of each id whether its bytes begin with a line end, [V]."""
        found = np.zeros(self._size, np.bool_)
        found[[token_id for token, token_id in self._id_of.items() if token.startswith(b"\n")]] = True
        return found

    @cached_property
    def is_word(self) -> NDArray[np.bool_]:
        """Of each id whether it is a space and letters, [V].

        Behind anything but white space GPT-2's pattern cuts such a text off whole, and it is encoded as this id.
        """
        found = np.zeros(self._size, np.bool_)
        for token, token_id in self._id_of.items():
            found[token_id] = token.startswith(b" ") and token[1:].decode(errors="replace").isalpha()
        return found

    @cached_property
    def _begins(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each id's stretch begins, [V + 1], and the ids of what each begins with."""
        begins: list[list[int]] = [[] for _ in range(self._size)]
        for token, token_id in self._id_of.items():
            begins[token_id] = [self._id_of[token[:e]] for e in range(1, len(token)) if token[:e] in self._id_of]
        first = np.array([0, *accumulate(map(len, begins))], np.int64)
        return first, np.array([other for others in begins for other in others], np.int64)

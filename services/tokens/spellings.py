"""The tokens of a vocabulary by the bytes that they stand for.

In: ids. Out: ids that are spelled alike at the begin.
V vocabulary.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.tokens.vocabulary import Vocabulary


class Spellings:
    """Of one vocabulary. Safe to share between threads.

    Making one takes tenths of a second, for which no text that is being written should wait.

    Attributes:
        begins_with_line_end: of each id whether its bytes begin with a line end, [V].
        is_word: of each id whether it is a space and letters, [V]. Behind anything but white space GPT-2's pattern cuts
            such a text off whole, and it is encoded as this id.
        ends_plain: of each id whether it is of whole characters, the last of them no white space, [V].
        num_bytes: of each id how many bytes of text it can become at most, [V]: each that is not of a whole character
            may be shown as U+FFFD, which has three.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        id_of = vocabulary.ranks  # bytes -> id
        self.begins_with_line_end: NDArray[np.bool_] = np.zeros(vocabulary.size, np.bool_)
        self.is_word: NDArray[np.bool_] = np.zeros(vocabulary.size, np.bool_)
        self.ends_plain: NDArray[np.bool_] = np.zeros(vocabulary.size, np.bool_)
        self.num_bytes: NDArray[np.int32] = np.zeros(vocabulary.size, np.int32)
        begins: list[list[int]] = [[] for _ in range(vocabulary.size)]  # of each id what it begins with
        for token, token_id in id_of.items():
            self.begins_with_line_end[token_id] = token.startswith(b"\n")
            text = token.decode(errors="replace")
            is_whole = text.encode() == token
            self.is_word[token_id] = is_whole and text[0] == " " and text[1:].isalpha()
            self.ends_plain[token_id] = is_whole and not text[-1].isspace()
            self.num_bytes[token_id] = len(token) if is_whole else 3 * len(token)
            begins[token_id] = [id_of[token[:e]] for e in range(1, len(token)) if token[:e] in id_of]
        # One after the other, and where each id's stretch begins, [V + 1].
        self._others = np.array([other for others in begins for other in others], np.int64)
        self._first = np.array([0, *accumulate(map(len, begins))], np.int64)

    def beginning_as(self, ids: NDArray[Any]) -> NDArray[np.int32]:
        """The ids with which a text may begin to be spelled as one of these: themselves and what they begin with.

        For " compiler" these are " ", " c", " comp" and so on, and " compiler". What goes on beyond it, such as
        " compilers", is another text.
        """
        first = self._first
        counts = first[ids + 1] - first[ids]
        # Of each id its stretch of `_others`, one after the other.
        places = np.repeat(first[ids] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        return np.unique(np.concatenate([ids, self._others[places]])).astype(np.int32)

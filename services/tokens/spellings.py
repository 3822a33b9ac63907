"""The tokens of a vocabulary by the bytes that they stand for.

In: ids. Out: ids that are spelled alike at the begin.
V vocabulary.
"""

from __future__ import annotations

import unicodedata
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.tokens.codec import Codec

# What a token is of whole characters that GPT-2's pattern does not part; any other has no kind.
LETTERS, DIGITS, MARKS, LINE_ENDS, CONTRACTION = range(1, 6)
KIND = 7  # of the bits that tell the kind
SPACED = 8  # a space before letters, digits or marks
APOSTROPHE = 16  # ends with one, which the pattern may take with letters that follow
WORD = SPACED | LETTERS  # behind all but white space it is cut off whole, so it is encoded as itself

_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_MOST_KNOWN = 1 << 16  # pieces of text whose ids are kept


class Spellings:
    """Of one vocabulary. Safe to share between threads.

    Making one takes tenths of a second, for which no text that is being written should wait.

    Attributes:
        begins_with_line_end: of each id whether its bytes begin with a line end, [V].
        traits: of each id its kind and what else is above, [V].
        num_bytes: of each id how many bytes of text it can become at most, [V]: each that is not of a whole character
            may be shown as U+FFFD, which has three.
    """

    def __init__(self, codec: Codec) -> None:
        vocabulary = codec.vocabulary
        id_of = vocabulary.ranks  # bytes -> id
        self._codec = codec
        self._canonical: dict[tuple[int, ...], list[int]] = {}
        self._line_ends: dict[int, list[int]] = {}
        self.begins_with_line_end: NDArray[np.bool_] = np.zeros(vocabulary.size, np.bool_)
        # Asked for id by id, which NumPy's arrays are slow at.
        traits, self.num_bytes = bytearray(vocabulary.size), [0] * vocabulary.size
        begins: list[list[int]] = [[] for _ in range(vocabulary.size)]  # of each id what it begins with
        for token, token_id in id_of.items():
            self.begins_with_line_end[token_id] = token.startswith(b"\n")
            text = token.decode(errors="replace")
            is_whole = text.encode() == token
            traits[token_id] = traits_of(text) if is_whole else 0
            self.num_bytes[token_id] = len(token) if is_whole else 3 * len(token)
            begins[token_id] = [id_of[token[:e]] for e in range(1, len(token)) if token[:e] in id_of]
        self.traits = bytes(traits)
        # One after the other, and where each id's stretch begins, [V + 1].
        self._others = np.array([other for others in begins for other in others], np.int64)
        self._first = np.array([0, *accumulate(map(len, begins))], np.int64)

    def canonical(self, piece: tuple[int, ...]) -> list[int]:
        """The ids of a text that GPT-2's pattern does not part, encoded canonically.

        Args:
            piece: ids that spell it; a model may part it otherwise. None: there is no text.
        """
        if len(piece) == 1 and self.traits[piece[0]]:
            return [*piece]
        ids = self._canonical.get(piece)
        if ids is None:
            if len(self._canonical) >= _MOST_KNOWN:
                self._canonical.clear()
            ids = self._canonical[piece] = self._codec.encode(self._codec.decode(piece))
        return ids

    def line_ends(self, count: int) -> list[int]:
        """The ids of so many line ends that something else follows than white space."""
        ids = self._line_ends.get(count)
        if ids is None:
            ids = self._line_ends[count] = self._codec.encode("\n" * count + ".")[:-1]
        return ids

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


def traits_of(text: str) -> int:
    """What a text of at least one character is, see above."""
    if text in _CONTRACTIONS:
        return CONTRACTION
    if not text.strip("\n"):
        return LINE_ENDS
    spaced = text[0] == " "
    kinds = {_kind(character) for character in text[spaced:]}
    if len(kinds) != 1 or 0 in kinds:
        return 0
    return kinds.pop() | SPACED * spaced | APOSTROPHE * text.endswith("'")


def _kind(character: str) -> int:
    category = unicodedata.category(character)[0]
    if character.isspace() or category == "Z":
        return 0
    return {"L": LETTERS, "N": DIGITS}.get(category, MARKS)

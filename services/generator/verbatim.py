"""Keeps a sample from reciting: its text, encoded canonically, holds no run of the corpus with more than K tokens.

In: ids as they are written. Out: ids that must not be written next. The promise is about text, not about the tokens it
was written with: a model that may not say " compiler" would otherwise say " comp" and "iler". So where a run has K
tokens, every token is excluded whose bytes begin as a forbidden one's do; and whatever else was drawn is written only
if the text with it, encoded anew, keeps the promise. The names of a header's fields do not count (originality.py).
"""

from __future__ import annotations

import codecs
import re

from services.tokens.codec import Codec
from services.tokens.corpus_index import NOWHERE, CorpusIndex
from services.tokens.header import is_in_header
from services.tokens.originality import counted_tokens, token_edges
from services.tokens.spellings import Spellings

MOST_FOLLOWERS = 256  # of a run: of more, the first; what they leave is seen when it is drawn
# Where GPT-2's pattern always cuts a text before it is encoded: before white space, and between a punctuation mark and
# a letter or digit. So what follows changes no ids before it.
BORDER = re.compile(r"(?<=\S)(?=\s)|(?<=[^\s\w'])(?=[^\W_])")


class VerbatimLimit:
    """Of one sample.

    Args:
        index: of the corpus.
        codec: of the model's vocabulary.
        spellings: of the same.
        most: tokens of the longest run that is allowed, at least 1.
        is_cut: the text may end within a token, as before a stop text.
    """

    def __init__(
        self, index: CorpusIndex, codec: Codec, spellings: Spellings, most: int, *, is_cut: bool = False
    ) -> None:
        self._index, self._codec, self._spellings, self._most, self._is_cut = index, codec, spellings, most, is_cut
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._in_header = True  # it may be; until it is not, all of the text is the tail
        # The text up to a border that stays one whatever follows: its ids, which of them count, the run that ends it.
        self._settled: list[int] = []
        self._counts: list[bool] = []
        self._settled_run = NOWHERE
        self._tail = ""  # the text after it
        self._measured: str | None = None  # the tail that these are of:
        self._run = NOWHERE  # that ends the text
        self._length = 0  # how many of its tokens count
        self._longest = 0  # of all runs that end in the tail

    def excluded(self) -> list[int]:
        """The ids that would make the run longer that ends the text, or begin to. Never end-of-text."""
        self._measure(self._tail)
        if self._length < self._most or self._in_header:
            return []
        following = self._index.followers(self._run, MOST_FOLLOWERS)
        return self._spellings.beginning_as(set(following) - {self._index.end_of_text_id})

    def allows(self, token_id: int) -> bool:
        """Whether the text keeps the promise with this id. With end-of-text it always does."""
        piece = self._piece(token_id)
        ends = range(1, len(piece) + 1) if self._is_cut else [len(piece)]
        for end in ends:
            self._measure(self._tail + piece[:end])
            if self._longest > self._most:
                return False
        return True

    def push(self, token_id: int) -> None:
        """The id was written."""
        self._tail += self._piece(token_id, keep=True)
        if self._in_header and is_in_header(self._tail):
            return
        borders = [match.start() for match in BORDER.finditer(self._tail)]
        if len(borders) > 1:
            self._settle(self._tail[: borders[-1]])

    def _piece(self, token_id: int, *, keep: bool = False) -> str:
        """The characters that an id completes."""
        if token_id == self._index.end_of_text_id:
            return ""
        state = self._utf8.getstate()
        piece = self._utf8.decode(self._codec.decode_bytes([token_id]))
        if not keep:
            self._utf8.setstate(state)
        return piece

    def _settle(self, text: str) -> None:
        """This begin of the tail, up to a border, is looked at no more."""
        ids = self._codec.encode(text)
        _, run = self._index.follow(self._settled_run, [*self._ids_of_run(), *ids])
        self._counts += self._counted(text, ids)
        self._settled += ids
        self._settled_run = run
        self._tail = self._tail[len(text) :]
        self._in_header, self._measured = False, None

    def _measure(self, tail: str) -> None:
        if tail == self._measured:
            return
        ids = self._codec.encode(tail)
        lengths, self._run = self._index.follow(self._settled_run, [*self._ids_of_run(), *ids])
        counts = [*self._counts, *self._counted(tail, ids)]
        ends = range(len(counts) - len(ids) + 1, len(counts) + 1)
        counted = [sum(counts[end - length : end]) for end, length in zip(ends, lengths, strict=True)]
        self._longest = max(counted, default=0)
        self._length = counted[-1] if counted else 0
        self._measured = tail

    def _ids_of_run(self) -> list[int]:
        return self._settled[len(self._settled) - self._settled_run.length :]

    def _counted(self, text: str, ids: list[int]) -> list[bool]:
        if not self._in_header:
            return [True] * len(ids)
        return counted_tokens(text, token_edges(ids, self._codec)).tolist()

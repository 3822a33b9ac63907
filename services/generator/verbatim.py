"""Keeps a sample from reciting: its text, encoded canonically, holds no run of the corpus with more than K tokens.

In: ids as they are written. Out: ids that must not be written next. The promise is about text, not about the tokens it
was written with: a model that may not say " compiler" would otherwise say " comp" and "iler". So where a run has K
tokens, what may follow it is excluded, and what begins to spell that; and whatever else was drawn is written only if
the text with it, encoded anew, keeps the promise. The names of a header's fields do not count (originality.py).
"""

from __future__ import annotations

import codecs
import re
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from services.tokens.codec import Codec
from services.tokens.corpus_index import NOWHERE, CorpusIndex, Found
from services.tokens.header import is_in_header, is_in_value
from services.tokens.originality import counted_tokens, token_edges
from services.tokens.spellings import Spellings

MOST_FOLLOWERS = 4096  # of a run: of more, the first; what they leave is seen when it is drawn
# Where GPT-2's pattern always cuts a text before it is encoded: before white space, and between a punctuation mark and
# a letter or digit. So what follows changes no ids before it.
BORDER = re.compile(r"(?<=\S)(?=\s)|(?<=[^\s\w'])(?=[^\W_])")
_NONE: NDArray[np.int32] = np.zeros(0, np.int32)


class VerbatimLimit:
    """Of one sample.

    Args:
        index: of the corpus.
        codec: of the model's vocabulary.
        spellings: of the same.
        most: tokens of the longest run that is allowed, at least 1.
        stops: texts before which the sample may be cut, also within a token.
        prompt: the text that the sample goes on from. It does not count, but may have begun a header.
        own: what was written behind that prompt already, and counts.
    """

    def __init__(
        self,
        index: CorpusIndex,
        codec: Codec,
        spellings: Spellings,
        most: int,
        *,
        stops: tuple[str, ...] = (),
        prompt: str = "",
        own: str = "",
    ) -> None:
        self._index, self._codec, self._spellings, self._most, self._stops = index, codec, spellings, most, stops
        self.end_of_text_id = index.end_of_text_id
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        # What stands before the tail in the header; empty once that is over.
        self._in_header = is_in_header(prompt)
        self._begun = prompt if self._in_header else ""
        # The text up to a border that stays one whatever follows: its ids, of how many first ids how many count, and
        # the run that ends it.
        self._settled: list[int] = []
        self._sums = [0]
        self._settled_run = NOWHERE
        self._tail = own  # the text after it
        self._measured: str | None = None  # the tail that these are of:
        self._ids: list[int] = []
        self._run = NOWHERE  # that ends the text
        self._length = 0  # how many of its tokens count
        self._longest = 0  # of all runs that end in the tail
        # Most texts are far from the limit for most of the time, so ids wait until they could have reached it.
        self._waiting: list[int] = []  # ids that the tail lacks
        self._ends_plain = not own[-1:].isspace()
        self._settle()
        # What no run that ends the text can exceed; the same at a border in it, and the bytes behind that.
        self._base, self._since = self._settled_run.length, len(self._tail.encode())
        self._bound = self._base + self._since

    def excluded(self) -> NDArray[np.int32]:
        """The ids that would make the run longer that ends the text, or begin to. Never end-of-text."""
        if self._bound < self._most:
            return _NONE
        self._catch_up()
        text = self._begun + self._tail
        in_header = self._in_header and is_in_header(text)
        if self._length < self._most or (in_header and not is_in_value(text)):
            return _NONE
        following = np.array([*self._index.followers(self._run, MOST_FOLLOWERS)], np.int32)
        if in_header:  # the end of the line does not count
            following = following[~self._spellings.begins_with_line_end[following]]
        return self._spellings.beginning_as(following[following != self.end_of_text_id])

    def allows(self, token_id: int) -> bool:
        """Whether the text keeps the promise with this id. End-of-text changes no text."""
        if token_id == self.end_of_text_id:
            return True
        if self._bound_with(token_id) <= self._most:
            return True
        self._catch_up()
        if self._begins_word(token_id) and not self._in_header:
            return self._run.length < self._most or self._with_word(token_id)[1] <= self._most
        if self._bound_with(token_id) <= self._most:
            return True
        piece, cut = self._piece(token_id)
        # The sample may end here, within a character too, or at a stop text that begins here.
        ends = [end for end in range(1, len(piece)) if self._may_be_cut(piece[end:])]
        return all(
            self._keeps(self._tail + text)
            for text in (piece, *([piece + cut] if cut else []), *(piece[:e] for e in ends))
        )

    def push(self, token_id: int) -> None:
        """The id was written."""
        if token_id == self.end_of_text_id:
            return
        begins_word = self._begins_word(token_id)
        size = int(self._spellings.num_bytes[token_id])
        if begins_word and not self._in_header and self._is_near():
            run, length = self._with_word(token_id)
            self._add_settled(self._ids, [True] * len(self._ids), self._run)
            self._tail = self._measured = self._codec.decode_bytes([token_id]).decode()
            self._ids, self._run, self._length, self._longest = [token_id], run, length, length
            self._base, self._since, self._bound = self._settled_run.length, size, run.length
        else:
            self._waiting.append(token_id)
            if begins_word:
                self._base, self._since, self._bound = self._bound, size, self._bound + 1
            else:
                self._since += size
                self._bound = self._base + self._since
        self._ends_plain = bool(self._spellings.ends_plain[token_id])

    def _bound_with(self, token_id: int) -> int:
        """What no run can exceed that ends in an id, or in a part of it."""
        if self._begins_word(token_id):
            return self._bound + 1
        return self._base + self._since + int(self._spellings.num_bytes[token_id])

    def _begins_word(self, token_id: int) -> bool:
        """Whether the canonical ids of the text with an id are those without it and the id, as with most ids."""
        return self._ends_plain and not self._stops and bool(self._spellings.is_word[token_id])

    def _is_near(self) -> bool:
        """Whether all is known of a text that may soon reach the limit."""
        return not self._waiting and self._measured == self._tail and 2 * self._run.length >= self._most

    def _catch_up(self) -> None:
        """Know all of the text."""
        if self._waiting:
            self._tail += self._utf8.decode(self._codec.decode_bytes(self._waiting))
            self._waiting.clear()
            self._settle()
        self._measure(self._tail)
        self._base = self._settled_run.length
        self._since = len(self._tail.encode()) + len(self._utf8.getstate()[0])
        self._bound = self._run.length

    def _with_word(self, token_id: int) -> tuple[Found, int]:
        """The run that ends with an id that begins a word, and how many of its tokens count."""
        ids = [*self._ids_of_run(), *self._ids]
        run = self._index.longest_after(self._run, ids[len(ids) - self._run.length :], token_id)
        num_settled = max(0, run.length - len(self._ids) - 1)
        return run, run.length - num_settled + self._sums[-1] - self._sums[len(self._sums) - 1 - num_settled]

    def _keeps(self, tail: str) -> bool:
        self._measure(tail)
        return self._longest <= self._most

    def _may_be_cut(self, rest: str) -> bool:
        return any(stop.startswith(rest) or rest.startswith(stop) for stop in self._stops)

    def _piece(self, token_id: int) -> tuple[str, str]:
        """The characters that an id completes, and what stands for one that it leaves incomplete if the text ends."""
        state = self._utf8.getstate()
        piece = self._utf8.decode(self._codec.decode_bytes([token_id]))
        cut = self._utf8.decode(b"", final=True)
        self._utf8.setstate(state)
        return piece, cut

    def _settle(self) -> None:
        """Look no more at the begin of the tail, up to the last border if there are several.

        Of a header neither a name that is begun nor a line end that may be its last: what follows says what counts.
        """
        borders = [match.start() for match in BORDER.finditer(self._tail)]
        if len(borders) < 2:
            return
        text = self._tail[: borders[-1]]
        begun = self._begun + text if self._in_header else ""
        still_in_header = self._in_header and is_in_header(begun)
        if still_in_header and not is_in_value(begun):
            return
        ids = self._codec.encode(text)
        _, run = self._index.follow(self._settled_run, [*self._ids_of_run(), *ids])
        self._add_settled(ids, self._counted(text, ids), run)
        self._tail = self._tail[len(text) :]
        self._in_header, self._begun, self._measured = still_in_header, begun if still_in_header else "", None

    def _add_settled(self, ids: list[int], counted: list[bool], run: Found) -> None:
        self._sums += list(accumulate(counted, initial=self._sums[-1]))[1:]
        self._settled += ids
        self._settled_run = run

    def _measure(self, tail: str) -> None:
        if tail == self._measured:
            return
        ids = self._codec.encode(tail)
        lengths, self._run = self._index.follow(self._settled_run, [*self._ids_of_run(), *ids])
        before = self._settled_run.length  # settled ids that a run may reach back to
        sums = self._sums[len(self._sums) - 1 - before :]
        sums = [*sums, *list(accumulate(self._counted(tail, ids), initial=sums[-1]))[1:]]
        ends = range(before + 1, len(sums))
        counted = [sums[end] - sums[end - length] for end, length in zip(ends, lengths, strict=True)]
        self._longest = max(counted, default=0)
        self._length = counted[-1] if counted else self._sums[-1] - sums[0]
        self._measured, self._ids = tail, ids

    def _ids_of_run(self) -> list[int]:
        return self._settled[len(self._settled) - self._settled_run.length :]

    def _counted(self, text: str, ids: list[int]) -> list[bool]:
        if not self._in_header:
            return [True] * len(ids)
        counted: list[bool] = counted_tokens(text, token_edges(ids, self._codec), self._begun).tolist()
        return counted

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

from services.generator.run_bound import RunBound
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
        self._counts: list[bool] = []  # of each of these ids whether it counts
        self._lengths: list[int] = []  # and of the longest run that ends with it
        self._run = NOWHERE  # that ends the text
        self._length = 0  # how many of its tokens count
        self._longest = 0  # of all runs that ended in the tail
        # Most texts are far from the limit for most of the time, so ids wait until they could have reached it.
        self._waiting: list[int] = []  # ids that the tail lacks
        self._bound = RunBound(index, spellings, own[-1:], may_be_cut=bool(stops))
        self._catch_up()

    def excluded(self) -> NDArray[np.int32]:
        """The ids that would make the run longer that ends the text, or begin to. Never end-of-text."""
        if self._bound.value < self._most:
            return _NONE
        self._bound.look(self._most)
        if self._bound.value < self._most:
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
        if self._bound.value_with(token_id) <= self._most:
            return True
        self._bound.look(self._most)
        if self._bound.value_with(token_id) <= self._most:
            return True
        self._catch_up()
        if self._bound.begins_word(token_id) and not self._in_header:
            return self._run.length < self._most or self._with_word(token_id)[1] <= self._most
        if self._bound.value_with(token_id) <= self._most:
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
        if self._is_near() and not self._in_header and self._bound.begins_word(token_id):
            run, length = self._with_word(token_id)
            self._add_settled(self._ids, [True] * len(self._ids), self._run)
            self._tail = self._measured = self._codec.decode_bytes([token_id]).decode()
            self._ids, self._counts, self._lengths = [token_id], [True], [run.length]
            self._run, self._length, self._longest = run, length, length
            num_bytes = self._spellings.num_bytes[token_id]
            self._bound.push(token_id)
            self._bound.know(run.length, self._settled_run.length, num_bytes, self._ids_of_run(), (token_id,))
        else:
            self._waiting.append(token_id)
            self._bound.push(token_id)

    def _is_near(self) -> bool:
        """Whether all is known of a text that may soon reach the limit."""
        return not self._waiting and self._measured == self._tail and 2 * self._run.length >= self._most

    def _catch_up(self) -> None:
        """Know all of the text."""
        is_new = self._measured is None or bool(self._waiting)
        if self._waiting:
            self._tail += self._utf8.decode(self._codec.decode_bytes(self._waiting))
            self._waiting.clear()
        self._measure(self._tail)
        if is_new:
            self._settle()
        num_bytes = len(self._tail.encode()) + len(self._utf8.getstate()[0])
        before = self._sums[-1] - self._sums[len(self._sums) - 1 - self._settled_run.length]
        # Of a header's line that is no field's yet, what follows says whether it counts.
        is_settled = not self._in_header or is_in_value(self._begun + self._tail)
        length = self._length if is_settled else self._run.length
        self._bound.know(length, before, num_bytes, [*self._ids_of_run(), *self._ids])

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
        """Look no more at the begin of the tail, which was measured, up to the last border if there are several.

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
        ends = list(accumulate(map(len, self._codec.decode_each(self._ids))))  # bytes; a border is one of them
        count = ends.index(len(text.encode())) + 1
        ids = [*self._ids_of_run(), *self._ids]
        end = len(ids) - len(self._ids) + count
        length = self._lengths[count - 1]
        run = self._index.find(ids[end - length : end]) if length else NOWHERE
        self._add_settled(self._ids[:count], self._counts[:count], run)
        self._tail = self._measured = self._tail[len(text) :]
        self._ids, self._counts, self._lengths = self._ids[count:], self._counts[count:], self._lengths[count:]
        self._in_header, self._begun = still_in_header, begun if still_in_header else ""

    def _add_settled(self, ids: list[int], counted: list[bool], run: Found) -> None:
        self._sums += list(accumulate(counted, initial=self._sums[-1]))[1:]
        self._settled += ids
        self._settled_run = run

    def _measure(self, tail: str) -> None:
        if tail == self._measured:
            return
        ids = self._codec.encode(tail)
        lengths, self._run = self._index.follow(self._settled_run, [*self._ids_of_run(), *ids])
        self._counts = self._counted(tail, ids)
        before = self._settled_run.length  # settled ids that a run may reach back to
        sums = self._sums[len(self._sums) - 1 - before :]
        sums = [*sums, *list(accumulate(self._counts, initial=sums[-1]))[1:]]
        ends = range(before + 1, len(sums))
        counted = [sums[end] - sums[end - length] for end, length in zip(ends, lengths, strict=True)]
        self._longest = max(counted, default=0)
        self._length = counted[-1] if counted else self._sums[-1] - sums[0]
        self._measured, self._ids, self._lengths = tail, ids, lengths

    def _ids_of_run(self) -> list[int]:
        return self._settled[len(self._settled) - self._settled_run.length :]

    def _counted(self, text: str, ids: list[int]) -> list[bool]:
        if not self._in_header:
            return [True] * len(ids)
        counted: list[bool] = counted_tokens(text, token_edges(ids, self._codec), self._begun).tolist()
        return counted

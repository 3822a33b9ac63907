"""What no run of the corpus that ends a text can exceed, told from the text's ids alone.

In: ids as they are written. Out: a number of tokens. To look at a text costs many times as much, and most texts are far
from their limit most of the time. Numbers and ids are of the text encoded canonically; of a run only the tokens that
count (originality.py) need to stay below a number.
"""

from __future__ import annotations

from typing import NamedTuple

from services.tokens.corpus_index import CorpusIndex
from services.tokens.spellings import (
    APOSTROPHE,
    CONTRACTION,
    DIGITS,
    KIND,
    LETTERS,
    LINE_ENDS,
    MARKS,
    SPACED,
    WORD,
    Spellings,
    traits_of,
)


class _State(NamedTuple):
    """What is known of the text.

    Attributes:
        value: what no run that ends it exceeds.
        before: what none exceeds that ends at some border of it: what follows changes no ids before that.
        num_bytes: of text behind the border, at most; a token has one at least.
        piece: the ids behind the border, if it is known how they are encoded; else none.
        traits: of what ends the text, see Spellings.
    """

    value: int
    before: int
    num_bytes: int
    piece: tuple[int, ...]
    traits: int


class RunBound:
    """Of one text.

    Args:
        index: of the corpus.
        spellings: of the vocabulary.
        last: the text's last character; none: it is empty.
        may_be_cut: whether the text may end within a token.
    """

    def __init__(self, index: CorpusIndex, spellings: Spellings, last: str, *, may_be_cut: bool) -> None:
        self._index, self._spellings, self._may_be_cut = index, spellings, may_be_cut
        # What follows a contraction never goes on with it, nor does anything at the begin.
        self._state = _State(0, 0, 0, (), traits_of(last) if last else CONTRACTION)
        self._tried = (-1, self._state)  # an id, and what would be known with it
        self._recent: list[int] = []  # what ends the text up to the piece, encoded

    @property
    def value(self) -> int:
        """What no run that ends the text exceeds."""
        return self._state.value

    def know(self, run: int, before: int, num_bytes: int, ids: list[int], piece: tuple[int, ...] = ()) -> None:
        """All is known of the text.

        Args:
            run: tokens that count of the one that ends it.
            before: of the one that ends at some border.
            num_bytes: of text behind that border.
            ids: that end the text before the piece, encoded. What follows changes but those of its last word.
            piece: the ids behind the border, if they spell one.
        """
        self._recent = ids
        self._set(_State(run, before, num_bytes, piece, self._state.traits))

    def look(self, most: int) -> None:
        """Lower the value by looking up the last ids of the text, as far as they are known.

        Args:
            most: tokens; less than twice as many ids are looked up.
        """
        piece = self._state.piece
        if not piece:
            return
        ids = self._recent[-most - 1 :]
        before = self._index.longest_end(ids).length if ids else 0
        if before == len(ids):
            return  # it may begin further back
        run = self._index.longest_end([*ids, *self._spellings.canonical(piece)]).length
        state = self._state
        self._set(state._replace(value=min(run, state.value), before=min(before, state.before)))

    def begins_word(self, token_id: int) -> bool:
        """Whether the text's ids with one more are those without it and the id, as with most ids."""
        traits = self._spellings.traits[token_id]
        return traits == WORD and not self._may_be_cut and self._state.traits & KIND not in (0, LINE_ENDS)

    def value_with(self, token_id: int) -> int:
        """The value with one more id, or a part of it."""
        return self._with(token_id).value

    def push(self, token_id: int) -> None:
        """The id was written."""
        before, after = self._state, self._with(token_id)
        if not after.piece:
            self._recent = []
        elif len(after.piece) == 1:
            self._recent += self._finished(before)
        self._set(after)

    def _set(self, state: _State) -> None:
        self._state = state
        self._tried = (-1, state)

    def _with(self, token_id: int) -> _State:
        tried, state = self._tried
        if tried != token_id:
            state = self._next(token_id)
            self._tried = (token_id, state)
        return state

    def _next(self, token_id: int) -> _State:
        value, before, num_bytes, piece, ends = state = self._state
        traits, size = self._spellings.traits[token_id], self._spellings.num_bytes[token_id]
        if self._is_border(traits):
            if piece and ends == LINE_ENDS:
                value = before + len(self._finished(state))
            return _State(value + 1, value, size, (token_id,), traits)  # it is encoded as itself
        num_bytes += size
        if piece and traits == ends & KIND:
            piece = (*piece, token_id)
            return _State(before + len(self._spellings.canonical(piece)), before, num_bytes, piece, traits)
        if traits == CONTRACTION:  # where the pattern parts it, as behind a comma, it is no contraction
            traits = LETTERS
        return _State(before + num_bytes, before, num_bytes, (), traits)

    def _is_border(self, traits: int) -> bool:
        """Whether GPT-2's pattern parts the text before an id, whatever follows."""
        ends = self._state.traits
        first, last = traits & KIND, ends & KIND
        if not first or not last or self._may_be_cut:
            return False
        if last == LINE_ENDS:
            return first not in (LINE_ENDS, CONTRACTION) and not traits & SPACED and bool(self._state.piece)
        if traits & SPACED or first == LINE_ENDS or last == CONTRACTION:
            return True
        if last == MARKS:
            return first in (LETTERS, DIGITS) and not ends & APOSTROPHE
        return first != last

    def _finished(self, state: _State) -> list[int]:
        """The ids of a state's piece once something follows that does not go on with it."""
        if state.piece and state.traits == LINE_ENDS:
            return self._spellings.line_ends(state.num_bytes)
        return self._spellings.canonical(state.piece)

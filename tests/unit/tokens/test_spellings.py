"""What a text may begin to be spelled with, by the bytes of the tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.tokens.codec import Codec
from services.tokens.spellings import Spellings
from services.tokens.vocabulary import Vocabulary
from tests.unit.generator.fakes import vocabulary_files


def codec(*merges: str) -> Codec:
    """Bytes, and these pairs of them merged."""
    files = vocabulary_files()
    encoder = files["encoder.json"].decode().rstrip("}")
    more = "".join(f', "{merge.replace(" ", "")}": {257 + n}' for n, merge in enumerate(merges))
    merged = "#version: 0.2\n" + "".join(f"{merge}\n" for merge in merges)
    return Codec(Vocabulary.parse(f"{encoder}{more}}}".encode(), merged.encode(), where=Path()))


def test_a_token_begins_as_itself_and_all_that_it_begins_with():
    spellings = Spellings(codec("o w", "ow l", "w l"))
    ids = np.array([258, ord("x")], np.int32)
    assert spellings.beginning_as(ids).tolist() == [ord("o"), ord("x"), 257, 258]
    assert spellings.beginning_as(ids[:0]).tolist() == []


def test_tokens_that_begin_with_a_line_end():
    assert np.flatnonzero(Spellings(codec("a b")).begins_with_line_end).tolist() == [ord("\n")]


def test_nothing_is_left_to_be_made_where_texts_wait():
    made_of = codec("o w")
    spellings = Spellings(made_of)
    made_of.vocabulary.ranks.clear()
    assert spellings.beginning_as(np.array([257], np.int32)).tolist() == [ord("o"), 257]
    assert spellings.begins_with_line_end.any()

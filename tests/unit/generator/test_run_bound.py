"""What the ids of a text tell of the runs that may end it is never too little, and mostly close."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.generator.run_bound import RunBound
from services.tokens.spellings import CONTRACTION, DIGITS, LETTERS, LINE_ENDS, MARKS, SPACED, WORD, traits_of
from tests.unit.generator.test_verbatim import POSTS, codec, index, spellings

PIECES = ["'s", "'t", "didn't", " the owl", "\n\n", ",'"]
TEXT = st.text(alphabet="ab  é1,.'\"\n日", max_size=12) | st.sampled_from(PIECES)


def parted_anyhow(text: str, chance: random.Random) -> list[int]:
    """Ids that spell a text, of any lengths."""
    data, ids = text.encode(), []
    while data:
        sizes = [size for size in range(1, 13) if data[:size] in codec().vocabulary.ranks]
        size = chance.choice(sizes)
        ids.append(codec().vocabulary.ranks[data[:size]])
        data = data[size:]
    return ids


def run_at_end(ids: list[int]) -> int:
    """Length of the longest run that ends the text that these spell, encoded anew."""
    return index().longest_end(codec().encode(codec().decode(ids))).length


def bound(*ids: int, last: str = "", may_be_cut: bool = False) -> RunBound:
    made = RunBound(index(), spellings(), last, may_be_cut=may_be_cut)
    for token_id in ids:
        made.push(token_id)
    return made


@settings(max_examples=300)
@given(st.lists(TEXT | st.sampled_from(POSTS), max_size=4), st.integers(0, 2**32), st.sampled_from([0.0, 0.3, 1.0]))
def test_no_run_exceeds_the_bound(texts, seed, looks):
    chance = random.Random(seed)
    known, ids = bound(), []
    for token_id in parted_anyhow("".join(texts)[:90], chance):
        promised = known.value_with(token_id)
        known.push(token_id)
        ids.append(token_id)
        assert known.value == promised
        if chance.random() < looks:
            known.look(chance.randrange(1, 6))
        assert run_at_end(ids) <= known.value <= promised


def test_looking_lowers_the_bound_to_the_run():
    ids = codec().encode("It rained for three weeks, the owl's author said.\n\nIt rained for")
    known = bound(*ids)
    assert known.value == len(ids)
    known.look(12)
    assert known.value == run_at_end(ids) == 6  # from the line ends on


def test_what_may_reach_back_further_than_is_known_stays_as_it_was():
    known = bound(*codec().encode(" \t It rained for"))  # what stands before is not followed
    value = known.value
    known.look(12)
    assert known.value == value > run_at_end(codec().encode(" It rained for"))


def test_where_a_stop_may_cut_each_byte_counts():
    ids = codec().encode(" the owl")
    assert bound(*ids).value == 2
    assert bound(*ids, may_be_cut=True).value == len(" the owl")


def test_all_that_is_known_is_taken_over():
    ids = codec().encode("zebra. It rained for")
    known = bound(*ids)
    known.know(2, 1, len(" for"), ids)
    (horse,) = codec().encode(" horse")
    assert (known.value, known.value_with(horse)) == (2, 3)
    known.push(horse)
    known.look(12)
    assert known.value == 0


def test_a_token_of_a_kind_is_encoded_as_itself():
    kept = [token_id for token_id, traits in enumerate(spellings().traits) if traits]
    assert len(kept) > 45_000
    assert [ids.tolist() for ids in codec().encode_all([codec().decode([token_id]) for token_id in kept])] == [
        [token_id] for token_id in kept
    ]


def test_kinds_of_tokens():
    kinds = {
        **{"abc": LETTERS, " é": WORD, "12": DIGITS, " ½": SPACED | DIGITS, ",": MARKS, " (": SPACED | MARKS},
        **{"\n\n": LINE_ENDS, "'s": CONTRACTION, " ": 0, "  ": 0, "\n ": 0, "a1": 0, "\x1c": 0, "\u2003": 0},
    }
    assert {text: traits_of(text) for text in kinds} == kinds

"""Whatever is drawn, the text that is written holds no longer run than allowed, encoded anew."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.generator.verbatim import BORDER, VerbatimLimit
from services.tokens.codec import Codec
from services.tokens.corpus_index import CorpusIndex
from services.tokens.originality import measure
from services.tokens.spellings import WORD, Spellings
from services.tokens.vocabulary import Vocabulary
from tests.gpt2_files import gpt2_folder
from tests.unit.tokens.brute_force import make_index, runs

POSTS = [
    "title: The compiler\ntags: code, compilers\ndate: 2020-01-02\n\nThe compiler compiles what compilers compiled.",
    "The compiler's author didn't compile it. “Naïve,” said the owl — and flew off…\n\nIt rained for three days.",
    "title: Rain\n\nIt rained for three days, and the owl flew off to the compiler's author.\n    indented code()\n",
]


@cache
def codec() -> Codec:
    return Codec(Vocabulary.load(gpt2_folder()))


@cache
def documents() -> list[list[int]]:
    return [codec().encode(post) for post in POSTS]


@cache
def index() -> CorpusIndex:
    return make_index(documents(), end=codec().vocabulary.end_of_text_id)


@cache
def spellings() -> Spellings:
    return Spellings(codec())


@cache
def spellings_without_words() -> Spellings:
    without = Spellings(codec())
    without.traits = bytes(len(without.traits))
    return without


def write(limit: VerbatimLimit, most: int, chance: random.Random, *, drift: float) -> list[int]:
    """Let a model write that wants to recite, in odd tokens at times, and wanders off now and then."""
    tokens: list[int] = []
    end = codec().vocabulary.end_of_text_id
    wanted = chance.choice(POSTS).encode()
    while len(tokens) < most:
        data = codec().decode_bytes(tokens)
        rest = wanted[len(data) :] if wanted.startswith(data) else b""
        if not rest or chance.random() < drift:  # go on somewhere else, perhaps within a word or a character
            post = chance.choice(POSTS).encode()
            rest = post[chance.randrange(len(post)) :]
            wanted = data + rest
        # Any token that the rest begins with: not only the one that the encoding would take.
        choices = [token for size in range(1, 12) if (token := codec().vocabulary.ranks.get(rest[:size])) is not None]
        chance.shuffle(choices)
        choices += chance.sample(range(end), 2000)
        shut = set(limit.excluded().tolist())
        assert end not in shut and limit.allows(end)
        found = next(token for token in choices if token not in shut and limit.allows(token))
        limit.push(found)
        tokens.append(found)
    return tokens


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 9), st.sampled_from([0.0, 0.1, 0.4]))
def test_no_text_holds_a_longer_run_than_allowed(seed, most, drift):
    limit = VerbatimLimit(index(), codec(), spellings(), most)
    tokens = write(limit, 60, random.Random(seed), drift=drift)
    # Wherever it ends, within a character too.
    assert all(measure(codec().decode(tokens[:end]), codec(), index()).longest_run <= most for end in range(61))
    text = codec().decode(tokens)
    if not text.startswith(("title: ", "tags: ", "date: ")):
        assert max((length for _, length in runs(documents(), codec().encode(text))), default=0) <= most


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(2, 6))
def test_a_text_keeps_the_promise_where_a_stop_cuts_it(seed, most):
    stops = ("e", "rained for", "\n\n", "wl f")
    limit = VerbatimLimit(index(), codec(), spellings(), most, stops=stops)
    text = codec().decode(write(limit, 25, random.Random(seed), drift=0.1))
    for end in range(len(text)):
        if text.startswith(stops, end):
            assert measure(text[:end], codec(), index()).longest_run <= most


def test_a_character_that_is_never_completed_counts_as_what_is_shown_of_it():
    posts = [codec().encode("The owl wrote of snow\ufffd and went.")]
    snow = make_index(posts, end=codec().vocabulary.end_of_text_id)
    begun = codec().vocabulary.ranks[b"\xe6"]
    limit = VerbatimLimit(snow, codec(), spellings(), 4)
    for token_id in codec().encode(" owl wrote of snow"):
        assert limit.allows(token_id)
        limit.push(token_id)
    assert not limit.allows(begun)  # if the text ended there, U+FFFD would be the fifth


def test_what_a_prompt_has_of_a_header_makes_names_of_names():
    for prompt, is_header in (("title: The com", True), ("The com", False)):
        limit = VerbatimLimit(index(), codec(), spellings(), 1, prompt=prompt)
        text = "piler\ntags: zebra\ndate: "
        allowed = []
        for token_id in codec().encode(text):
            allowed.append(limit.allows(token_id))
            limit.push(token_id)
        assert all(allowed) == is_header


def test_what_was_written_already_counts():
    own = "title: Q\n\nIt rained"
    limit = VerbatimLimit(index(), codec(), spellings(), 3, own=own)
    whole = VerbatimLimit(index(), codec(), spellings(), 3)
    for token_id in codec().encode(own):
        whole.push(token_id)
    for other in (limit, whole):
        assert not other.allows(codec().encode(" for")[0])  # "rained" has two tokens
    assert limit.allows(codec().encode(" zebra")[0])


def test_what_begins_as_the_next_token_of_a_run_is_excluded():
    limit = VerbatimLimit(index(), codec(), spellings(), 5)  # "rained" has two tokens
    for token_id in codec().encode("It rained for three"):
        assert limit.allows(token_id)
        limit.push(token_id)
    shut = {codec().decode_bytes([token_id]) for token_id in limit.excluded()}
    assert {b" ", b" d", b" da", b" day", b" days"} <= shut
    assert not shut & {b" weeks", b" night", b"day", b" daylight"}


def test_a_run_that_was_broken_may_begin_again():
    limit = VerbatimLimit(index(), codec(), spellings(), 6)
    for token_id in codec().encode("It rained for three weeks.\nIt rained for three"):
        assert token_id not in limit.excluded()
        assert limit.allows(token_id)
        limit.push(token_id)
    assert len(limit.excluded())  # with the line break there are six


@pytest.mark.parametrize("header", ["title: ", "title: Rain\ndate: ", "title: The compiler\ntags: "])
def test_the_names_of_header_fields_may_be_written(header):
    limit = VerbatimLimit(index(), codec(), spellings(), 3)
    for token_id in codec().encode(header):
        assert token_id not in limit.excluded()
        assert limit.allows(token_id)
        limit.push(token_id)


@given(st.text(alphabet="ab ,.'_-–\n\t1é日。", max_size=20), st.text(alphabet="ab ,.'_-–\n\t1é日。", max_size=20))
def test_what_follows_a_border_changes_no_ids_before_it(text, more):
    for match in BORDER.finditer(text):
        before, after = text[: match.start()], text[match.start() :]
        assert codec().encode(before) + codec().encode(after + more) == codec().encode(text + more)


def test_a_word_is_encoded_as_its_id_behind_all_but_white_space():
    words = [token_id for token_id, traits in enumerate(spellings().traits) if traits == WORD]
    assert len(words) > 10_000
    for before in ("a", "é", "1", ".", "(", "'", "_"):
        ids = codec().encode("\n".join(before + codec().decode([word]) for word in words))
        assert [token_id for token_id in ids if spellings().traits[token_id] == WORD] == words


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_what_is_known_of_words_changes_nothing(seed, most):
    chance = random.Random(seed)
    fast, slow = (VerbatimLimit(index(), codec(), known, most) for known in (spellings(), spellings_without_words()))
    wanted = chance.choice(POSTS)
    wanted = wanted[chance.randrange(len(wanted)) :] + chance.choice(POSTS)
    ids = codec().encode(wanted)
    for token_id in ids:
        assert fast.excluded().tolist() == slow.excluded().tolist()
        for tried in (token_id, chance.choice(ids), chance.randrange(codec().vocabulary.end_of_text_id)):
            assert fast.allows(tried) == slow.allows(tried)
        if fast.allows(token_id) and chance.random() < 0.9:
            fast.push(token_id), slow.push(token_id)


def test_what_a_header_holds_already_is_not_encoded_again():
    encoded = []

    class Watched:
        def __getattr__(self, name):
            return getattr(codec(), name)

        def encode(self, text):
            encoded.append(len(text))
            return codec().encode(text)

    title = "title: A zebra" + " and a yak, a gnu" * 100  # the line does not end
    limit = VerbatimLimit(index(), Watched(), spellings(), 3)
    for token_id in codec().encode(title):
        assert limit.allows(token_id)
        limit.push(token_id)
    assert sum(encoded) < 20 * len(title)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 9), st.sampled_from(POSTS), st.integers(0, 90))
def test_behind_any_part_of_a_header_no_text_holds_a_longer_run(seed, most, post, cut):
    prompt = post[:cut]
    limit = VerbatimLimit(index(), codec(), spellings(), most, prompt=prompt)
    tokens = write(limit, 40, random.Random(seed), drift=0.1)
    for end in range(41):
        assert measure(codec().decode(tokens[:end]), codec(), index(), before=prompt).longest_run <= most


def test_what_goes_on_a_run_is_excluded_as_soon_as_the_header_is_over():
    limit = VerbatimLimit(index(), codec(), spellings(), 2, prompt="title: Q")
    for token_id in codec().encode("\n\nIt r"):
        assert limit.allows(token_id)
        limit.push(token_id)
    assert codec().vocabulary.ranks[b"ained"] in limit.excluded()

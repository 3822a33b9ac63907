"""Signatures against the exact similarity, and the pairs that they propose."""

from __future__ import annotations

import random

import numpy as np
import pytest

from services.corpus.cleaning.minhash import (
    NUM_BANDS,
    SIGNATURE_BYTES,
    links,
    signature,
    similarity,
    similarity_estimate,
)

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "rd", "st", "lk")]


def text(chance: random.Random, length: int = 600) -> str:
    return " ".join(chance.choices(WORDS, k=length))


def changed(original: str, number: int, chance: random.Random) -> str:
    words = original.split()
    for _ in range(number):
        words[chance.randrange(len(words))] = chance.choice(WORDS)
    return " ".join(words)


def shingles(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + 5]) for start in range(max(1, len(words) - 4))}


@pytest.mark.parametrize("number", [0, 3, 10, 30, 60, 120])
def test_similarity_is_the_share_of_five_word_sequences_in_common(number: int):
    chance = random.Random(number)
    first = text(chance)
    second = changed(first, number, chance)
    left, right = shingles(first.split()), shingles(second.split())

    assert similarity(first, second) == pytest.approx(len(left & right) / len(left | right))
    assert abs(similarity_estimate(signature(first), signature(second)) - similarity(first, second)) < 0.16


def test_the_estimate_is_not_biased():
    chance = random.Random(7)
    errors = []
    for _ in range(200):
        first = text(chance, chance.choice((30, 100, 600)))
        second = changed(first, len(first) // 150, chance)
        errors.append(similarity_estimate(signature(first), signature(second)) - similarity(first, second))

    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.08


def test_case_punctuation_and_spacing_make_no_difference():
    first = "The heron stood there all day. Nobody asked it why; it said “nothing”."
    second = "the heron stood there — all day\n\nnobody asked it why it said nothing"

    assert signature(first) == signature(second)
    assert len(signature(first)) == SIGNATURE_BYTES
    assert similarity(first, second) == 1


def test_a_text_of_few_words_has_a_signature_and_one_of_none_has_not():
    assert signature("two words") == signature("Two words!")
    assert signature("two words") != signature("other words")
    assert signature("… — !") == b""


def test_each_sign_counts_as_a_word_where_words_are_not_parted():
    first = "これは日本語の文章です。天気がとても良いので散歩に行きました。"
    second = first.replace("散歩", "買物")

    assert 0.4 < similarity(first, second) < 0.9


def test_signatures_are_the_same_on_every_machine():
    assert (
        signature("The tide came in twice that day, and nobody wrote it down.").hex()[:32]
        == "6b3126cfee274e5667514e564e566751"
    )


def test_links_are_the_pairs_that_share_a_band():
    chance = np.random.RandomState(1)
    bands = chance.randint(0, 1 << 62, (50, NUM_BANDS)).astype(np.uint64)
    bands[40, 3] = bands[7, 3]
    bands[41, 0], bands[41, 9] = bands[2, 0], bands[2, 9]

    assert [divmod(pair, 50) for pair in links(bands).tolist()] == [(2, 41), (7, 40)]
    assert len(links(bands[:0])) == 0


def test_links_of_many_alike_stay_few():
    bands = np.ones((1000, 4), dtype=np.uint64)

    pairs = links(bands).tolist()

    assert len(pairs) < 3 * 1000
    assert {pair % 1000 for pair in pairs if pair // 1000 == 0} == set(range(1, 1000))

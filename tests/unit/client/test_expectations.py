"""What is promised for how much text: the thresholds, and that nothing is promised too early."""

import pytest

from services.client.expectations import BASES, FEW_PASSES, TOO_LITTLE, advice, estimate_tokens, expect


def of(base, num_tokens):
    return next(each for each in expect(num_tokens) if each.base == base)


@pytest.mark.parametrize("num_tokens", [0, 1, TOO_LITTLE - 1, TOO_LITTLE, 15_000, 250_000, 10**7, 10**10])
def test_every_base_has_one_expectation_for_any_amount_of_text(num_tokens):
    expected = expect(num_tokens)

    assert [each.base for each in expected] == list(BASES)
    assert all(each.sentence.endswith((".", "!")) and each.outlook in ("poor", "fair", "good") for each in expected)


def test_more_text_never_makes_an_outlook_worse():
    ranks = {"poor": 0, "fair": 1, "good": 2}
    amounts = [10**exponent * step for exponent in range(2, 9) for step in (1, 2, 5)]
    for base in BASES:
        outlooks = [ranks[of(base, amount).outlook] for amount in amounts]
        assert outlooks == sorted(outlooks)


def test_of_the_fine_tuned_a_larger_one_is_never_promised_more():
    ranks = {"poor": 0, "fair": 1, "good": 2}
    for amount in (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000):
        outlooks = [ranks[of(base, amount).outlook] for base in ("124M", "355M", "774M", "1558M")]
        assert outlooks == sorted(outlooks, reverse=True)


def test_the_62_kilobytes_that_124m_repeated_are_said_to_be_recited():
    expected = of("124M", 15_000)

    assert expected.outlook == "poor"
    assert "recite" in expected.sentence


def test_the_megabyte_that_its_makers_advise_is_enough_for_124m_and_too_little_for_1558m():
    assert of("124M", 250_000).outlook == "good"
    assert of("124M", 249_999).outlook == "fair"
    assert of("1558M", 250_000).outlook != "good"


@pytest.mark.parametrize("base", ["nano", "micro", "mini"])
def test_no_fresh_model_is_ever_called_good(base):
    assert of(base, 10**9).outlook != "good"


@pytest.mark.parametrize(("base", "little"), [("nano", 10_000), ("micro", 20_000), ("mini", 40_000)])
def test_a_fresh_model_that_will_not_write_sentences_is_said_not_to(base, little):
    assert "Will not write sentences" in of(base, little - 1).sentence
    assert "Will not write sentences" not in of(base, little).sentence


def test_nano_is_promised_no_sentences_for_the_blog_on_which_it_wrote_none():
    expected = of("nano", 570_000)

    assert expected.outlook == "poor"
    assert "0.5 tokens for each of its numbers" in expected.sentence


def test_the_steps_of_a_few_passes_are_told():
    steps = FEW_PASSES * 100 * 1024 // 1024

    assert f"{steps:,} steps" in of("124M", 100 * 1024).sentence


def test_hardly_any_text_is_said_to_be_too_little_for_all():
    assert {each.outlook for each in expect(TOO_LITTLE - 1)} == {"poor"}
    assert "Add posts" in advice(TOO_LITTLE - 1, 3)


@pytest.mark.parametrize(
    ("num_tokens", "num_documents", "words"),
    [
        (5_000, 3, "With 3 posts"),
        (5_000, 1, "With 1 post,"),
        (19_999, 50, "More text"),
        (20_000, 50, "Start from 124M if you can"),
        (250_000, 500, "124M or 355M"),
        (2_500_000, 5000, "text enough for any base"),
    ],
)
def test_advice_fits_the_amount(num_tokens, num_documents, words):
    assert words in advice(num_tokens, num_documents)


def test_tokens_are_estimated_from_words_or_from_bytes_where_words_are_rare():
    assert estimate_tokens(3_000, 15_000) == 3_990
    assert estimate_tokens(10, 30_000) == 7_500
    assert estimate_tokens(0, 0) == 0

"""The compiled rules against the slow reference, and each rule's own law. All seeds are fixed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from services.common.errors import Corrupt, InvalidRequest
from services.sampling import reference, rules
from services.sampling.draw import uniform
from services.sampling.parameters import SamplingParameters

# One entry for each rule alone, then some together. Odd numbers, so that no sum of equals meets one exactly.
RULES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"temperature": 0.4},
    {"temperature": 1.7},
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": 10_000},
    {"top_p": 0.3},
    {"top_p": 0.9},
    {"top_p": 1e-9},
    {"min_p": 0.2},
    {"min_p": 1.0},
    {"typical_p": 0.2},
    {"typical_p": 0.95},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.7},
    {"presence_penalty": 1.5},
    {"frequency_penalty": 0.5},
    {"frequency_penalty": -0.5, "presence_penalty": -1.0},
    {"no_repeat_ngram": 1},
    {"no_repeat_ngram": 2},
    {"no_repeat_ngram": 3},
    {"logit_bias": ((3, 4.0), (5, -100.0), (3, 1.0))},
    {"temperature": 0.0, "repetition_penalty": 1.9, "no_repeat_ngram": 2},
    {"temperature": 0.8, "top_k": 12, "top_p": 0.811, "min_p": 0.053, "typical_p": 0.917},
    {"temperature": 1.3, "top_p": 0.95, "typical_p": 0.5, "repetition_penalty": 1.2, "presence_penalty": 0.4},
    {
        "temperature": 0.7,
        "top_k": 8,
        "no_repeat_ngram": 2,
        "frequency_penalty": 1.0,
        "logit_bias": ((0, 2.0),),
    },
]


def _row(generator: np.random.Generator, size: int) -> np.ndarray:
    return (generator.normal(size=size) * 3).astype(np.float32)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_compiled_rules_equal_the_reference(rule: dict[str, Any]) -> None:
    parameters = SamplingParameters(**{"top_k": 0} | rule)
    generator = np.random.default_rng(0)

    for _ in range(100):
        size = int(generator.integers(8, 300))
        logits = _row(generator, size)
        history = [int(i) for i in generator.integers(0, 7, size=generator.integers(0, 12))]
        num_prompt = int(generator.integers(0, len(history) + 1))
        num_excluded = generator.choice([2, size // 2])  # few, and more than are looked through
        excluded = [int(i) for i in generator.integers(0, size, size=num_excluded)]
        u = float(generator.random())

        expected = reference.sample(logits, parameters, history, u, num_prompt=num_prompt, excluded=excluded)
        assert rules.sample(logits, parameters, history, u, num_prompt=num_prompt, excluded=excluded) == expected


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_equal_logits_are_ranked_by_id_in_both(rule: dict[str, Any]) -> None:
    parameters = SamplingParameters(**{"top_k": 0} | rule)
    generator = np.random.default_rng(1)

    for _ in range(50):
        logits = generator.integers(0, 3, size=20).astype(np.float32)  # many equals
        u = float(generator.random())

        assert rules.sample(logits, parameters, [1, 2, 1], u) == reference.sample(logits, parameters, [1, 2, 1], u)


@pytest.mark.parametrize("rule", [{"top_k": 40}, {"top_p": 0.9}, {"typical_p": 0.9}, {"min_p": 0.1}], ids=str)
def test_the_compiled_rules_equal_the_reference_on_a_whole_vocabulary(rule: dict[str, Any]) -> None:
    parameters = SamplingParameters(**{"top_k": 0} | rule)
    generator = np.random.default_rng(2)

    for _ in range(5):
        logits, u = _row(generator, 50257), float(generator.random())
        assert rules.sample(logits, parameters, [], u) == reference.sample(logits, parameters, [], u)


# Critical values of chi-square at p = 1e-4 by degrees of freedom, from its table.
CHI_SQUARE = [0, 15.14, 18.42, 21.11, 23.51, 25.74, 27.86, 29.88, 31.83, 33.72, 35.56, 37.37]


@pytest.mark.parametrize(
    "rule",
    [rule for rule in RULES if rule.get("temperature") != 0.0 and rule.get("no_repeat_ngram") != 1],
    ids=str,
)
def test_draws_follow_the_reference_distribution(rule: dict[str, Any]) -> None:
    parameters = SamplingParameters(**{"top_k": 0} | rule)
    logits = _row(np.random.default_rng(3), 12) / 2
    history = [0, 3, 1, 3, 0]
    draws = 20_000

    counts = np.zeros(12)
    for position in range(draws):
        counts[rules.sample(logits, parameters, history, uniform(7, 0, position), num_prompt=2)] += 1

    expected = reference.distribution(logits, parameters, history, num_prompt=2) * draws
    assert counts[expected == 0].sum() == 0
    likely = expected >= 5  # the usual condition for the test; the rest is one cell
    cells = np.append(counts[likely], counts[~likely].sum())
    wanted = np.append(expected[likely], expected[~likely].sum())
    if wanted[-1] == 0:
        cells, wanted = cells[:-1], wanted[:-1]
    if len(cells) > 1:
        assert ((cells - wanted) ** 2 / wanted).sum() < CHI_SQUARE[len(cells) - 1]


def test_top_k_of_one_equals_greedy() -> None:
    generator = np.random.default_rng(4)
    for _ in range(20):
        logits, u = _row(generator, 30), float(generator.random())
        greedy = rules.sample(logits, SamplingParameters(temperature=0.0), [], u)
        assert rules.sample(logits, SamplingParameters(top_k=1), [], u) == greedy == int(np.argmax(logits))


def test_top_p_keeps_the_token_that_crosses_p() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.2], np.float32))

    drawn = {rules.sample(logits, SamplingParameters(top_p=0.6), [], u / 100) for u in range(100)}

    assert drawn == {0, 1}


def test_a_bias_of_minus_100_forbids_and_of_100_forces() -> None:
    logits = _row(np.random.default_rng(5), 10)
    best = int(np.argmax(logits))

    assert rules.sample(logits, SamplingParameters(logit_bias=((best, -100.0),)), [], 0.5) != best
    assert rules.sample(logits, SamplingParameters(logit_bias=((4, 100.0),)), [], 0.5) == 4


def test_an_n_gram_never_comes_twice() -> None:
    history: list[int] = []
    parameters = SamplingParameters(no_repeat_ngram=2)

    for position in range(35):
        logits = np.zeros(8, np.float32)
        history.append(rules.sample(logits, parameters, history, uniform(1, 0, position)))

    pairs = list(itertools.pairwise(history))
    assert len(pairs) == len(set(pairs))


def test_presence_and_frequency_leave_the_prompt_alone() -> None:
    logits = np.array([1.0, 0.0], np.float32)
    parameters = SamplingParameters(temperature=0.0, presence_penalty=2.0)

    assert rules.sample(logits, parameters, [0, 0], 0.5, num_prompt=2) == 0
    assert rules.sample(logits, parameters, [0, 0], 0.5, num_prompt=1) == 1


def test_excluded_ids_are_not_drawn() -> None:
    logits = np.array([50.0, 0.0, 0.0], np.float32)
    assert {rules.sample(logits, SamplingParameters(), [], u / 10, excluded=[0]) for u in range(10)} == {1, 2}


def test_nothing_left_to_draw_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no token is left"):
        rules.sample(np.zeros(3, np.float32), SamplingParameters(no_repeat_ngram=1), [0, 1, 2], 0.5)


def test_logits_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(Corrupt):
        rules.sample(np.array([0.0, np.nan, 1.0], np.float32), SamplingParameters(), [], 0.5)


def test_the_logits_are_not_changed() -> None:
    logits = _row(np.random.default_rng(6), 10)
    before = logits.copy()

    rules.sample(logits, SamplingParameters(repetition_penalty=2.0, no_repeat_ngram=1), [1, 2], 0.5)

    np.testing.assert_array_equal(logits, before)


def test_the_last_random_number_below_one_still_draws() -> None:
    last = 1 - 2.0**-53
    assert rules.sample(np.zeros(5, np.float32), SamplingParameters(), [], last) == 4
    assert rules.sample(np.zeros(5, np.float32), SamplingParameters(), [], 0.0) == 0

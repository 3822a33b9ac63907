"""Drawing for many samples at once is drawing for each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.sampling.batch import Batch
from services.sampling.compiled import NOTHING_LEFT
from services.sampling.draw import uniform
from services.sampling.parameters import SamplingParameters
from services.sampling.rules import sample
from tests.unit.sampling.test_rules import RULES

SIZE = 60


def test_samples_that_draw_together_get_what_each_gets_alone() -> None:
    """Lines of all rules come and go, in rows of any order, over many steps."""
    generator = np.random.default_rng(0)
    batch = Batch(9)
    running: dict[int, tuple[SamplingParameters, int, list[int], int]] = {}  # by line
    for number in range(120):
        if len(running) == 9:
            line = int(generator.choice(sorted(running)))
            batch.remove(line)
            del running[line]
        parameters = SamplingParameters(**{"top_k": 0} | RULES[number % len(RULES)])
        prompt = [int(i) for i in generator.integers(0, 7, size=generator.integers(1, 9))]
        line = batch.add(
            parameters,
            seed=2**64 - 1 - number,
            sample=number,
            prompt=prompt,
            max_new_tokens=200,
            excluded=[3],
            excluded_early=[4, 5],
            min_new_tokens=2,
        )
        running[line] = (parameters, number, list(prompt), len(prompt))

        lines = [int(line) for line in generator.permutation(sorted(running))][: generator.integers(1, 10)]
        rows = [int(row) for row in generator.permutation(12)[: len(lines)]]
        logits = (generator.normal(size=(12, SIZE)) * 3).astype(np.float32)
        drawn = batch.draw(logits, rows, lines)

        for row, line, token_id in zip(rows, lines, drawn, strict=True):
            parameters, which, ids, num_prompt = running[line]
            position = len(ids) - num_prompt
            assert token_id == sample(
                logits[row],
                parameters,
                ids,
                uniform(2**64 - 1 - which, which, position),
                num_prompt=num_prompt,
                excluded=[3, 4, 5] if position < 2 else [3],
            )
            ids.append(token_id)


def test_one_sample_without_a_token_left_does_not_trouble_the_others() -> None:
    batch = Batch(2)
    lines = [
        batch.add(SamplingParameters(no_repeat_ngram=1), seed=0, sample=0, prompt=[0, 1, 2], max_new_tokens=1),
        batch.add(SamplingParameters(temperature=0.0), seed=0, sample=0, prompt=[0], max_new_tokens=1),
    ]
    logits = np.array([[1, 2, 3], [1, 2, 3]], np.float32)

    assert batch.draw(logits, [0, 1], lines) == [NOTHING_LEFT, 2]


def test_a_line_that_is_taken_again_remembers_nothing() -> None:
    batch = Batch(1)
    full = SamplingParameters(temperature=0.0, repetition_penalty=9.0, logit_bias=((0, 50.0),), no_repeat_ngram=1)
    line = batch.add(full, seed=0, sample=0, prompt=[2], max_new_tokens=1, excluded=[1])
    batch.draw(np.zeros((1, 4), np.float32), [0], [line])
    batch.remove(line)

    line = batch.add(SamplingParameters(temperature=0.0), seed=0, sample=0, prompt=[0], max_new_tokens=1)

    assert batch.draw(np.array([[1, 3, 2, 0]], np.float32), [0], [line]) == [1]


@pytest.mark.parametrize(
    "rules", [{}, {"temperature": 0.0}, {"repetition_penalty": 1.5, "no_repeat_ngram": 1}], ids=str
)
def test_an_id_that_was_taken_back_is_as_if_it_had_never_been_drawn(rules: dict[str, float]) -> None:
    parameters = SamplingParameters(**{"top_k": 0} | rules)
    logits = np.random.default_rng(2).normal(size=(1, SIZE)).astype(np.float32)

    def add(excluded: list[int]) -> tuple[Batch, int]:
        batch = Batch(1)
        early = {"excluded_early": [1], "min_new_tokens": 1}
        return batch, batch.add(
            parameters, seed=5, sample=0, prompt=[0], max_new_tokens=9, excluded=[2, *excluded], **early
        )

    batch, line = add([])
    shut: list[int] = []
    for _ in range(5):
        (drawn,) = batch.draw(logits, [0], [line])
        other, other_line = add(shut)
        assert [drawn] == other.draw(logits, [0], [other_line])
        shut.append(drawn)
        if len(shut) % 2:
            batch.exclude(line, shut)
        else:
            batch.exclude_one(line, drawn)
        batch.take_back(line)
    assert len(set(shut)) == 5 and not {1, 2} & set(shut)
    batch.exclude(line, ())
    assert batch.draw(logits, [0], [line]) == shut[:1]


@pytest.mark.parametrize(
    "rules",
    [{}, {"temperature": 0.0}, {"repetition_penalty": 1.5, "no_repeat_ngram": 2, "logit_bias": ((3, 2.0),)}],
    ids=str,
)
@pytest.mark.parametrize("num_right", [0, 1, 4, 5])
def test_a_draft_is_followed_for_as_long_as_each_id_would_be_drawn(rules: dict[str, Any], num_right: int) -> None:
    parameters = SamplingParameters(**{"top_k": 0} | rules)
    logits = np.random.default_rng(3).normal(size=(6, SIZE)).astype(np.float32)
    early = {"excluded": [2], "excluded_early": [1], "min_new_tokens": 3}

    def add() -> tuple[Batch, int]:
        batch = Batch(2)
        batch.add(parameters, seed=9, sample=1, prompt=[0], max_new_tokens=9)
        return batch, batch.add(parameters, seed=5, sample=0, prompt=[0], max_new_tokens=9, **early)

    one, one_line = add()
    drawn = [one.draw(logits, [row], [one_line])[0] for row in range(6)]
    draft = drawn[:5]
    if num_right < 5:
        draft[num_right] = (draft[num_right] + 1) % SIZE
    other, other_line = add()

    assert other.draw_on(logits, other_line, draft) == drawn[: num_right + 1]
    rest = [other.draw(logits, [row], [other_line])[0] for row in range(num_right + 1, 6)]
    assert rest == drawn[num_right + 1 :]

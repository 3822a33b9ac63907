"""The same request gives the same text, whatever else runs and however the work is cut."""

from __future__ import annotations

import random
from typing import Any

import pytest

from services.generator.events import End, Text
from services.generator.generation import Generation
from services.generator.loop import Loop
from services.generator.measurement import Measurement
from services.generator.request import SampleRequest
from services.sampling.parameters import SamplingParameters
from tests.unit.generator.fakes import END, DreamingEngine, codec, request, scheduler

CONTEXT = 24
CODEC = codec()
HEADS = [b"", b"Owls wrote ", b"Owls wrote of snow.", b"Once upon a time "]
RULES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"top_k": 0, "temperature": 1.5},
    {"top_k": 0, "top_p": 0.8},
    {"typical_p": 0.7},
    {"repetition_penalty": 1.3, "frequency_penalty": 0.2},
    {"no_repeat_ngram": 2, "logit_bias": ((7, 3.0),)},
    {"min_p": 0.05},
]


def _random_request(chance: random.Random) -> SampleRequest:
    prompt = (chance.choice(HEADS) + bytes(chance.choices(b"abc", k=chance.randint(1, 4))))[: CONTEXT - 1]
    n = chance.choice([1, 1, 2, 3])
    return request(
        prompt,
        sampling=SamplingParameters(**chance.choice(RULES)),
        max_new_tokens=chance.randint(1, 60),
        seed=chance.getrandbits(64),
        n=n,
        best_of=n,
        slide=chance.random() < 0.7,
        slide_keep=chance.randint(0, 3) if len(prompt) > 3 else 0,
        stop=("a",) if chance.random() < 0.2 else (),
        ignore_end_of_text=chance.random() < 0.8,
        min_new_tokens=1 if chance.random() < 0.3 else 0,
    )


def _answer(generation: Generation) -> list[Any]:
    ids: list[list[int]] = [[] for _ in generation.writers]
    ends: list[Any] = [None for _ in generation.writers]
    for event in generation.events():
        if isinstance(event, Text):
            ids[event.index] += event.ids
        else:
            assert isinstance(event, End)
            ends[event.index] = event.finish
    return list(zip(ids, ends, strict=True))


def _write(
    requests: list[SampleRequest], *, together: bool, num_slots: int, block_size: int, prefill: int
) -> list[Any]:
    engine = DreamingEngine(num_slots=num_slots, context=CONTEXT, block_size=block_size)
    plan = scheduler(engine, prefill_tokens=prefill, queue_limit=1000)
    loop = Loop("test", engine, plan)
    answers = []
    generations = []
    for wanted in requests:
        generations.append(Generation(wanted, CODEC, CONTEXT))
        loop.submit(generations[-1])
        if not together:
            answers.append(_answer(generations[-1]))
    if together:
        answers = [_answer(generation) for generation in generations]
    loop.stop()
    assert plan.pool.num_held == 0, "no block is lost"
    return answers


@pytest.mark.parametrize(
    ("num_slots", "block_size", "prefill"), [(1, 4, 64), (5, 4, 3), (5, 4, 64), (3, 0, 7), (8, 1, 5)]
)
def test_a_text_does_not_depend_on_its_company_its_blocks_or_its_pieces(
    num_slots: int, block_size: int, prefill: int
) -> None:
    chance = random.Random(3)
    requests = [_random_request(chance) for _ in range(60)]
    alone = _write(requests, together=False, num_slots=16, block_size=0, prefill=64)

    together = _write(requests, together=True, num_slots=num_slots, block_size=block_size, prefill=prefill)

    assert together == alone


def test_a_measured_text_does_not_depend_on_its_company() -> None:
    engine = DreamingEngine(num_slots=3, context=CONTEXT, block_size=4)
    loop = Loop("test", engine, scheduler(engine, prefill_tokens=5, queue_limit=1000))
    chance = random.Random(5)
    texts = [list(chance.choices(b"ab", k=chance.randint(1, CONTEXT))) for _ in range(20)]

    def measure(text: list[int]) -> Measurement:
        measurement = Measurement(text, END)
        loop.submit(measurement)
        return measurement

    alone = [measure(text).result().tolist() for text in texts]
    writing = [Generation(_random_request(chance), CODEC, CONTEXT) for _ in range(5)]
    for generation in writing:
        loop.submit(generation)
    together = [measurement.result().tolist() for measurement in [measure(text) for text in texts]]
    loop.stop()

    assert together == alone
    assert all(len(found) == len(text) for found, text in zip(alone, texts, strict=True))

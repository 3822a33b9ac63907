"""Limits of a request, and the field that a refusal names."""

from __future__ import annotations

from typing import Any

import pytest

from protos import generator_pb2 as pb
from services.common import rpc
from services.common.errors import InvalidRequest
from services.generator.request import MAX_ENTRIES, MAX_PLAIN_TOKENS, Limits
from tests.unit.generator.fakes import request

LIMITS = Limits(context=8, vocabulary_size=257, max_new_tokens=20, max_samples=4)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("prompt", {"prompt_ids": tuple(range(8))}),
        ("prompt_ids", {"prompt_ids": (257,)}),
        ("prompt_ids", {"prompt_ids": (-1,)}),
        ("max_new_tokens", {"max_new_tokens": 0}),
        ("max_new_tokens", {"max_new_tokens": 21}),
        ("min_new_tokens", {"min_new_tokens": -1}),
        ("min_new_tokens", {"min_new_tokens": 6}),
        ("stop", {"stop": ("",)}),
        ("stop", {"stop": ("x" * 257,)}),
        ("stop", {"stop": ("x",) * 17}),
        ("stop_ids", {"stop_ids": (257,)}),
        ("stop_ids", {"stop_ids": (1,) * 65}),
        ("seed", {"seed": -1}),
        ("n", {"n": 0}),
        ("n", {"n": 5, "best_of": 5}),
        ("best_of", {"n": 2, "best_of": 1}),
        ("best_of", {"best_of": 5}),
        ("slide_keep", {"slide_keep": 2}),
        ("slide_keep", {"slide_keep": -1}),
        ("logprobs", {"logprobs": 21}),
        ("logprobs", {"logprobs": -1}),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_field(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        request(**({"max_new_tokens": 5} | values)).validate(LIMITS)

    assert refusal.value.field == field


def test_the_borders_are_allowed() -> None:
    request(b"abcdefg", max_new_tokens=20, n=4, best_of=4, logprobs=20, slide=True, slide_keep=4).validate(LIMITS)
    request(max_new_tokens=1, min_new_tokens=1, logprobs=0, stop=("x" * 256,) * 16).validate(LIMITS)


WIDE = {"context": 1024, "vocabulary_size": 257, "max_new_tokens": 10**7, "max_samples": 16}


@pytest.mark.parametrize(
    ("values", "field", "remedy"),
    [
        ({"n": 16, "best_of": 16, "slide": True, "max_new_tokens": 4096, "logprobs": 20}, "logprobs", "GenerateStream"),
        ({"best_of": 16, "slide": True, "max_new_tokens": 4096, "logprobs": 20}, "logprobs", "ask for fewer$"),
        ({"slide": True, "max_new_tokens": MAX_PLAIN_TOKENS + 1}, "max_new_tokens", "GenerateStream"),
    ],
)
def test_an_answer_too_large_for_a_message_is_refused_unless_it_streams(
    values: dict[str, Any], field: str, remedy: str
) -> None:
    with pytest.raises(InvalidRequest, match=remedy) as refusal:
        request(**values).validate(Limits(**WIDE))
    assert refusal.value.field == field

    request(**values).validate(Limits(**WIDE, streams=True))


def test_only_tokens_that_can_be_written_count_for_the_size_of_an_answer() -> None:
    request(n=16, best_of=16, max_new_tokens=4096, logprobs=20).validate(Limits(**WIDE))
    request(max_new_tokens=MAX_PLAIN_TOKENS, slide=True).validate(Limits(**WIDE))


def test_the_largest_answer_fits_in_a_message() -> None:
    words = {"id": 50_256, "token": b"internationaliz", "logprob": -1.5}
    token = pb.TokenLogprob(**words, alternatives=[pb.AlternativeToken(**words)] * 20)
    sample = pb.GeneratedSample(ids=[50_256] * 1000, text="internationaliz" * 1000, logprobs=[token] * 1000)

    assert sample.ByteSize() * MAX_ENTRIES / (1000 * 21) < rpc.MAX_MESSAGE_BYTES

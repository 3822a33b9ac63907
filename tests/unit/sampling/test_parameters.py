"""Ranges of the parameters, and the field that a refusal names."""

from __future__ import annotations

from typing import Any

import pytest

from services.common.errors import InvalidRequest
from services.sampling.parameters import SamplingParameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 100.5),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 2.0),
        ("top_p", float("nan")),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("typical_p", 0.0),
        ("typical_p", 1.5),
        ("repetition_penalty", 0.0),
        ("presence_penalty", 2.5),
        ("frequency_penalty", -2.5),
        ("no_repeat_ngram", -1),
        ("logit_bias", ((7, 0.0),)),
        ("logit_bias", ((-1, 0.0),)),
        ("logit_bias", ((1, 101.0),)),
        ("logit_bias", ((1, float("nan")),)),
        ("logit_bias", ((1, 0.0),) * 2000),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_field(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        SamplingParameters(**{name: value}).validate(vocabulary_size=7)

    assert refusal.value.field == f"sampling.{name}"


def test_the_defaults_and_the_borders_are_allowed() -> None:
    SamplingParameters().validate()
    SamplingParameters(
        temperature=0.0,
        top_k=0,
        top_p=1.0,
        min_p=1.0,
        typical_p=1.0,
        presence_penalty=-2.0,
        frequency_penalty=2.0,
        logit_bias=((6, -100.0),),
    ).validate(vocabulary_size=7)

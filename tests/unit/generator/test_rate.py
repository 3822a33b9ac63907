"""Tokens per second."""

from __future__ import annotations

import pytest

from services.generator.rate import Rate


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    rate = Rate()
    for step in range(200):
        rate.add(step / 10, 1 if step < 100 else 4)

    assert rate.per_second(19.9) == pytest.approx(40)
    assert rate.per_second(24.9) == pytest.approx(20, rel=0.03)
    assert rate.per_second(60.0) == 0


def test_one_step_is_no_rate() -> None:
    rate = Rate()
    assert rate.per_second(1.0) == 0
    rate.add(1.0, 5)
    assert rate.per_second(1.0) == 0

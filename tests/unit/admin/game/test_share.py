"""Shares and their intervals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.admin.game.share import Share


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(10, 20, 0.2993, 0.7007), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_the_interval_is_wilsons(count, total, low, high):
    # 81 of 263: Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
    assert Share(count, total).interval == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 10_000), st.data())
def test_the_interval_holds_the_share_and_narrows_with_more_answers(total, data):
    count = data.draw(st.integers(0, total))
    low, high = Share(count, total).interval
    assert 0 <= low <= count / total + 1e-12 and count / total - 1e-12 <= high <= 1
    closer_low, closer_high = Share(count * 4, total * 4).interval
    assert closer_high - closer_low < high - low


def test_a_half_is_held_until_answers_speak_against_it():
    assert Share(3, 5).holds_half and Share(0, 3).holds_half
    assert not Share(80, 100).holds_half and not Share(20, 100).holds_half

"""Learning rates of the schedules beside cosine, line and constant, and what all have in common."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.run_settings import CHOICES, RunSettings
from services.trainer.training.schedule import learning_rate


def rates(**settings: Any) -> list[float]:
    given = RunSettings(
        dataset="d", **{"learning_rate": 1.0, "floor": 0.2, "steps": 100, "warmup_steps": 10} | settings
    )
    return [learning_rate(step, given) for step in range(1, given.steps + 1)]


def test_warmup_stable_decay_stays_and_falls_over_the_last_share_of_the_steps() -> None:
    found = rates(schedule="warmup_stable_decay", decay_share=0.25)
    assert found[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert set(found[9:75]) == {1.0}
    assert found[75:] == pytest.approx([1.0 - 0.8 * step / 25 for step in range(1, 26)])


def test_decay_of_all_steps_begins_after_the_warm_up_and_is_then_a_line() -> None:
    assert rates(schedule="warmup_stable_decay", decay_share=1.0) == pytest.approx(rates(schedule="linear"))


def test_inverse_sqrt_falls_with_the_root_of_the_step_from_the_warm_up_on_and_not_below_the_floor() -> None:
    found = rates(schedule="inverse_sqrt", steps=1000)
    assert found[9] == 1.0 and found[39] == pytest.approx(0.5) and found[89] == pytest.approx(1 / 3)
    assert found[248] > 0.2 and set(found[250:]) == {0.2}
    plain = rates(schedule="inverse_sqrt", warmup_steps=0, floor=0.0)
    assert plain[0] == 1.0 and plain[24] == pytest.approx(0.2) and plain[99] == pytest.approx(0.1)


@given(
    schedule=st.sampled_from(CHOICES["schedule"]),
    steps=st.integers(1, 60),
    warmup=st.integers(0, 59),
    floor=st.floats(0, 1),
    share=st.floats(0.01, 1),
)
def test_every_schedule_rises_to_the_rate_and_then_falls_within_rate_and_floor(
    schedule: str, steps: int, warmup: int, floor: float, share: float
) -> None:
    warmup = min(warmup, steps - 1)
    found = rates(schedule=schedule, steps=steps, warmup_steps=warmup, floor=floor, decay_share=share)
    rise, fall = found[:warmup], found[warmup:]
    assert rise == sorted(rise) and (not warmup or rise[-1] == 1.0)
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(fall))
    assert all(0 <= rate <= 1 for rate in found) and all(rate >= floor - 1e-12 for rate in fall)
    if schedule in ("cosine", "linear", "warmup_stable_decay") and len(fall) > 1 and round(steps * share):
        assert found[-1] == pytest.approx(floor, abs=1e-9)

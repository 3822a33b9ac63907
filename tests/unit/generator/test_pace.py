"""How many prompt ids a step may hold."""

from __future__ import annotations

import pytest

from services.generator.pace import LEAST, Pace


def test_while_nothing_is_written_a_step_is_as_long_as_the_setting_allows() -> None:
    pace = Pace(500, max_stall_s=0.1)
    pace.observe(100, 50.0)
    assert pace.prompt_ids(0) == 500


@pytest.mark.parametrize(("step_s", "per_id_s"), [(0.0, 0.001), (0.02, 0.001), (0.05, 0.0002), (0.08, 0.004)])
def test_steps_settle_where_they_take_what_is_allowed(step_s: float, per_id_s: float) -> None:
    pace = Pace(10_000, max_stall_s=0.2)

    for _ in range(60):
        count = pace.prompt_ids(1)
        pace.observe(count, step_s + count * per_id_s)

    assert step_s + count * per_id_s == pytest.approx(0.2, rel=0.05)


def test_prompts_go_on_however_slow_the_engine_is() -> None:
    pace = Pace(500, max_stall_s=0.1)
    pace.observe(100, 1000.0)
    assert pace.prompt_ids(1) == LEAST


def test_the_setting_bounds_a_fast_engine() -> None:
    pace = Pace(48, max_stall_s=1.0)
    pace.observe(48, 0.001)
    assert pace.prompt_ids(0) == 48


def test_running_streams_take_their_ids_from_the_step_and_leave_some_for_prompts() -> None:
    pace = Pace(48, max_stall_s=1.0)
    assert pace.prompt_ids(1) == 47
    pace.observe(48, 0.001)
    assert pace.prompt_ids(8) == 40
    assert pace.prompt_ids(47) == pace.prompt_ids(1000) == LEAST


def test_steps_with_few_prompt_ids_say_nothing() -> None:
    pace = Pace(500, max_stall_s=0.1)
    pace.observe(100, 0.1)
    pace.observe(2, 10.0)
    assert pace.prompt_ids(1) == 100

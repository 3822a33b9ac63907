"""What a clock says of a run: its sums are those of a slow and plain count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from services.gpt2.config import GPT2Config
from services.trainer.run_settings import RunSettings
from services.trainer.training import measuring
from services.trainer.training.due import is_due
from services.trainer.training.measuring import Pace, matrix_rate, memory_bytes, operations_per_token, times_left

WORK: tuple[measuring.Work, ...] = ("validation", "sample", "checkpoint")


def test_operations_of_124m_at_1024_tokens_are_those_of_the_definition() -> None:
    config = GPT2Config(n_vocab=50257, n_ctx=1024, n_embd=768, n_head=12, n_layer=12)
    assert operations_per_token(config, 1024) == 6 * 124_439_808 + 12 * 12 * 768 * 1024
    assert operations_per_token(config, 1024) * 1024 == pytest.approx(0.88e12, rel=0.01)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_matrix_rate_is_that_of_a_machine(dtype: tf.DType) -> None:
    rate = matrix_rate(dtype, budget_s=0.0)
    assert 1e8 < rate < 1e17


def test_memory_is_at_least_what_the_process_holds_now() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert pages * 4096 <= memory_bytes() < 1 << 45


@given(step=st.integers(1, 60), last=st.integers(1, 60), every=st.integers(0, 25), what=st.sampled_from(WORK))
def test_times_left_are_those_that_fall_due(step: int, last: int, every: int, what: measuring.Work) -> None:
    settings = RunSettings(dataset="d", validate_every=every, sample_every=every, save_every=max(1, every))
    counted = sum(is_due(what, later, settings, last=later == last) for later in range(step + 1, last + 1))
    assert times_left(what, step, last, settings) == counted


def test_mfu_is_the_operations_of_recent_steps_over_the_rate_without_the_step_that_compiles() -> None:
    pace = Pace(RunSettings(dataset="d", steps=100), operations=1e9 / 64, rate=1e10)

    def clocks(step: int) -> dict[str, float]:
        return pace.clocks(step, epoch=0.1, seconds=1.0)

    pace.step_took(30.0, 64)
    assert clocks(1)["mfu"] == pytest.approx(1e9 / 30 / 1e10, rel=1e-3)
    pace.step_took(0.5, 64)
    assert clocks(2)["mfu"] == 0.2 and clocks(2)["tokens_per_second"] == 128.0
    for _ in range(measuring.RECENT_STEPS):
        pace.step_took(0.25, 64)
    assert clocks(22)["mfu"] == 0.4


def test_time_to_go_counts_validations_samples_and_checkpoints_at_what_they_have_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(measuring.time, "monotonic", lambda: clock[0])
    settings = RunSettings(dataset="d", steps=100, validate_every=10, sample_every=50, save_every=1000)
    pace = Pace(settings, operations=1.0, rate=1.0)
    pace.step_took(9.0, 1)
    pace.step_took(2.0, 1)
    assert pace.remaining_seconds(10, epoch=0.1, seconds=0.0) == 90 * 2.0
    costs: list[tuple[measuring.Work, float]] = [("validation", 3.0), ("validation", 5.0), ("checkpoint", 7.0)]
    for what, seconds in costs:
        with pace.costing(what):
            clock[0] += seconds
    # Nine validations and the last step's checkpoint; samples have not been seen yet.
    assert pace.remaining_seconds(10, epoch=0.1, seconds=0.0) == 90 * 2.0 + 9 * 4.0 + 7.0
    assert pace.remaining_seconds(100, epoch=1.0, seconds=0.0) == 0.0


@pytest.mark.parametrize(
    ("end", "left"),
    [({}, 90.0), ({"tokens": 1024 * 30}, 20.0), ({"epochs": 0.5}, 40.0), ({"minutes": 1.0}, 35.0)],
)
def test_time_to_go_is_to_the_first_of_the_ends(end: dict[str, Any], left: float) -> None:
    pace = Pace(RunSettings(dataset="d", steps=100, **end), operations=1.0, rate=1.0, before=5.0)
    pace.step_took(1.0, 1)
    assert pace.remaining_seconds(10, epoch=0.1, seconds=20.0) == left

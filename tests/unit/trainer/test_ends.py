"""Why runs end, when losses jump, what is due: rules without weights."""

from __future__ import annotations

import itertools
import math

import pytest

from services.common.errors import FailedPrecondition, InvalidRequest
from services.trainer.adjusting import Adjustments, read_adjustments, with_less_memory, write_adjustments
from services.trainer.foreign import go_on
from services.trainer.run_settings import RunSettings
from services.trainer.training.divergence import LEAST, LENGTH, LossHistory
from services.trainer.training.due import is_due
from services.trainer.training.ends import counted_end, turned_end
from services.trainer.training.state import TrainingState

S = RunSettings(dataset="d", steps=100, batch_size=2, context=10)


@pytest.mark.parametrize(
    ("asked", "done", "why"),
    [
        ({}, {"step": 99}, ""),
        ({}, {"step": 100}, "its last step, 100"),
        ({"tokens": 200}, {"step": 9}, ""),
        ({"tokens": 200}, {"step": 10}, "200 tokens"),
        ({"epochs": 1.5}, {"epoch": 1.49}, ""),
        ({"epochs": 1.5}, {"epoch": 1.5}, "1.50 times"),
        ({"minutes": 2.0}, {"seconds": 119.0}, ""),
        ({"minutes": 2.0}, {"seconds": 120.0}, "2.0 minutes"),
    ],
)
def test_run_ends_at_the_first_of_the_ends_that_are_counted(asked, done, why) -> None:
    settings = RunSettings(**{"dataset": "d", "steps": 100, "batch_size": 2, "context": 10} | asked)
    found = counted_end(settings, **{"step": 1, "epoch": 0.1, "seconds": 1.0} | done)
    assert why in found and bool(found) == bool(why)


@pytest.mark.parametrize("asked", [{"tokens": 200}, {"epochs": 1.5}])
def test_what_another_program_has_done_is_no_epoch_or_token_of_ours(asked) -> None:
    settings = RunSettings(**{"dataset": "d", "steps": 1100, "batch_size": 2, "context": 10} | asked)
    done = {"step": 1009, "behind": 1000, "epoch": 1.4, "seconds": 1.0}
    assert counted_end(settings, **done) == ""
    assert counted_end(settings, **done | {"step": 1010, "epoch": 1.5})


@pytest.mark.parametrize(("resolved", "asked", "steps"), [(300, 0, 1300), (1500, 1500, 1500), (300, 1500, 1300)])
def test_steps_of_a_run_that_goes_on_count_those_of_the_other_program(resolved: int, asked: int, steps: int) -> None:
    settings = RunSettings(dataset="d", steps=resolved)
    assert go_on(settings, step=1000, asked_steps=asked).steps == steps
    with pytest.raises(FailedPrecondition, match="1000 steps behind it and steps is 1000"):
        go_on(settings, step=1000, asked_steps=1000)
    with pytest.raises(InvalidRequest, match="steps is"):
        go_on(settings, step=2**31 - 1, asked_steps=0)


def test_run_ends_when_so_many_validations_in_a_row_were_no_better() -> None:
    settings = RunSettings(dataset="d", patience=2)
    best = {"step": 40, "loss": 3.21, "bits_per_byte": 1.0}
    assert turned_end(settings, TrainingState(best=best, since_best=1)) == ""
    assert turned_end(S, TrainingState(best=best, since_best=99)) == ""
    assert "below 3.2100, that of step 40" in turned_end(settings, TrainingState(best=best, since_best=2))


def test_a_loss_is_a_jump_when_it_is_far_above_the_last_ones() -> None:
    history = LossHistory()
    for number in range(LEAST):
        assert history.limit(3.0) == math.inf  # nobody knows yet what is usual
        history = history.add(2.0 + number % 2)
    assert 2.5 + 3 * 0.5 < history.limit(3.0) < 2.5 + 3 * 0.6
    assert history.limit(0.0) == math.inf
    for _ in range(LENGTH):
        history = history.add(1.0)
    assert history.limit(3.0) == 1.0


def test_the_last_step_is_validated_and_saved_and_sampled_if_any_is() -> None:
    assert [is_due(what, 7, S, last=True) for what in ("validation", "sample", "checkpoint")] == [True] * 3
    silent = RunSettings(dataset="d", sample_every=0, validate_every=0)
    assert [is_due(what, 7, silent, last=True) for what in ("validation", "sample", "checkpoint")] == [
        True,
        False,
        True,
    ]
    assert not is_due("validation", 100, silent, last=False) and not is_due("sample", 100, silent, last=False)
    assert is_due("sample", 100, S, last=False) and not is_due("sample", 99, S, last=False)


@pytest.mark.parametrize("rows", [16, 15, 9, 7, 1])
def test_less_memory_keeps_the_rows_of_a_step_until_nothing_is_left_to_lower(rows: int) -> None:
    settings = RunSettings(dataset="d", batch_size=rows, accumulation=3)
    sizes, adjustments = [], Adjustments()
    while found := with_less_memory(settings, adjustments):
        adjustments = found[0]
        now = adjustments.apply(settings)
        assert now.rows_per_step == 3 * rows
        sizes.append((now.batch_size, now.gradient_checkpointing))
    assert sizes[-1] == (1, True)
    assert all(later[0] <= earlier[0] / 2 or later[1] for earlier, later in itertools.pairwise(sizes))


@pytest.mark.parametrize(("rows", "gpus", "fewer"), [(12, 2, [6, 2]), (6, 2, [2]), (8, 4, [4]), (4, 4, [])])
def test_fewer_rows_at_a_time_still_divide_among_the_gpus_that_were_asked_for(
    rows: int, gpus: int, fewer: list[int]
) -> None:
    settings = RunSettings(dataset="d", batch_size=rows, gpus=gpus)
    sizes, adjustments = [], Adjustments()
    while found := with_less_memory(settings, adjustments):
        adjustments = found[0]
        sizes.append(adjustments.apply(settings).batch_size)
    assert sizes == [*fewer, (fewer or [rows])[-1]]  # and last with gradient checkpointing


def test_rate_is_halved_for_the_steps_after_each_checkpoint_that_was_gone_back_to(tmp_path) -> None:
    assert read_adjustments(tmp_path) == Adjustments()
    write_adjustments(tmp_path, Adjustments(lowered_after=(4, 4, 10)))
    found = read_adjustments(tmp_path)
    assert [found.rate_factor(step) for step in (4, 5, 10, 11)] == [1.0, 0.25, 0.25, 0.125]

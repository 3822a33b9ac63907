from __future__ import annotations

from typing import Any

import pytest

from services.common.errors import FailedPrecondition, InvalidRequest
from services.trainer.run_settings import DEFAULTS, RunSettings, check_same, resolve
from services.trainer.training.average import LossAverage
from services.trainer.training.schedule import learning_rate


def resolved(choices: dict[str, Any] | None = None, *, tokens: int = 30_000) -> RunSettings:
    return resolve({"dataset": "d"} | (choices or {}), model_context=256, num_train_tokens=tokens)


def test_unset_settings_take_the_defaults_of_the_base() -> None:
    nano = resolved()
    assert (nano.base, nano.steps, nano.context, nano.sample_length) == (
        "nano",
        DEFAULTS["nano"]["steps"],
        256,
        256,
    )
    assert nano.warmup_steps == nano.steps // 20
    tuned = resolved({"base": "124M"})
    assert (tuned.steps, tuned.batch_size, tuned.save_every, tuned.sample_every) == (1000, 1, 1000, 100)
    assert tuned.learning_rate < nano.learning_rate


def test_steps_bend_to_the_corpus_unless_they_are_named() -> None:
    assert resolved(tokens=13_000).steps == 102  # 32 passes in steps of 16 x 256
    assert resolved(tokens=500).steps == 100
    assert resolved({"steps": 900}, tokens=500).steps == 900
    assert resolved(tokens=1_081_010).steps == 1056  # four passes in steps of 16 x 256
    assert resolved(tokens=10**9).steps == 3000
    assert resolved({"steps": 7}, tokens=10**9).steps == 7


def test_choice_is_kept_and_context_shrinks_to_the_corpus() -> None:
    assert resolved({"context": 64, "seed": 5}).context == 64
    assert resolved(tokens=100).context == 99
    with pytest.raises(FailedPrecondition, match="add posts"):
        resolved(tokens=8)


def test_unset_sample_is_as_long_as_the_context_that_the_corpus_fills() -> None:
    choices = {"dataset": "d"}
    assert resolve(choices, model_context=256, num_train_tokens=100).sample_length == 99
    assert resolve(choices | {"sample_length": 300}, model_context=256, num_train_tokens=100).sample_length == 300


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("accumulation", 0),
        ("context", 1),
        ("context", 257),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("warmup_steps", 200),
        ("floor", 1.1),
        ("weight_decay", -0.1),
        ("beta1", 1.0),
        ("clip_norm", float("inf")),
        ("dropout", -0.1),
        ("precision", "float8"),
        ("schedule", "step"),
        ("seed", -1),
        ("keep", 0),
        ("sample_num", 0),
        ("publish", "sometimes"),
    ],
)
def test_value_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolved({name: value})
    assert caught.value.field == f"settings.{name}"


def test_resuming_with_another_wish_is_refused_by_name_and_with_the_same_is_not() -> None:
    asked = {"context": 128, "steps": 50}
    recorded = resolved(asked, tokens=60)
    assert recorded.context == 59
    check_same(recorded, asked, {"context": 128, "steps": 50}, run="r")
    check_same(recorded, asked, {"context": 59}, run="r")
    with pytest.raises(FailedPrecondition, match=r"steps is 50, asked for 51.*") as caught:
        check_same(recorded, asked, {"steps": 51, "context": 128, "dropout": 0.5}, run="r")
    assert caught.value.metadata["settings"] == "steps, dropout"


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_learning_rate_rises_to_its_peak_and_falls_to_its_floor(schedule: str) -> None:
    settings = resolved({"steps": 100, "warmup_steps": 10, "schedule": schedule, "learning_rate": 1.0, "floor": 0.2})
    rates = [learning_rate(step, settings) for step in range(1, 101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == 1.0
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.2)
    assert rates[54] == pytest.approx(0.6)


def test_constant_learning_rate_stays() -> None:
    settings = resolved({"steps": 100, "warmup_steps": 0, "schedule": "constant", "learning_rate": 0.5})
    assert {learning_rate(step, settings) for step in range(1, 101)} == {0.5}


def test_average_is_that_of_the_2019_script() -> None:
    # train.py: avg_loss = (avg_loss[0] * 0.99 + v_loss, avg_loss[1] * 0.99 + 1.0), shown as the quotient
    expected, average = (0.0, 0.0), LossAverage()
    for loss in (5.0, 4.5, 4.25, 9.0):
        expected = (expected[0] * 0.99 + loss, expected[1] * 0.99 + 1.0)
        average = average.add(loss)
        assert average.value == expected[0] / expected[1]

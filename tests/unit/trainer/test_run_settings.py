from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest

from services.common.errors import FailedPrecondition, InvalidRequest
from services.gpt2.config import FRESH, SIZES
from services.trainer.presets import DEFAULTS
from services.trainer.run_settings import RunSettings, check_same, from_json, resolve
from services.trainer.training.average import LossAverage
from services.trainer.training.schedule import learning_rate


def resolved(choices: dict[str, Any] | None = None, *, tokens: int = 30_000) -> RunSettings:
    return resolve({"dataset": "d"} | (choices or {}), config=FRESH["nano"], num_train_tokens=tokens)


def tuned(choices: dict[str, Any] | None = None, *, tokens: int = 300_000, size: str = "124M") -> RunSettings:
    """Settings of a run from a base that knows something."""
    named = {"dataset": "d", "base": size} | (choices or {})
    return resolve(named, config=SIZES[size], num_train_tokens=tokens, fresh=False)


def test_unset_settings_take_the_defaults_of_the_base() -> None:
    nano = resolved()
    assert (nano.base, nano.steps, nano.context, nano.sample_length) == (
        "nano",
        DEFAULTS["nano"]["steps"],
        256,
        256,
    )
    assert nano.warmup_steps == nano.steps // 20
    assert (nano.validate_every, nano.sample_every, nano.save_every, nano.patience) == (10, 20, 20, 4)
    large = tuned()
    assert (large.batch_size, large.accumulation, large.steps) == (1, 8, 367)  # ten passes of 8 x 1024 tokens a step
    assert large.learning_rate == 5e-5


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
    assert resolved(tokens=100).sample_length == 99
    assert resolved({"sample_length": 300}, tokens=100).sample_length == 300


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
        ("max_verbatim_share", 1.01),
        ("max_verbatim_share", float("nan")),
    ],
)
def test_value_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolved({name: value})
    assert caught.value.field == f"settings.{name}"


def test_publishing_by_what_samples_recite_wants_samples_that_can_recite() -> None:
    both = {"publish": "on_best_original"}
    for wrong, field, words in (
        ({"sample_every": 0}, "publish", "sample_every"),
        ({"sample_length": 11}, "sample_length", "12 tokens"),
    ):
        with pytest.raises(InvalidRequest, match=words) as caught:
            resolved(both | wrong)
        assert caught.value.field == f"settings.{field}"
        assert resolved({"publish": "on_best"} | wrong)
    assert resolved(both).max_verbatim_share == 0.1


def test_what_is_published_by_loss_and_samples_has_both_of_the_same_steps() -> None:
    both = {"publish": "on_best_original"}
    settings = resolved(both)
    assert settings.sample_every == settings.validate_every < resolved().sample_every
    assert resolved(both | {"sample_every": 7}).sample_every == 7
    at_the_end = resolved(both | {"validate_every": 0})
    assert at_the_end.sample_every == at_the_end.steps
    assert settings.saves_best and resolved(both | {"save_best": False, "patience": 0}).saves_best


def test_a_run_ends_at_the_first_of_the_ends_that_are_counted() -> None:
    a_pass = {"batch_size": 1, "context": 100}  # of 10,000 tokens: 100 steps
    assert resolved(a_pass | {"epochs": 2.5}, tokens=10_000).steps == 250
    assert resolved(a_pass | {"tokens": 9_950}, tokens=10_000).steps == 100
    assert resolved(a_pass | {"epochs": 3, "tokens": 20_000, "steps": 900}, tokens=10_000).steps == 200
    assert resolved(a_pass | {"epochs": 3, "steps": 7}, tokens=10_000).steps == 7
    assert resolved(a_pass | {"epochs": 0.001}, tokens=10_000).steps == 1


def test_a_pass_takes_more_rows_where_each_document_begins_one() -> None:
    choices = {"dataset": "d", "batch_size": 1, "context": 100, "epochs": 2, "packing": "documents"}
    lengths = [250] * 40  # 3 rows each
    settings = resolve(choices, config=FRESH["nano"], num_train_tokens=10_000, document_lengths=lengths)
    assert settings.steps == 240
    packed = choices | {"packing": "stream"}
    settings = resolve(packed, config=FRESH["nano"], num_train_tokens=10_000, document_lengths=lengths)
    assert settings.steps == 200


def test_presets_grow_longer_and_more_patient() -> None:
    for settings_of in (resolved, tuned):
        gentle, standard, thorough = (settings_of({"preset": name}) for name in ("gentle", "standard", "thorough"))
        assert gentle.steps < standard.steps < thorough.steps
        assert 0 < gentle.patience < standard.patience < thorough.patience
        assert gentle.learning_rate <= standard.learning_rate
        assert thorough.dropout > standard.dropout
        assert settings_of() == standard


@pytest.mark.parametrize("size", ["124M", "355M", "774M", "1558M"])
@pytest.mark.parametrize("preset", ["gentle", "standard", "thorough"])
def test_a_base_that_knows_something_is_trained_at_a_rate_of_its_peers(size: str, preset: str) -> None:
    assert 5e-6 <= tuned({"preset": preset}, size=size).learning_rate <= 1e-4


def test_a_small_corpus_is_read_often_and_a_large_one_once() -> None:
    passes = [
        settings.steps * settings.rows_per_step * settings.context / tokens
        for tokens in (30_000, 300_000, 1_000_000, 30_000_000)
        for settings in [tuned(tokens=tokens)]
    ]
    assert all(left >= right - 0.1 for left, right in pairwise(passes))
    assert passes[0] == pytest.approx(10, rel=0.1)
    assert passes[-1] == pytest.approx(1, rel=0.1)


def test_a_run_validates_often_enough_for_patience_and_not_for_more_than_a_share_of_its_time() -> None:
    for settings in (resolved(), resolved({"steps": 5000}), resolved({"steps": 3}), tuned()):
        assert settings.steps / settings.validate_every > settings.patience or settings.steps < 10
    held_out = 3_000_000
    rarely = resolve({"dataset": "d"}, config=FRESH["nano"], num_train_tokens=10**7, num_validation_tokens=held_out)
    assert rarely.steps / rarely.validate_every == pytest.approx(5, rel=0.1)


def test_other_optimizers_and_thin_matrices_take_rates_of_their_kind() -> None:
    rate = tuned().learning_rate
    assert tuned({"optimizer": "lion"}).learning_rate < rate / 2
    assert tuned({"optimizer": "sgd"}).learning_rate > rate * 10
    thin = tuned({"lora_rank": 8})
    assert thin.learning_rate > rate
    assert (thin.weight_decay, thin.lora_alpha) == (0.0, 16.0)
    assert tuned({"lora_rank": 8, "lora_alpha": 4.0}).lora_alpha == 4.0


def test_more_layers_or_rank_than_the_base_has_are_refused() -> None:
    for name, value in (("frozen_layers", 5), ("lora_rank", 129)):
        with pytest.raises(InvalidRequest, match=r"nano.* has") as caught:
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


@pytest.mark.parametrize("end", [{"epochs": 1e9}, {"epochs": 1e308}, {"tokens": 2**60}])
def test_an_end_beyond_all_steps_is_refused(end: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="ask for fewer"):
        resolved(end)


def test_settings_come_back_from_json_as_they_were_and_the_same_wish_is_still_the_same() -> None:
    wish = {"sample_prompts": ("Dear", ""), "sample_temperatures": (0.5, 1.0)}
    recorded = resolved(wish)
    again = RunSettings(**from_json(json.loads(json.dumps(asdict(recorded)))))
    assert again == recorded
    asked = from_json(json.loads(json.dumps(wish)))
    check_same(again, asked, wish, run="r")
    with pytest.raises(FailedPrecondition, match="sample_prompts"):
        check_same(again, asked, {"sample_prompts": ("Dear",)}, run="r")


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

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from protos import trainer_pb2 as pb
from services.common.errors import Cancelled, FailedPrecondition
from services.gpt2.config import SIZES, GPT2Config
from services.trainer import machine, memory, planning, trying
from services.trainer.bases import Bases
from services.trainer.machine import Device
from services.trainer.planning import Forecast, Tried
from services.trainer.run_settings import RunSettings, resolve
from services.trainer.runs import Runs
from services.trainer.servicer import TrainerServicer
from services.trainer.starting import plan
from services.trainer.training.freezing import trained_names
from services.trainer.volume import Volume
from tests.unit.trainer.tiny import CONFIG, SETTINGS, write_tiny_dataset

DEADLINE_S = 10.0
GIB = 1024**3


def settings_of(config: GPT2Config, **choices: Any) -> RunSettings:
    choices = {"dataset": "d", "base": "x"} | choices
    return resolve(choices, config=config, num_train_tokens=300_000, num_validation_tokens=20_000, fresh=False)


def foreseen(
    config: GPT2Config,
    *,
    available: int = 0,
    tried: Tried | None = None,
    held_out: int = 20_000,
    steps_behind: int = 0,
    **choices: Any,
) -> Forecast:
    device = Device("a machine", available)
    return planning.foresee(
        planning.fit(settings_of(config, **choices), config, device),
        config,
        fresh=False,
        num_train_tokens=300_000,
        num_validation_tokens=held_out,
        num_pass_tokens=300_000,
        device=device,
        tried=tried,
        steps_behind=steps_behind,
    )


def total(config: GPT2Config, precision: str = "bfloat16", **choices: Any) -> int:
    return sum(memory.estimate(config, settings_of(config, **choices), precision, saving=True).values())


def test_what_needs_less_memory_is_estimated_at_less() -> None:
    config = SIZES["355M"]
    whole = total(config, batch_size=4)
    assert total(config, batch_size=2) < whole
    assert total(config, batch_size=4, gradient_checkpointing=True) < whole
    assert total(config, batch_size=4, context=512) < whole
    assert total(config, batch_size=4, lora_rank=8) < whole
    assert total(config, batch_size=4, frozen_layers=12) < whole
    assert total(config, batch_size=4, only_transformer_layers=True) < whole
    assert total(config, batch_size=4, optimizer="lion") < whole
    assert total(config, batch_size=4, optimizer="adafactor") < total(config, batch_size=4, optimizer="lion")
    assert total(config, "float32", batch_size=4) > whole


@pytest.mark.parametrize("choices", [{}, {"frozen_layers": 6}, {"lora_rank": 8}, {"optimizer": "lion"}])
def test_a_run_takes_room_for_the_copy_that_its_checkpoints_are_written_from(choices: dict[str, Any]) -> None:
    config, settings = SIZES["124M"], settings_of(SIZES["124M"], **choices)
    step, run = (memory.estimate(config, settings, "bfloat16", saving=saving) for saving in (False, True))
    assert sum(run.values()) - sum(step.values()) == memory.checkpoint_bytes(config, settings)
    assert memory.checkpoint_bytes(config, settings) >= 4 * config.num_parameters
    on_gpu = planning.fit(settings, config, Device("a GPU", sum(step.values()), 1))
    assert on_gpu.changes == () and on_gpu.fits  # there the copy is in the host's memory
    on_cpu = planning.fit(settings, config, Device("a CPU", sum(step.values())))
    assert on_cpu.changes or not on_cpu.fits


def test_what_is_trained_is_what_the_loop_trains() -> None:
    assert memory.trained_shapes(CONFIG, settings_of(CONFIG)) == CONFIG.shapes
    partly = settings_of(CONFIG, frozen_layers=1)
    assert list(memory.trained_shapes(CONFIG, partly)) == trained_names(CONFIG.shapes, partly)
    thin = memory.trained_shapes(CONFIG, settings_of(CONFIG, lora_rank=2))
    assert thin["model/h0/attn/c_attn/lora_a"] == (16, 2)
    assert thin["model/h1/mlp/c_proj/lora_b"] == (2, 16)
    assert len(thin) == 2 * 4 * CONFIG.n_layer


def test_a_step_that_does_not_fit_is_made_smaller_and_the_plan_says_so() -> None:
    config = SIZES["124M"]
    roomy = foreseen(config, batch_size=8, available=64 * GIB)
    assert (roomy.changes, roomy.fits, roomy.settings.batch_size) == ((), True, 8)
    tight = foreseen(config, batch_size=8, available=7 * GIB)
    assert tight.fits
    assert tight.settings.batch_size < 8
    assert tight.settings.rows_per_step == 8
    assert len(tight.changes) == 1 and "rows at a time" in tight.changes[0]
    assert tight.peak_memory_bytes <= 7 * GIB
    untouched = foreseen(config, batch_size=8, available=7 * GIB, fit_memory=False)
    assert (untouched.changes, untouched.fits, untouched.settings.batch_size) == ((), False, 8)


def test_a_step_that_fits_in_no_size_says_what_would() -> None:
    forecast = foreseen(SIZES["1558M"], available=4 * GIB)
    assert not forecast.fits
    assert "lora_rank" in forecast.remarks[0]


def test_time_is_that_of_the_tried_steps_and_of_what_comes_between_them() -> None:
    plain = {"validate_every": 0, "sample_every": 0, "steps": 100, "minutes": 0.0}
    forecast = foreseen(SIZES["124M"], tried=Tried(2.0, "a device"), **plain)
    assert forecast.is_measured
    assert (forecast.seconds_per_step, forecast.device) == (2.0, "a device")
    assert 200 < forecast.total_seconds < 300
    sampling = foreseen(SIZES["124M"], tried=Tried(2.0, "a device"), **plain | {"sample_every": 10})
    assert sampling.total_seconds > forecast.total_seconds
    cut = foreseen(SIZES["124M"], tried=Tried(2.0, "a device"), **plain | {"minutes": 1.0})
    assert cut.total_seconds == 60
    assert any("1 minutes end it at about step" in remark for remark in cut.remarks)


def test_steps_that_another_program_has_done_take_no_time() -> None:
    tried, often = Tried(2.0, "a device"), {"save_every": 10, "sample_every": 0, "validate_every": 10, "minutes": 0.0}
    whole, rest = (
        foreseen(SIZES["124M"], tried=tried, steps=steps, steps_behind=steps - 100, **often) for steps in (100, 1100)
    )
    assert rest.total_seconds == whole.total_seconds
    assert (rest.epochs, rest.disk_bytes, rest.settings.steps) == (whole.epochs, whole.disk_bytes, 1100)
    cut = foreseen(SIZES["124M"], tried=tried, steps=1100, steps_behind=1000, **often | {"minutes": 1.0})
    assert any("end it at about step 1,0" in remark for remark in cut.remarks)


def test_without_trying_time_grows_with_the_work() -> None:
    small, large = (foreseen(SIZES[size]) for size in ("124M", "774M"))
    assert not small.is_measured
    assert 0 < small.seconds_per_step < large.seconds_per_step
    again = foreseen(SIZES["124M"], gradient_checkpointing=True)
    assert again.seconds_per_step > small.seconds_per_step


@pytest.mark.parametrize(
    ("choices", "held_out", "remark"),
    [
        ({"learning_rate": 1e-3}, 20_000, "much of it may be forgotten"),
        ({"epochs": 200.0}, 20_000, "begins to recite"),
        ({}, 0, "no validation documents"),
        ({}, 100, "100 validation tokens are few"),
    ],
)
def test_what_is_worth_knowing_is_remarked(choices: dict[str, Any], held_out: int, remark: str) -> None:
    assert any(remark in said for said in foreseen(SIZES["124M"], held_out=held_out, **choices).remarks)


def test_a_usual_run_needs_no_remark() -> None:
    assert foreseen(SIZES["124M"]).remarks == ()


def test_free_memory_is_the_least_of_machine_and_container(tmp_path: Path) -> None:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    cgroup.mkdir()
    assert machine.available_memory(proc, cgroup) == 0
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    assert machine.available_memory(proc, cgroup) == 4000 * 1024
    (cgroup / "memory.max").write_text("max\n")
    assert machine.available_memory(proc, cgroup) == 4000 * 1024
    (cgroup / "memory.max").write_text("3000000\n")
    (cgroup / "memory.current").write_text("2000000\n")
    (cgroup / "memory.stat").write_text("anon 1\ninactive_file 500000\n")
    assert machine.available_memory(proc, cgroup) == 1_500_000


@pytest.fixture
def planned(tmp_path: Path) -> Any:
    write_tiny_dataset(tmp_path)
    volume = Volume(tmp_path)
    found = plan(volume, Bases(volume.bases), {"dataset": "tiny", "base": "nano", **SETTINGS})
    return replace(found, config=CONFIG)


def test_tried_steps_tell_what_they_took(planned: Any) -> None:
    told = list(trying.tell_ahead(planned, try_them=True, wanted=lambda: True))
    assert "loading TensorFlow" in told
    forecast = told[-1]
    assert isinstance(forecast, Forecast)
    assert forecast.is_measured
    assert 0 < forecast.seconds_per_step < 10
    assert forecast.num_parameters == forecast.num_trained_parameters == CONFIG.num_parameters


def test_a_plan_that_nobody_waits_for_ends_its_child(planned: Any) -> None:
    asked = []

    def wanted() -> bool:
        asked.append(1)
        return len(asked) < 2

    with pytest.raises(Cancelled):
        list(trying.tell_ahead(planned, try_them=True, wanted=wanted))


def test_a_plan_that_waits_for_another_ends_when_its_caller_has_gone(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path)
    runs, nothing = Runs(Volume(tmp_path)), cast(Any, None)
    runs.load()
    trainer = TrainerServicer(Volume(tmp_path), Bases(tmp_path / "base"), nothing, runs, nothing, nothing)
    context: Any = SimpleNamespace(is_active=lambda: False)
    request = pb.PlanRunRequest(
        run=pb.StartRunRequest(dataset="tiny", base="nano", settings=pb.RunSettings(**SETTINGS))
    )
    caught: list[Exception] = []

    def ask() -> None:
        try:
            list(trainer.PlanRun(request, context))
        except Cancelled as error:
            caught.append(error)

    waiting = threading.Thread(target=ask, daemon=True)
    with trainer._trying:
        waiting.start()
        waiting.join(DEADLINE_S)
    assert not waiting.is_alive() and caught


def test_a_child_that_is_killed_leads_to_a_smaller_step(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def try_steps(settings: RunSettings, config: GPT2Config, *, wanted: Any) -> Any:
        tried.append((settings.batch_size, settings.gradient_checkpointing))
        if not settings.gradient_checkpointing:
            raise trying.OutOfMemory
        yield Tried(1.0, "a device")

    monkeypatch.setattr(trying, "try_steps", try_steps)
    forecast = list(trying.tell_ahead(planned, try_them=True, wanted=lambda: True))[-1]
    assert isinstance(forecast, Forecast)
    assert tried == [(2, False), (1, False), (1, True)]
    assert forecast.fits
    assert "with gradient checkpointing" in forecast.changes


def test_a_step_that_fails_says_why(planned: Any) -> None:
    broken = replace(planned, settings=replace(planned.settings, optimizer="adamw", precision="float8"))
    with pytest.raises(FailedPrecondition, match=r"no step could be tried: .*float8"):
        list(trying.try_steps(broken.settings, CONFIG, wanted=lambda: True))

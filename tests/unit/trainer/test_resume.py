"""A killed run, resumed, is the run that an undisturbed one would have been: bit for bit."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from services.common.errors import Corrupt
from services.trainer.metrics_log import read_metrics
from services.trainer.outcome import EXIT_STOPPED
from services.trainer.samples import read_samples
from services.trainer.training import __main__ as entry
from services.trainer.training.process import TrainingProcess
from services.trainer.volume import Volume
from tests.unit.trainer.tiny import SETTINGS, make_run, write_tiny_dataset

DEADLINE_S = 120.0
STEPS = 24
SLOW = {**SETTINGS, "steps": STEPS, "save_every": 4, "sample_every": 5}


class Killed(Exception):
    """Leaves everything as it is, as SIGKILL does."""


class KillAt(Event):
    """A wish to stop that is asked for before each step, and before step `step` ends it all."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step, self.asked = step, 0

    def is_set(self) -> bool:
        self.asked += 1
        if self.asked == self.step:
            raise Killed
        return False


def train(data: Path, run: str, stop: Event | None = None) -> bool:
    return TrainingProcess(Volume(data), run, started=time.monotonic()).run(stop or Event())


def start_process(data: Path, run: str) -> subprocess.Popen[bytes]:
    with (data / "checkpoint" / run / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "services.trainer.training", str(data), run], stdout=log, stderr=log
        )


def wait_for_step(data: Path, run: str, step: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if any(line["step"] >= step for line in read_metrics(data / "checkpoint" / run / "metrics.jsonl")):
            return
        time.sleep(0.002)
    raise AssertionError(f"{run} did not reach step {step}: {(data / 'checkpoint' / run / 'log.txt').read_text()}")


def facts(data: Path, run: str) -> list[dict[str, Any]]:
    """The metrics less what a clock says."""
    clocks = ("seconds", "tokens_per_second")
    lines = read_metrics(data / "checkpoint" / run / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name not in clocks} for line in lines]


def assert_same_run(data: Path, run: str, whole: str) -> None:
    """Metrics, samples, weights and optimizer state are equal to the last bit."""
    assert facts(data, run) == facts(data, whole)
    for step in (5, 10, STEPS):
        texts = [[sample.text for sample in read_samples(data / "samples" / of, step)] for of in (run, whole)]
        assert texts[0] == texts[1] != []
    folders = [data / "checkpoint" / of / f"step-{STEPS}" for of in (run, whole)]
    weights = [(folder / f"model-{STEPS}.data-00000-of-00001").read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    moments = [np.load(folder / "optimizer.npz") for folder in folders]
    assert all(np.array_equal(moments[0][name], moments[1][name]) for name in moments[1].files)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume on which run `whole` was trained without a break."""
    data = tmp_path_factory.mktemp("data")
    write_tiny_dataset(data)
    make_run(data, "whole", SLOW)
    assert train(data, "whole")
    return data


def test_process_killed_in_mid_run_and_resumed_equals_an_undisturbed_run(data: Path) -> None:
    make_run(data, "killed", SLOW)
    process = start_process(data, "killed")
    wait_for_step(data, "killed", 9)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert train(data, "killed")
    assert_same_run(data, "killed", "whole")


def test_accumulating_run_broken_twice_equals_an_undisturbed_one(data: Path) -> None:
    settings = SLOW | {"accumulation": 2, "schedule": "linear", "dropout": 0.2}
    make_run(data, "accumulating", settings)
    assert train(data, "accumulating")
    make_run(data, "broken", settings)
    for step in (7, 11):  # the second counts from the checkpoint of step 4
        with pytest.raises(Killed):
            train(data, "broken", KillAt(step))
    assert train(data, "broken")
    assert_same_run(data, "broken", "accumulating")


def test_stopped_process_saves_its_step_and_goes_on_from_there(data: Path) -> None:
    make_run(data, "stopped", SLOW)
    process = start_process(data, "stopped")
    wait_for_step(data, "stopped", 5)
    process.terminate()
    assert process.wait(timeout=DEADLINE_S) == EXIT_STOPPED
    last = facts(data, "stopped")[-1]["step"]
    assert 5 <= last < STEPS
    assert (data / "checkpoint" / "stopped" / f"step-{last}" / "manifest.json").exists()
    assert train(data, "stopped")
    assert_same_run(data, "stopped", "whole")


def test_damaged_newest_checkpoint_is_left_for_the_one_before(data: Path) -> None:
    make_run(data, "damaged", SLOW)
    with pytest.raises(Killed):
        train(data, "damaged", KillAt(11))
    folder = data / "checkpoint" / "damaged"
    with (folder / "step-8" / "model-8.data-00000-of-00001").open("rb+") as file:
        file.truncate(100)
    assert train(data, "damaged")
    assert_same_run(data, "damaged", "whole")
    assert "going back to step 4" in (folder / "events.jsonl").read_text()


def test_run_without_a_sound_checkpoint_names_the_damaged_file(data: Path) -> None:
    make_run(data, "lost", SLOW)
    with pytest.raises(Killed):
        train(data, "lost", KillAt(6))
    path = data / "checkpoint" / "lost" / "step-4" / "optimizer.npz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Corrupt, match=r"step-4/optimizer\.npz"):
        train(data, "lost")


def test_console_line_is_that_of_the_2019_script(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(data, "talking", SLOW | {"steps": 2, "sample_every": 0, "validate_every": 0})
    assert train(data, "talking")
    line = facts(data, "talking")[1]
    assert f"loss={line['loss']:.2f} avg={line['avg']:.2f}\n" in capsys.readouterr().out.split("[2 | ")[1]


def test_lock_of_a_run_is_for_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "LOCK_TIMEOUT_S", 0.2)
    with (tmp_path / "lock").open("w") as second:
        with (tmp_path / "lock").open("w") as first:
            assert entry.take(first.fileno())
            assert not entry.take(second.fileno())
        assert entry.take(second.fileno())

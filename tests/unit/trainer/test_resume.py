"""A killed run, resumed, is the run that an undisturbed one would have been: bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.trainer.metrics_log import read_metrics
from services.trainer.outcome import EXIT_DONE, EXIT_STOPPED
from services.trainer.samples import read_samples
from tests.unit.trainer.tiny import SETTINGS, make_run, write_tiny_dataset

DEADLINE_S = 120.0
SLOW = {**SETTINGS, "steps": 40, "save_every": 4, "sample_every": 5}


def start(data: Path, run: str) -> subprocess.Popen[bytes]:
    log = (data / "checkpoint" / run / "log.txt").open("ab")
    return subprocess.Popen([sys.executable, "-m", "services.trainer.training", str(data), run], stdout=log, stderr=log)


def finish(data: Path, run: str) -> int:
    return start(data, run).wait(timeout=DEADLINE_S)


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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume on which run `whole` was trained without a break."""
    data = tmp_path_factory.mktemp("data")
    write_tiny_dataset(data)
    make_run(data, "whole", SLOW)
    assert finish(data, "whole") == EXIT_DONE
    return data


@pytest.mark.parametrize("accumulation", [1, 2])
def test_run_killed_in_mid_step_and_resumed_has_the_metrics_of_an_undisturbed_one(
    undisturbed: Path, accumulation: int
) -> None:
    settings = SLOW | {"accumulation": accumulation}
    make_run(undisturbed, f"killed{accumulation}", settings)
    whole = "whole"
    if accumulation > 1:
        whole = "whole2"
        make_run(undisturbed, whole, settings)
        assert finish(undisturbed, whole) == EXIT_DONE
    run = f"killed{accumulation}"
    for step in (9, 22):
        process = start(undisturbed, run)
        wait_for_step(undisturbed, run, step)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert finish(undisturbed, run) == EXIT_DONE

    assert facts(undisturbed, run) == facts(undisturbed, whole)
    for step in (5, 10, 40):
        texts = [s.text for s in read_samples(undisturbed / "samples" / run, step)]
        assert texts == [s.text for s in read_samples(undisturbed / "samples" / whole, step)] != []
    name = "step-40/model-40.data-00000-of-00001"
    weights = [(undisturbed / "checkpoint" / of / name).read_bytes() for of in (run, whole)]
    assert weights[0] == weights[1]
    moments = [np.load(undisturbed / "checkpoint" / of / "step-40/optimizer.npz") for of in (run, whole)]
    for array in moments[0].files:
        assert np.array_equal(moments[0][array], moments[1][array])


def test_stopped_run_saves_its_step_and_goes_on_from_there(undisturbed: Path) -> None:
    make_run(undisturbed, "stopped", SLOW)
    process = start(undisturbed, "stopped")
    wait_for_step(undisturbed, "stopped", 5)
    process.terminate()
    assert process.wait(timeout=DEADLINE_S) == EXIT_STOPPED
    last = facts(undisturbed, "stopped")[-1]["step"]
    assert 5 <= last < 40
    assert (undisturbed / "checkpoint" / "stopped" / f"step-{last}" / "manifest.json").exists()

    assert finish(undisturbed, "stopped") == EXIT_DONE
    assert facts(undisturbed, "stopped") == facts(undisturbed, "whole")


def test_damaged_newest_checkpoint_is_left_for_the_one_before(undisturbed: Path) -> None:
    make_run(undisturbed, "damaged", SLOW)
    process = start(undisturbed, "damaged")
    wait_for_step(undisturbed, "damaged", 9)
    process.kill()
    process.wait()
    folder = undisturbed / "checkpoint" / "damaged"
    newest = max(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))
    with (folder / f"step-{newest}" / f"model-{newest}.data-00000-of-00001").open("rb+") as file:
        file.truncate(100)

    assert finish(undisturbed, "damaged") == EXIT_DONE
    assert facts(undisturbed, "damaged") == facts(undisturbed, "whole")
    assert "is damaged" in (folder / "events.jsonl").read_text()


def test_two_processes_never_write_one_run(undisturbed: Path) -> None:
    make_run(undisturbed, "twice", SLOW | {"steps": 400, "sample_every": 0, "validate_every": 0, "save_every": 400})
    first = start(undisturbed, "twice")
    wait_for_step(undisturbed, "twice", 1)
    second = start(undisturbed, "twice")
    assert first.wait(timeout=DEADLINE_S) == EXIT_DONE
    assert second.wait(timeout=DEADLINE_S) == EXIT_DONE  # it waited for the lock, and found nothing left to do
    assert [line["step"] for line in facts(undisturbed, "twice") if "loss" in line] == list(range(1, 401))

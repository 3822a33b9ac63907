"""Runs go back and forth between gpt-2-simple and ours: its folder goes on here, ours goes on there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from services.common.errors import FailedPrecondition
from services.common.files import read_json
from services.gpt2 import checkpoint as weights
from services.gpt2 import model
from services.trainer import foreign
from services.trainer.bases import Bases
from services.trainer.metrics_log import read_metrics
from services.trainer.run_record import RunRecord
from services.trainer.runs import Runs
from services.trainer.starting import plan
from services.trainer.training.process import TrainingProcess
from services.trainer.volume import Volume, is_foreign
from tests.unit.trainer.tiny import CONFIG, SETTINGS, TEXTS, write_tiny_dataset

WIDE = replace(CONFIG, n_ctx=1024)  # gpt-2-simple trains on 1024 tokens at a time
FINETUNE = """
import sys, gpt_2_simple
session = gpt_2_simple.start_tf_sess()
gpt_2_simple.finetune(session, "posts.txt", model_name="tiny", steps=int(sys.argv[1]), run_name="run1",
                      accumulate_gradients=1, sample_every=10**9, save_every=10**9, sample_length=8)
"""


def finetune(data: Path, steps: int) -> str:
    """Train `checkpoint/run1` of a folder with gpt-2-simple, and return what it printed."""
    (data / "posts.txt").write_text("\n".join(TEXTS * 3))
    ended = subprocess.run(
        [sys.executable, "-c", FINETUNE, str(steps)], cwd=data, capture_output=True, text=True, timeout=560
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume, and beside it the folder `models/tiny` that gpt-2-simple starts from."""
    dataset = write_tiny_dataset(tmp_path)
    base = tmp_path / "models" / "tiny"
    base.mkdir(parents=True)
    for name in ("encoder.json", "vocab.bpe"):
        shutil.copyfile(dataset.folder / name, base / name)
    weights.write_weights(base, 0, model.init_params(WIDE, 3), WIDE)
    return tmp_path


def adopt(data: Path, **settings: object) -> RunRecord:
    """Make a run of ours of gpt-2-simple's folder, as StartRun does."""
    volume = Volume(data)
    begin = foreign.begin(volume.runs / "run1")
    choices = {"dataset": "tiny", **SETTINGS, **settings}
    planned = plan(volume, Bases(volume.bases), choices, begin)
    resolved = foreign.go_on(planned.settings, step=begin.step, asked_steps=choices["steps"])
    return Runs(volume).create(
        "run1", resolved, {}, num_parameters=planned.config.num_parameters, fill=planned.fill, in_place=True
    )


def test_run_goes_from_gpt_2_simple_to_ours_and_back_with_its_steps_and_weights(data: Path) -> None:
    folder = data / "checkpoint" / "run1"
    finetune(data, steps=3)
    assert is_foreign(folder)
    _, theirs = weights.read_weights(folder)
    with pytest.raises(FailedPrecondition, match="3 steps behind it"):
        adopt(data, steps=3)

    adopt(data, steps=6, learning_rate=1e-9, sample_every=0)
    assert not is_foreign(folder)
    process = TrainingProcess(Volume(data), "run1", started=time.monotonic())
    assert process.step == 3
    assert process.run(Event())
    steps = [line["step"] for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]
    assert steps == [4, 5, 6]
    assert read_json(folder / "step-6" / "state.json")["behind"] == 3
    _, ours = weights.read_weights(folder / "step-6")
    assert all(np.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)  # at a rate of 1e-9

    told = finetune(data, steps=2)
    assert "Loading checkpoint checkpoint/run1/step-6/model-6" in told
    assert "[7 | " in told and "[8 | " in told
    assert (folder / "counter").read_text() == "8\n"
    config, back = weights.read_weights(folder)
    assert config == WIDE
    assert any(not np.array_equal(back[name], ours[name]) for name in ours)


def test_half_adopted_folder_is_adopted_again(data: Path) -> None:
    folder = data / "checkpoint" / "run1"
    shutil.copytree(data / "models" / "tiny", folder)
    for name in folder.glob("model-0.*"):
        name.rename(folder / name.name.replace("model-0", "model"))
    (folder / "checkpoint").write_text('model_checkpoint_path: "model"\n')
    (folder / "counter").write_text("7\n")
    (folder / "start").mkdir()
    Runs(Volume(data)).load()  # no run of ours, and nothing damaged
    assert adopt(data, steps=9).settings.base == "runs/run1@7"
    assert Runs(Volume(data)).free_name("run1") == "run1-2"

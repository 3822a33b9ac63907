"""Each kind of run, killed and resumed, is the one that an undisturbed run would have been, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.common.errors import Corrupt
from services.gpt2.checkpoint import read_weights
from services.trainer.training import lora, lora_base
from tests.unit.trainer.test_resume import Killed, facts, train
from tests.unit.trainer.tiny import CONFIG, SETTINGS, make_run, write_tiny_dataset

KINDS: dict[str, dict[str, Any]] = {
    "lora": {
        **{"lora_rank": 2, "packing": "documents", "schedule": "warmup_stable_decay", "batch_size": 1},
        **{"accumulation": 2, "weight_decay": 0.1, "save_every": 3},
    },
    "float16": {
        **{"precision": "float16", "packing": "masked", "optimizer": "lion", "learning_rate": 1e-3},
        **{"input_noise": 0.1, "label_smoothing": 0.1, "gradient_checkpointing": True, "schedule": "inverse_sqrt"},
    },
    "adafactor": {"optimizer": "adafactor", "frozen_layers": 1},
    "sgd": {"optimizer": "sgd", "only_transformer_layers": True},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    write_tiny_dataset(data)
    return data


@pytest.mark.parametrize("kind", list(KINDS))
def test_run_of_this_kind_killed_and_resumed_equals_an_undisturbed_one(data: Path, kind: str) -> None:
    settings = {**SETTINGS, "sample_every": 0, "validate_every": 3, **KINDS[kind]}
    runs = f"{kind}-whole", f"{kind}-killed"
    for run in runs:
        make_run(data, run, settings)
    assert train(data, runs[0])
    with pytest.raises(Killed):
        train(data, runs[1], kill_before=5)
    assert train(data, runs[1])
    assert facts(data, runs[1]) == facts(data, runs[0])
    folders = [data / "checkpoint" / run / "step-6" for run in runs]
    weights = [read_weights(folder)[1] for folder in folders]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in CONFIG.shapes)
    states = [np.load(folder / "optimizer.npz") for folder in folders]
    assert states[0].files == states[1].files
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[1].files)


def test_checkpoint_of_a_lora_run_is_an_ordinary_model_and_its_base_is_kept_once(data: Path) -> None:
    run = data / "checkpoint" / "lora-whole"
    _, merged = read_weights(run / "step-6")
    base = lora_base.read(run)
    assert base.keys() == {f"{layer}/w" for layer in lora.layers(CONFIG)}
    with np.load(run / "step-6" / "optimizer.npz") as state:
        thin = {name.replace(".", "/"): state[name] for name in state.files if "lora" in name and name[:2] != "m."}
    for layer in lora.layers(CONFIG):
        added = 2 * thin[f"{layer}/lora_a"] @ thin[f"{layer}/lora_b"]
        assert np.abs(added).max() > 0
        np.testing.assert_allclose(merged[f"{layer}/w"][0], base[f"{layer}/w"][0] + added, atol=1e-6)


def test_damaged_base_beneath_lora_is_named(data: Path) -> None:
    run = data / "checkpoint" / "lora-killed"
    path = run / lora_base.FOLDER / lora_base.FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Corrupt, match=r"lora-base/base\.npz"):
        train(data, "lora-killed")

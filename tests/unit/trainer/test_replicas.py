"""Two devices that train together do what one does; in a process of its own, since TensorFlow starts with devices."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from services.common.errors import FailedPrecondition
from services.trainer.training import replicas

PROGRAM = """
import dataclasses, json, sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from services.gpt2 import model
from services.trainer.run_settings import RunSettings
from services.trainer.training.loop import Trainer
from tests.unit.trainer.steps import CONFIG, params_of, rows_of

def run(devices, **settings):
    given = {"dataset": "d", "dropout": 0.0, "batch_size": 4, **settings}
    trainer = Trainer(params_of(), CONFIG, RunSettings(**given), tf.float32, devices=devices)
    results = []
    for step in range(1, 5):
        batch = rows_of(given["batch_size"] * given.get("accumulation", 1), seed=step)
        lengths = np.arange(len(batch.inputs)) + 1
        weights = (np.arange(batch.inputs.shape[1]) < lengths[:, None]).astype(np.float32)
        batch = dataclasses.replace(batch, weights=weights)
        limit = 0.1 if step == 3 else float("inf")
        results.append(trainer.step(step, batch, 1e-2, limit=limit))
    return trainer, results

worst = 0.0
for settings in ({"optimizer": "sgd", "accumulation": 2}, {"lora_rank": 2}):
    (one, alone), (two, together) = run([], **settings), run(["CPU:0", "CPU:1"], **settings)
    assert [result.refused for result in alone] == [result.refused for result in together]
    assert together[2].refused == "above the limit"
    worst = max([worst, *(abs(a.loss - b.loss) for a, b in zip(alone, together))])
    worst = max([worst, *(abs(a.norm - b.norm) for a, b in zip(alone, together))])
    params = one.params()
    worst = max([worst, *(float(np.abs(value - params[name]).max()) for name, value in two.params().items())])
    for mirrored in two._weights.values():
        assert len(mirrored.values) == 2 and np.array_equal(mirrored.values[0].numpy(), mirrored.values[1].numpy())
    # What was saved is taken up again on both devices.
    resumed = Trainer(
        params_of() if "lora_rank" in settings else two.params(), CONFIG,
        RunSettings(**{"dataset": "d", "dropout": 0.0, "batch_size": 4, **settings}), tf.float32,
        devices=["CPU:0", "CPU:1"],
    )
    resumed.restore(two.state())
    batch = rows_of(4 * settings.get("accumulation", 1), seed=9)
    assert resumed.step(5, batch, 1e-2) == two.step(5, batch, 1e-2)
    assert np.isfinite(model.forward(two.variables, batch.inputs, CONFIG).numpy()).all()
print(json.dumps({"worst": worst}))
"""


def test_two_devices_have_the_losses_and_weights_of_one() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["worst"] < 1e-5


def test_gpus_are_as_many_as_divide_a_micro_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas.tf.config, "list_physical_devices", lambda kind: [object()] * 4)
    assert replicas.choose(0, 8) == ["GPU:0", "GPU:1", "GPU:2", "GPU:3"]
    assert replicas.choose(0, 6) == ["GPU:0", "GPU:1", "GPU:2"]
    assert replicas.choose(0, 1) == ["GPU:0"] and replicas.choose(2, 8) == ["GPU:0", "GPU:1"]
    with pytest.raises(FailedPrecondition, match="sees 4"):
        replicas.choose(5, 10)
    with pytest.raises(FailedPrecondition, match="does not divide"):
        replicas.choose(3, 8)


def test_without_a_gpu_tensorflow_chooses_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas.tf.config, "list_physical_devices", lambda kind: [])
    assert replicas.choose(0, 8) == []
    with pytest.raises(FailedPrecondition, match="sees 0"):
        replicas.choose(1, 8)

"""Prometheus sees the runs that train, and those alone."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from services.trainer.gauges import RunGauges
from services.trainer.metrics_log import FILE_NAME, MetricsLog
from services.trainer.run_record import RunState
from services.trainer.runs import Runs
from services.trainer.volume import Volume
from tests.unit.trainer.tiny import SETTINGS, make_run, write_tiny_dataset


def test_gauges_hold_the_newest_numbers_of_the_runs_that_train_and_of_no_other(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path)
    names = ("training", "damaged", "finished", "waiting")
    for name in names:
        make_run(tmp_path, name, SETTINGS)
        with MetricsLog(tmp_path / "checkpoint" / name / FILE_NAME, after_step=0) as log:
            log.append({"step": 1, "loss": 4.0, "avg": 4.0, "seconds": 1.0})
            log.append({"step": 1, "validation_loss": 3.5, "bits_per_byte": 2.0, "token_accuracy": 0.25})
            log.append({"step": 1, "verbatim_share": 0.5, "longest_run_tokens": 31, "samples": [], "seconds": 1.5})
            log.append({"step": 2, "loss": 3.0, "avg": 3.5, "memory_bytes": 123, "seconds": 2.0})
    runs = Runs(Volume(tmp_path))
    runs.load()
    for name in names[:3]:
        runs.move(name, RunState.RUNNING)
    runs.move("finished", RunState.SUCCEEDED)
    (tmp_path / "checkpoint" / "damaged" / FILE_NAME).write_bytes(b"{\n")
    registry = CollectorRegistry(auto_describe=True)
    registry.register(RunGauges(runs))

    shown = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]

    assert all('{run="training"}' in line for line in shown)
    values = {line.split("{")[0].removeprefix("nonesuch_trainer_run_"): float(line.split()[-1]) for line in shown}
    assert values == {
        "step": 2.0,
        "loss": 3.0,
        "average_loss": 3.5,
        "memory_bytes": 123.0,
        "validation_loss": 3.5,
        "validation_bits_per_byte": 2.0,
        "validation_token_accuracy": 0.25,
        "verbatim_share": 0.5,
        "longest_run_tokens": 31.0,
    }

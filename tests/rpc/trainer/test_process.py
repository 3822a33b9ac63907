"""The trainer as a process of its own: killed, started again, and refused beside another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protos import trainer_pb2 as pb
from protos import trainer_pb2_grpc
from services.common import rpc
from tests.rpc.trainer.serving import DEADLINE_S, LONG, Service
from tests.unit.trainer.tiny import write_tiny_dataset
from tests.waiting import wait_for

ANY_PORTS = {"NONESUCH_TRAINER_LISTEN": "127.0.0.1:0", "NONESUCH_TRAINER_METRICS_LISTEN": "127.0.0.1:0"}


def test_killed_service_leaves_no_orphan_and_its_next_start_carries_the_run_on(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path)
    with served(tmp_path) as (process, client):
        client.start("run", LONG)
        client.wait_for_step("run", 55)
        child = child_of(process.pid)
        process.kill()
        process.wait()
        wait_for(lambda: not Path(f"/proc/{child}").exists(), "the training process is gone")

    with served(tmp_path) as (process, client):
        wait_for(lambda: client.get("run").state == pb.RUN_STATE_RUNNING, "the run trains again")
        before = client.get("run").step
        client.wait_for_step("run", before + 5)
        process.terminate()
        assert process.wait(timeout=DEADLINE_S) == 0
    record = json.loads((tmp_path / "checkpoint" / "run" / "run.json").read_text())
    assert record["state"] == "PENDING"  # it saved, and waits for the next start
    lines = (tmp_path / "checkpoint" / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == list(range(1, len(steps) + 1))
    assert (tmp_path / "checkpoint" / "run" / f"step-{steps[-1]}" / "manifest.json").exists()


def test_second_trainer_on_one_volume_is_refused(service: Service) -> None:
    environ = os.environ | ANY_PORTS | {"NONESUCH_DATA": str(service.data)}
    ended = subprocess.run(
        [sys.executable, "-m", "services.trainer"], env=environ, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert ended.returncode == 1 and "another trainer" in ended.stderr


@contextmanager
def served(data: Path) -> Iterator[tuple[subprocess.Popen[str], Service]]:
    """A trainer in a process of its own, and a client of it; not ended by this."""
    environ = os.environ | ANY_PORTS | {"NONESUCH_DATA": str(data)}
    process = subprocess.Popen(
        [sys.executable, "-m", "services.trainer"], env=environ, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    ready, _, address = process.stdout.readline().strip().rpartition(" ")
    assert ready == "ready trainer"
    with rpc.channel(address) as channel:
        yield process, Service(None, trainer_pb2_grpc.TrainerServiceStub(channel), data)  # type: ignore[arg-type]


def child_of(pid: int) -> int:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            return int(stat.parent.name)
    raise AssertionError(f"process {pid} has no child")

"""A trainer service as a process of its own, and the runs it trains."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protos import trainer_pb2 as pb
from protos import trainer_pb2_grpc
from services.trainer.events import EventLog
from services.trainer.metrics_log import read_metrics
from tests.e2e.faults.process import ServiceProcess
from tests.waiting import wait_for

CHILD = (sys.executable, "-m", "tests.e2e.faults.trainer_child")
RUN_S, RPC_S = 1800.0, 120.0
CLOCKS = ("seconds", "tokens_per_second", "mfu", "remaining_seconds", "memory_bytes")


class TrainerProcess(ServiceProcess):
    """A trainer service, and the runs it trains.

    Args:
        child: the program that trains, with its options; empty: the service's own.
    """

    def __init__(self, data: Path, *, prefix: Sequence[str] = (), child: Sequence[str] = ()) -> None:
        program = (sys.executable, "-m", "tests.e2e.faults.trainer_program", *child) if child else ()
        super().__init__("trainer", data, prefix=prefix, program=program, NONESUCH_TRAINER_NICE="0")
        self.stub = trainer_pb2_grpc.TrainerServiceStub(self.channel)

    def start(self, run: str, settings: dict[str, Any]) -> None:
        """Queue a run of the tiny dataset."""
        request = pb.StartRunRequest(run=run, dataset="tiny", base="nano", settings=pb.RunSettings(**settings))
        self.stub.StartRun(request, timeout=RPC_S)

    def get(self, run: str) -> pb.Run:
        return self.stub.GetRun(pb.GetRunRequest(run=run), timeout=RPC_S).run

    def child(self) -> int | None:
        """The training process, if there is one."""
        return next(iter(self.children()), None)

    def finish(self, run: str) -> pb.Run:
        """Wait for a run to end well."""
        ended = (pb.RUN_STATE_SUCCEEDED, pb.RUN_STATE_FAILED, pb.RUN_STATE_CANCELLED)
        wait_for(lambda: self.get(run).state in ended, f"{run} has ended", RUN_S)
        found = self.get(run)
        assert found.state == pb.RUN_STATE_SUCCEEDED, f"{found.error}; {told(self.data, run)}"
        return found


def told(data: Path, run: str) -> list[str]:
    """The sentences in a run's history."""
    lines = EventLog(data / "checkpoint" / run).read(0)
    return [line["message"] for _, line in lines if line["kind"] == "event"]


def curve(data: Path, run: str) -> list[dict[str, Any]]:
    """All that was measured, less what a clock says."""
    lines = read_metrics(data / "checkpoint" / run / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name not in CLOCKS} for line in lines]


def last_step(data: Path, run: str) -> int:
    """The last step that the run has measured; 0: none."""
    return max((line["step"] for line in read_metrics(data / "checkpoint" / run / "metrics.jsonl")), default=0)


def weights(data: Path, run: str, step: int) -> bytes:
    """The weights of a checkpoint, as they are in its file."""
    return (data / "checkpoint" / run / f"step-{step}" / f"model-{step}.data-00000-of-00001").read_bytes()

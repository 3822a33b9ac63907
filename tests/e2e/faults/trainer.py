"""A trainer service as a process of its own, to be treated badly, and the runs it trains."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protos import trainer_pb2 as pb
from protos import trainer_pb2_grpc
from services.common import rpc
from services.trainer.events import EventLog
from services.trainer.metrics_log import read_metrics
from tests.e2e.faults.service import children_of, is_alive
from tests.e2e.system import ROOT
from tests.waiting import wait_for

PROGRAM = (sys.executable, "-m", "services.trainer")
CHILD = (sys.executable, "-m", "tests.e2e.faults.trainer_child")
END_S, RUN_S, RPC_S = 120.0, 1800.0, 120.0
CLOCKS = ("seconds", "tokens_per_second", "mfu", "remaining_seconds", "memory_bytes")


class TrainerProcess:
    """`python -m services.trainer` on a data folder, on a free port.

    Args:
        data: its NONESUCH_DATA.
        prefix: what to start it through, such as `unshare`.
        child: the program that trains, with its options; empty: the service's own.
    """

    def __init__(self, data: Path, *, prefix: Sequence[str] = (), child: Sequence[str] = ()) -> None:
        program = (sys.executable, "-m", "tests.e2e.faults.trainer_program", *child) if child else PROGRAM
        self.data = data
        environ = {
            **os.environ,
            "NONESUCH_DATA": str(data),
            "NONESUCH_TRAINER_LISTEN": "127.0.0.1:0",
            "NONESUCH_TRAINER_METRICS_LISTEN": "127.0.0.1:0",
            "NONESUCH_TRAINER_NICE": "0",
        }
        self.log = data.with_name(f"{data.name}.log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *program], cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=log, text=True
            )
        ready = self.process.stdout.readline().split()
        assert ready[:2] == ["ready", "trainer"], f"the service did not start: {self.log.read_text()}"
        self.pid = self.process.pid
        self._channel = rpc.channel(ready[2])
        self.stub = trainer_pb2_grpc.TrainerServiceStub(self._channel)

    def start(self, run: str, settings: dict[str, Any]) -> None:
        """Queue a run of the tiny dataset."""
        request = pb.StartRunRequest(run=run, dataset="tiny", base="nano", settings=pb.RunSettings(**settings))
        self.stub.StartRun(request, timeout=RPC_S)

    def get(self, run: str) -> pb.Run:
        return self.stub.GetRun(pb.GetRunRequest(run=run), timeout=RPC_S).run

    def child(self) -> int | None:
        """The training process, if there is one."""
        return next((pid for pid in children_of(self.pid) if is_alive(pid)), None)

    def finish(self, run: str) -> pb.Run:
        """Wait for a run to end well."""
        ended = (pb.RUN_STATE_SUCCEEDED, pb.RUN_STATE_FAILED, pb.RUN_STATE_CANCELLED)
        wait_for(lambda: self.get(run).state in ended, f"{run} has ended", RUN_S)
        found = self.get(run)
        assert found.state == pb.RUN_STATE_SUCCEEDED, f"{found.error}; {told(self.data, run)}"
        return found

    def kill(self) -> None:
        """`kill -9` of the service; its child must die with it."""
        child = self.child()
        self.process.kill()
        self.process.wait(END_S)
        self._close()
        wait_for(lambda: child is None or not is_alive(child), "the training process died with its service", END_S)

    def stop(self) -> None:
        """Tell it to end; it must end well."""
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(END_S) == 0, self.log.read_text()
        finally:
            self.put_away()

    def put_away(self) -> None:
        """Whatever state it is in, leave nothing behind."""
        if self.process.poll() is None:
            self.kill()
        self._close()

    def _close(self) -> None:
        self._channel.close()
        self.process.stdout.close()

    def __enter__(self) -> "TrainerProcess":
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None and self.process.poll() is None:
            self.stop()
        else:
            self.put_away()


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

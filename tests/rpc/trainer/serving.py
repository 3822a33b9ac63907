"""A trainer in this process: its stub, its volume, and the calls that must fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos import trainer_pb2 as pb
from protos import trainer_pb2_grpc
from services.common import rpc
from services.trainer.converting import Convert
from services.trainer.fetching.sources import Sources
from services.trainer.service import Trainer
from tests.unit.trainer.pausing import PROGRAM, pause_after, stands_still
from tests.waiting import wait_for

DEADLINE_S = 240.0
SETTINGS: dict[str, Any] = {
    "steps": 4,
    "batch_size": 2,
    "context": 16,
    "save_every": 2,
    "sample_every": 2,
    "sample_num": 2,
    "sample_length": 8,
    "validate_every": 2,
}
LONG = SETTINGS | {"steps": 100_000, "sample_every": 0, "validate_every": 0, "save_every": 50}


@dataclass
class Service:
    """A trainer in this process, its stub and its volume."""

    trainer: Trainer
    stub: trainer_pb2_grpc.TrainerServiceStub
    data: Path

    def start(self, run: str, settings: dict[str, Any], **request: Any) -> pb.StartRunResponse:
        request = {"dataset": "tiny", "base": "nano"} | request
        return self.stub.StartRun(
            pb.StartRunRequest(run=run, settings=pb.RunSettings(**settings), **request), timeout=DEADLINE_S
        )

    def get(self, run: str) -> pb.Run:
        return self.stub.GetRun(pb.GetRunRequest(run=run), timeout=DEADLINE_S).run

    def watch(self, run: str, cursor: int = 0) -> list[pb.RunUpdate]:
        return list(self.stub.WatchRun(pb.WatchRunRequest(run=run, cursor=cursor), timeout=DEADLINE_S))

    def wait_for_step(self, run: str, step: int) -> None:
        wait_for(lambda: self.get(run).step >= step, f"step {step} of {run}")

    def start_and_kill(self, run: str, settings: dict[str, Any], after_step: int) -> None:
        """Start a run, and kill its process between that step and the next."""
        pause_after(self.data, run, after_step)
        self.start(run, settings)
        pid = wait_for(lambda: self.trainer.child_pid, "a training process")
        wait_for(lambda: stands_still(pid), f"{run} stands still after step {after_step}")
        os.kill(pid, signal.SIGKILL)


@contextmanager
def serving(
    data: Path, *, training: bool, sources: Sources | None = None, convert: Convert | None = None
) -> Iterator[Service]:
    """A trainer over a volume, whose processes can be told to stand still.

    Without `training` its runs wait in the queue for ever, without `convert` its models come without engine files.
    """
    trainer = Trainer(data, nice=0, program=PROGRAM, sources=sources, convert=convert)
    trainer.open()
    server = rpc.start(
        "127.0.0.1:0",
        lambda server: trainer_pb2_grpc.add_TrainerServiceServicer_to_server(trainer.servicer, server),
        services=["nonesuch.trainer.v1.TrainerService"],
    )
    if training:
        trainer.start()
    try:
        with rpc.channel(f"127.0.0.1:{server.port}") as channel:
            yield Service(trainer, trainer_pb2_grpc.TrainerServiceStub(channel), data)
    finally:
        trainer.begin_stop()
        server.stop(1.0)
        if training:
            trainer.finish_stop(30.0)


def import_requests(name: str, folder: Path) -> Iterator[pb.ImportBaseRequest]:
    """A folder as it is sent, in small pieces."""
    yield pb.ImportBaseRequest(name=name)
    for path in sorted(folder.iterdir()):
        yield pb.ImportBaseRequest(file=path.name)
        content = path.read_bytes()
        for start in range(0, len(content), 1000):
            yield pb.ImportBaseRequest(chunk=content[start : start + 1000])


def refused(call: Callable[[], object], code: grpc.StatusCode, *words: str) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value.details()
    for word in words:
        assert word in caught.value.details()
    return caught.value


def field_of(error: grpc.RpcError) -> str:
    for detail in rpc_status.from_call(error).details:
        if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            return bad.field_violations[0].field
    return ""

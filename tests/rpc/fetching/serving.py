"""A service that fetches base models, and a source that holds half of one back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protos import trainer_pb2 as pb
from protos import trainer_pb2_grpc
from services.trainer.fetching.sources import Sources
from services.trainer.service import Trainer
from tests.rpc.fetching.fake_sources import FakeSources, Handler
from tests.rpc.fetching.trial import REPOSITORY
from tests.rpc.trainer import serving as trainers
from tests.waiting import wait_for

DEADLINE_S = 120.0
NAME = "someone--tiny"


class Service:
    """A trainer's stub, and the trainer."""

    def __init__(self, trainer: Trainer, stub: trainer_pb2_grpc.TrainerServiceStub) -> None:
        self.trainer, self.stub = trainer, stub
        self.phases: set[int] = set()  # that `watch` has seen

    def fetch(self, base: str = REPOSITORY, name: str = "", source: int = 0) -> pb.Fetch:
        return self.stub.FetchBase(pb.FetchBaseRequest(base=base, name=name, source=source), timeout=DEADLINE_S).fetch

    def watch(self, name: str = NAME) -> list[pb.Fetch]:
        states = []
        for state in self.stub.WatchFetch(pb.WatchFetchRequest(name=name), timeout=DEADLINE_S):
            self.phases.add(state.phase)
            states.append(state)
        return states

    def tell_phase_by_phase(self) -> None:
        """Hear the fetching process no faster than its phases are seen by `watch`, which may miss the short ones."""
        fetches = self.trainer._fetches
        hear = fetches._hear

        def hear_and_wait(name: str, said: bytes) -> dict[str, Any]:
            outcome = hear(name, said)
            phase = pb.FetchPhase.Value(f"FETCH_PHASE_{(fetches.get(name).phase or 'unspecified').upper()}")
            wait_for(lambda: outcome or phase in self.phases, f"phase {phase} is seen")
            return outcome

        fetches._hear = hear_and_wait

    def cancel(self, name: str = NAME, discard: bool = False) -> pb.Fetch:
        return self.stub.CancelFetch(pb.CancelFetchRequest(name=name, discard=discard), timeout=DEADLINE_S).fetch

    def fetches(self) -> list[pb.Fetch]:
        return list(self.stub.ListFetches(pb.ListFetchesRequest(), timeout=DEADLINE_S).fetches)

    def bases(self) -> list[str]:
        return [
            base.name for base in self.stub.ListBases(pb.ListBasesRequest(), timeout=DEADLINE_S).bases if not base.fresh
        ]


@contextmanager
def serving(data: Path, fake: FakeSources, **options: object) -> Iterator[Service]:
    sources = Sources(**{"hub_url": fake.hub_url, "openai_url": fake.openai_url, "timeout_s": DEADLINE_S} | options)
    with trainers.serving(data, training=True, sources=sources) as made:
        yield Service(made.trainer, made.stub)


class Gate:
    """Sends half of a file, and holds the rest until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, handler: Handler, content: bytes) -> None:
        half = len(content) // 2
        handler.send_response(200)
        handler.send_header("ETag", '"gate"')
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:half])
        handler.wfile.flush()
        self.reached.set()
        while not self.opened.wait(0.05) and not handler.server.fake.stopping.is_set():
            pass
        handler.wfile.write(content[half:])


def part_of(data: Path) -> int:
    return sum(path.stat().st_size for path in (data / "base").glob(".fetch-*/hub/model.safetensors.part"))


@contextmanager
def half_fetched(data: Path, fake: FakeSources) -> Iterator[tuple[Service, Gate]]:
    """A service that fetches weights of which half have come; the rest comes when the gate is opened."""
    gate = Gate()
    fake.spoil("/cdn/model.safetensors", gate)
    with serving(data, fake) as service:
        service.fetch()
        assert gate.reached.wait(DEADLINE_S)
        wait_for(lambda: part_of(data), "some of it is on the disk")
        yield service, gate

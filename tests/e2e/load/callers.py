"""A generator as a process of its own with a model on the volume, and callers that never rest."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from protos import generator_pb2 as pb
from protos.generator_pb2_grpc import GeneratorServiceStub
from services.gpt2.config import GPT2Config
from tests.e2e.faults.process import ServiceProcess
from tests.e2e.system import ROOT
from tests.rpc.generator.serving import publish
from tests.waiting import PATIENCE_S, wait_for

MODEL = "owl"
CONFIG = GPT2Config(n_vocab=257, n_ctx=256, n_embd=192, n_head=4, n_layer=4)
PROMPTS = ("", "Owls", "The snow fell on the roofs of the town. " * 3)
SLOTS, QUEUE = 4, 8


class GeneratorProcess(ServiceProcess):
    """A generator over `data/models`, where versions are published by hand."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.models = folder / "data" / "models"
        publish(self.models, MODEL, 1, config=CONFIG)
        defaults = {
            "NONESUCH_CACHE": str(folder / "cache"),
            "NUMBA_CACHE_DIR": str(ROOT / ".pytest_cache" / "numba"),  # compiled once for all trials
            "NONESUCH_GENERATOR_SLOTS": str(SLOTS),
            "NONESUCH_GENERATOR_QUEUE_LIMIT": str(QUEUE),
            "NONESUCH_GENERATOR_CALLER_QUEUE_LIMIT": str(QUEUE),
            "NONESUCH_GENERATOR_POLL_S": "0.1",
        }
        super().__init__("generator", folder / "data", **(defaults | settings))
        self.stub = GeneratorServiceStub(self.channel)
        wait_for(lambda: self.serves(1), "the first version is served")

    def serves(self, version: int) -> bool:
        """Whether that version is in memory."""
        return any(
            model.version == version and model.state == pb.MODEL_STATE_SERVING
            for model in self.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=PATIENCE_S).models
        )

    def generate(self, request: pb.GenerateRequest, timeout_s: float = PATIENCE_S) -> pb.GenerateResponse:
        return self.stub.Generate(request, timeout=timeout_s)

    @property
    def memory_bytes(self) -> int:
        """Memory that it holds."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))

    @property
    def num_descriptors(self) -> int:
        """Files and connections that it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())


@dataclass
class Written:
    """One sample as it came: who wrote it, what, and the seconds between its pieces."""

    request: pb.GenerateRequest
    version: int
    ids: list[int]
    gaps: list[float]


@dataclass
class Report:
    """What the callers of a while saw."""

    written: list[Written] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def num_tokens(self) -> int:
        """Tokens written in all."""
        return sum(len(each.ids) for each in self.written)

    def p99_s(self) -> float:
        """Of the seconds between the pieces of a stream, the 99th percentile."""
        return statistics.quantiles([gap for each in self.written for gap in each.gaps], n=100)[98]

    def mixed_up(self, service: GeneratorProcess, most: int = 60) -> list[str]:
        """Of some of the samples, those that are not what their version writes alone."""
        step = max(1, len(self.written) // most)
        wrong = []
        for each in self.written[::step]:
            request = pb.GenerateRequest()
            request.CopyFrom(each.request)
            request.version = each.version
            answer = service.generate(request)
            if answer.model.version != each.version or list(answer.samples[0].ids) != each.ids:
                wrong.append(f"version {each.version} writes otherwise alone: {request}")
        return wrong


def request(number: int, *, tokens: int = 48) -> pb.GenerateRequest:
    """One of the requests that callers send in turn."""
    return pb.GenerateRequest(
        model=MODEL,
        prompt=PROMPTS[number % len(PROMPTS)],
        sampling=pb.SamplingParameters(temperature=0.9, top_k=(40, 0)[number % 2]),
        max_new_tokens=tokens,
        ignore_end_of_text=True,
        seed=number,
    )


def read_stream(service: GeneratorProcess, wanted: pb.GenerateRequest) -> Written:
    """Stream a sample to its end."""
    found = Written(wanted, 0, [], [])
    before = None
    for delta in service.stub.GenerateStream(wanted, timeout=PATIENCE_S):
        if delta.HasField("start"):
            found.version = delta.start.model.version
        elif delta.HasField("text"):
            now = time.monotonic()
            if before is not None:
                found.gaps.append((now - before) / max(1, len(delta.text.ids)))
            before = now
            found.ids.extend(delta.text.ids)
    return found


@contextmanager
def calling(service: GeneratorProcess, num_callers: int) -> Iterator[Report]:
    """While the block runs, so many callers stream one sample after another."""
    report, ended, numbers = Report(), threading.Event(), itertools.count()

    def call() -> None:
        while not ended.is_set():
            wanted = request(next(numbers))
            try:
                report.written.append(read_stream(service, wanted))
            except grpc.RpcError as error:
                report.failures.append(f"{error.code().name}: {error.details()}")

    threads = [threading.Thread(target=call) for _ in range(num_callers)]
    for thread in threads:
        thread.start()
    try:
        yield report
    finally:
        ended.set()
        for thread in threads:
            thread.join()

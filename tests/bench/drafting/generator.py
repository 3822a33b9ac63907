"""A generator as a process, with drafts or without."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import grpc

from protos import generator_pb2 as pb
from protos.generator_pb2_grpc import GeneratorServiceStub
from tests.bench.drafting.models import ROOT
from tests.e2e.system import free_port

LOADED_S = 600.0  # the first start on a machine compiles


class Generator:
    """Serves what is published below a folder's `data`."""

    def __init__(self, folder: Path, *, drafts: bool) -> None:
        metrics = free_port()
        environ = os.environ | {
            "NONESUCH_DATA": str(folder / "data"),
            "NONESUCH_CACHE": str(folder / f"cache-{'with' if drafts else 'without'}"),
            "NONESUCH_GENERATOR_LISTEN": "127.0.0.1:0",
            "NONESUCH_GENERATOR_METRICS_LISTEN": f"127.0.0.1:{metrics}",
            "NONESUCH_GENERATOR_DRAFTS": str(drafts).lower(),
            "NONESUCH_LOG_LEVEL": "warning",
        }
        command = [sys.executable, "-m", "services.generator"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ, cwd=ROOT)
        assert self._process.stdout is not None
        ready = self._process.stdout.readline().split()
        assert ready[:2] == ["ready", "generator"], f"the generator says {ready}"
        self._metrics = f"http://127.0.0.1:{metrics}/metrics"
        self._channel = grpc.insecure_channel(ready[2])
        self.stub = GeneratorServiceStub(self._channel)

    def load(self, model: str) -> None:
        """Wait until a model answers."""
        deadline_s = LOADED_S
        while True:
            try:
                self.stub.Generate(pb.GenerateRequest(model=model, max_new_tokens=1), timeout=LOADED_S)
                return
            except grpc.RpcError as error:
                deadline_s -= 1.0
                if error.code() is not grpc.StatusCode.UNAVAILABLE or deadline_s < 0:
                    raise

    def num_drafted(self, model: str) -> tuple[float, float]:
        """Ids that were drafted for a model so far, and those of them that were written."""
        with urllib.request.urlopen(self._metrics, timeout=10) as answer:
            text = answer.read().decode()
        counts = []
        for name in ("drafted", "accepted"):
            found = re.findall(rf'^nonesuch_generator_{name}\w*_total{{[^}}]*model="{model}"[^}}]*}} (\S+)', text, re.M)
            counts.append(sum(map(float, found)))
        return counts[0], counts[1]

    def close(self) -> None:
        """End the process."""
        self._channel.close()
        self._process.terminate()
        self._process.wait()

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""Ours as a caller meets it: the generator as a process, asked through `GenerateStream` by this one.

Prefill is asked for with one new token on prompts never seen. Decoding is measured over the time in which all streams
write, on the same prompts once more: the generator finds them in its cache, so that the streams begin together.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np

from tests.bench.generation.case import TOP_K, Case, Outcome, Settings, peak_gb
from tests.bench.generation.files import MODEL, ROOT

FILES = "published"
PATIENCE_S = 600.0  # until the model is loaded; the first time it may be converted first
SLOTS = 8  # the generator's default


def title() -> str:
    """As in the benchmark's lines."""
    return "GenerateStream"


def candidates(case: Case) -> list[Settings]:
    """As it comes: only its slots must be as many as the streams."""
    return [{"slots": max(SLOTS, case.streams)}]


def written(times: list[float], at: float) -> float:
    """How many tokens of a stream were written by then, given when each arrived.

    Tokens of one message arrive together and were written one after another since the message before.
    """
    messages, counts = np.unique(times, return_counts=True)
    return float(np.interp(at, messages, np.cumsum(counts), left=0.0))


class Service:
    """See Contestant."""

    def __init__(self, folder: Path, case: Case, settings: Settings) -> None:
        environ = os.environ | {
            "NONESUCH_DATA": str(folder / "data"),
            "NONESUCH_CACHE": str(folder / "cache"),
            "NONESUCH_GENERATOR_LISTEN": "127.0.0.1:0",
            "NONESUCH_GENERATOR_METRICS_LISTEN": "127.0.0.1:0",
            "NONESUCH_GENERATOR_SLOTS": str(settings["slots"]),
            "NONESUCH_LOG_LEVEL": "warning",
        }
        command = [sys.executable, "-m", "services.generator"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ, cwd=ROOT)
        assert self._process.stdout is not None
        ready = self._process.stdout.readline().split()
        assert ready[:2] == ["ready", "generator"], f"the generator says {ready}"
        self._address = ready[2]
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._connect())

    async def _connect(self) -> None:
        from protos import generator_pb2 as pb
        from protos.generator_pb2_grpc import GeneratorServiceStub

        self._pb = pb
        self._channel = grpc.aio.insecure_channel(self._address)
        self._stub = GeneratorServiceStub(self._channel)
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                await self._stub.Generate(pb.GenerateRequest(model=MODEL, prompt_ids=[1], max_new_tokens=1), timeout=60)
                return
            except grpc.aio.AioRpcError as error:
                waits = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                if not waits or time.monotonic() > give_up_at:
                    raise
                await asyncio.sleep(0.2)

    def run(self, prompts: np.ndarray, new: int) -> Outcome:
        return self._loop.run_until_complete(self._run(prompts, new))

    async def _run(self, prompts: np.ndarray, new: int) -> Outcome:
        arrivals = await self._ask(prompts, 1)
        first = [times[0] for times in arrivals]
        prefill_s = max(first)
        arrivals = await self._ask(prompts, 1 + new)
        begun, ended = max(times[0] for times in arrivals), min(times[-1] for times in arrivals)
        together = sum(written(times, ended) - written(times, begun) for times in arrivals)
        expected = new * len(prompts)
        if together * 2 < expected:  # the streams did not write together: what the longer run took beyond the short one
            decode_s = max(times[-1] for times in arrivals) - prefill_s
        else:
            decode_s = (ended - begun) / together * expected
        return Outcome(prefill_s, decode_s, float(np.median(first)))

    async def _ask(self, prompts: np.ndarray, length: int) -> list[list[float]]:
        """Seconds after which each token of each stream arrived."""
        requests = [
            self._pb.GenerateRequest(
                model=MODEL,
                prompt_ids=prompt.tolist(),
                sampling=self._pb.SamplingParameters(temperature=1.0, top_k=TOP_K),
                max_new_tokens=length,
                ignore_end_of_text=True,
                seed=stream,
            )
            for stream, prompt in enumerate(prompts)
        ]
        begun = time.perf_counter()

        async def follow(request: object) -> list[float]:
            times: list[float] = []
            async for delta in self._stub.GenerateStream(request, timeout=PATIENCE_S):
                if delta.HasField("text"):
                    times += [time.perf_counter() - begun] * len(delta.text.ids)
            assert len(times) == length, f"{len(times)} tokens came of {length}"
            return times

        return await asyncio.gather(*(follow(request) for request in requests))

    def peak_gb(self) -> float:
        return peak_gb(self._process.pid)

    def close(self) -> None:
        self._loop.run_until_complete(self._channel.close())
        self._process.terminate()
        self._process.wait()


load = Service

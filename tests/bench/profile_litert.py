"""Where a step of the LiteRT engine spends its time, beside what the machine could do.

    python -m tests.bench.profile_litert [--size 124M] [--threads 2] [--rounds 5]

Random weights, cache contents as they come: the time depends on neither. One JSON object per line.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

from services.gpt2.config import FRESH, SIZES, GPT2Config
from services.litert.cache import block_bytes
from services.litert.convert import convert
from services.litert.forward import Forward
from services.litert.model import LiteRTModel

CASES = [(16, 1), (224, 1), (900, 1), (224, 8), (900, 8), (16, 32), (224, 32), (900, 32)]
PROMPTS = [16, 224, 900]


class Tokens(NamedTuple):
    """What the engine calls a chunk."""

    blocks: list[int]
    start: int
    ids: list[int]
    num_logits: int


@numba.njit(nogil=True)
def _sum(values):
    total = 0
    for value in values:
        total += value
    return total


def read_rate(megabytes: int, threads: int) -> float:
    """Bytes per second that the cores read together from memory."""
    parts = np.array_split(np.ones(megabytes << 17, np.int64), threads)
    _sum(parts[0][:10])

    def once() -> None:
        workers = [threading.Thread(target=_sum, args=(part,)) for part in parts]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return (megabytes << 20) / median_time(once, 7)


def median_time(call: Callable[[], object], rounds: int) -> float:
    """Median seconds of a call."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def random_params(config: GPT2Config) -> dict[str, np.ndarray]:
    """Weights of the usual spread, without TensorFlow in the process."""
    rng = np.random.default_rng(1)
    return {
        name: np.ones(shape, np.float32) if name.endswith("/g") else rng.standard_normal(shape, np.float32) * 0.02
        for name, shape in config.shapes.items()
    }


class Clock:
    """Times the parts of a step by standing in for the methods that run them."""

    def __init__(self, model: LiteRTModel) -> None:
        self.seconds: dict[str, float] = {}
        self._time(model, "_embed", "embed")
        if isinstance(model._layers, Forward):
            self._time_forward(model._layers)
            return
        for part in model._layers._parts[:-1]:
            self._time(part, "run", "products")
            self._time(part, "resize", "resize")
        self._time(model._layers._parts[-1], "run", "head")
        self._time(model._layers._attention, "run", "attention")

    def _time_forward(self, layers: Forward) -> None:
        """Part the time of one call as its own clock does."""
        run = layers.run

        def timed(*arguments: object) -> None:
            layers.take_ticks()
            begin = time.perf_counter()
            run(*arguments)
            seconds = time.perf_counter() - begin
            ticks = layers.take_ticks()
            for name, spent in ticks.items():
                self.seconds[name] = self.seconds.get(name, 0) + seconds * spent / sum(ticks.values())

        layers.run = timed

    def _time(self, owner: object, method: str, name: str) -> None:
        original = getattr(owner, method)

        def timed(*arguments: object) -> object:
            begin = time.perf_counter()
            try:
                return original(*arguments)
            finally:
                self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - begin

        setattr(owner, method, timed)


def main() -> None:
    """Run every case once per round, interleaved, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="124M")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--instructions", type=int, help="1: AMX, 2: VNNI, 0: LiteRT; the best")
    parser.add_argument("--file", type=Path)
    arguments = parser.parse_args()
    config = (SIZES | FRESH)[arguments.size]
    rate = read_rate(1024, arguments.threads)
    print(json.dumps({"bench": "litert", "case": "1 GiB", "metric": "memory read", "unit": "GB/s", "ours": rate / 1e9}))
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.file or Path(folder) / "engine.litert"
        if not path.exists():
            begin = time.perf_counter()
            params = random_params(config)
            begin = time.perf_counter()
            convert(config, params, path)
            print(json.dumps({"metric": "conversion", "unit": "s", "ours": time.perf_counter() - begin}))
            del params
        begin = time.perf_counter()
        blocks = -(-config.n_ctx // 64)
        model = LiteRTModel(path, 32 * blocks, arguments.threads, arguments.instructions)
        print(json.dumps({"metric": "load", "unit": "s", "ours": time.perf_counter() - begin}))
    clock = Clock(model)
    tables = [list(range(blocks * stream, blocks * (stream + 1))) for stream in range(32)]
    rng = np.random.default_rng(1)

    def decode(context: int, streams: int) -> None:
        model.step([Tokens(tables[s], context, [int(rng.integers(config.n_vocab))], 1) for s in range(streams)])

    def prefill(length: int) -> None:
        model.step([Tokens(tables[0], 0, list(rng.integers(config.n_vocab, size=length)), 1)])

    for table in tables:  # so that all of the cache is there
        model.step([Tokens(table, 0, list(rng.integers(config.n_vocab, size=min(900, config.n_ctx - 1))), 0)])
    cases = {f"context {c}, {s} streams": (lambda c=c, s=s: decode(c, s), s, s * c) for c, s in CASES}
    cases |= {f"prompt {n}": (lambda n=n: prefill(n), n, 0) for n in PROMPTS}
    cases = {name: case for name, case in cases.items() if int(name.split()[1].strip(",")) < config.n_ctx}
    times: dict[str, list[float]] = {}
    shares: dict[str, list[dict[str, float]]] = {}
    for _ in range(arguments.rounds):
        for name, (run, _, _) in cases.items():
            run()
            for _ in range(2 if name.startswith("prompt") else 5):
                clock.seconds.clear()
                times.setdefault(name, []).append(median_time(run, 1))
                shares.setdefault(name, []).append(dict(clock.seconds))
    for name, (_, tokens, cached) in cases.items():
        seconds = statistics.median(times[name])
        parts = {
            key: round(1000 * statistics.median(share.get(key, 0) for share in shares[name]), 2)
            for key in ("embed", "resize", "rows", "products", "attention", "head", "waiting")
            if any(key in share for share in shares[name])
        }
        line = {"bench": "litert", "case": name, "metric": "tokens/s", "ours": round(tokens / seconds, 1)}
        line["ms"], line["best ms"], line["parts in ms"] = 1000 * seconds, 1000 * min(times[name]), parts
        if cached:
            limit = (model.weight_bytes + cached * block_bytes(config, "int8") / 64) / rate
            line["share of the limit"] = round(limit / seconds, 2)
        print(json.dumps(line))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"metric": "peak memory", "unit": "MB", "ours": peak}))


if __name__ == "__main__":
    main()

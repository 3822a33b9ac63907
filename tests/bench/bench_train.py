"""How fast GPT-2 124M trains beside gpt-2-simple, transformers and KerasHub, and beside the machine's own limit.

`python tests/bench/bench_train.py [--peers no] [--rounds 5] [--cases WORDS]`. One JSON object per line. A step is
forward, backward and update. Ours and one peer at a time run in a process each (together they must fit in memory:
about 13 GB), their steps interleaved; each figure is a median. Operations are counted as (6N + 12LCT) x T: full
attention, recomputation not counted. The limit is TensorFlow's best rate of bare matrix products in that precision.
ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 measures as if a CPU had no AMX.
"""

import argparse
import json
import statistics
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from services.gpt2.config import SIZES
from tests.bench.contestant_process import ContestantProcess

WORKER = Path(__file__).with_name("training_contestants.py")
SHAPES = [(1, 1024), (4, 256)]
# Ours, and who is measured beside it.
PEERS = {
    "bfloat16": [("gpt-2-simple", "float32"), ("transformers", "bfloat16"), ("keras-hub", "bfloat16")],
    "float32": [("gpt-2-simple", "float32"), ("transformers", "float32"), ("keras-hub", "float32")],
    "bfloat16, checkpointing": [("gpt-2-simple", "float32")],
}
WARM_STEPS = 2


class Contestant:
    """One process that trains, and what its steps took."""

    def __init__(self, name: str, precision: str, batch: int, context: int, warm_steps: int = WARM_STEPS) -> None:
        self._process = ContestantProcess(str(WORKER), name, precision, str(batch), str(context))
        self.seconds: list[float] = []
        self.processor_seconds: list[float] = []
        self.values: list[float] = []
        for _ in range(warm_steps):
            self._process.turn("step")

    def step(self) -> None:
        """Train one step and note what it took."""
        answer = self._process.turn("step")
        self.seconds.append(answer["seconds"])
        self.processor_seconds.append(answer["processor_seconds"])
        self.values.append(answer["value"])

    def end(self) -> float:
        """Stop it, and return its peak memory in GB."""
        return self._process.end()


def report(case: str, metric: str, unit: str, ours: float, peer: str, theirs: float, ratio: float, **more: Any) -> None:
    """Print one line."""
    line = {"bench": "train", "case": case, "metric": metric, "unit": unit, "ours": ours, "peer": peer}
    line |= {"theirs": theirs, "ratio": ratio, **more}
    rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in line.items()}
    print(json.dumps(rounded), flush=True)


def operations(batch: int, context: int) -> float:
    """Of one step, in floating point operations."""
    config = SIZES["124M"]
    per_token = 6 * config.num_parameters + 12 * config.n_layer * config.n_embd * context
    return float(per_token * batch * context)


def bench_limit(batch: int, context: int, precision: str, rounds: int) -> None:
    """Ours alone, as a fraction of bare matrix products."""
    us = Contestant("ours", precision, batch, context)
    limit = Contestant("products", precision.partition(",")[0], batch, context)
    for _ in range(rounds):
        us.step()
        limit.step()
    limit.end()
    seconds, rate = statistics.median(us.seconds), statistics.median(limit.values)
    peak = us.end()
    speed, possible = batch * context / seconds, rate / operations(batch, context) * batch * context
    report(
        f"{batch} x {context}, {precision}",
        "tokens/s",
        "tokens/s",
        speed,
        "limit",
        possible,
        speed / possible,
        seconds=seconds,
        processor_seconds=statistics.median(us.processor_seconds),
        peak_gb=peak,
        matrix_gflops=rate / 1e9,
    )


def bench_peer(batch: int, context: int, precision: str, peer: tuple[str, str], rounds: int) -> None:
    """Ours beside one peer: speed and memory."""
    name, their_precision = peer
    us, them = Contestant("ours", precision, batch, context), Contestant(name, their_precision, batch, context)
    for _ in range(rounds):
        us.step()
        them.step()
    mine, theirs = statistics.median(us.seconds), statistics.median(them.seconds)
    my_work, their_work = statistics.median(us.processor_seconds), statistics.median(them.processor_seconds)
    my_peak, their_peak = us.end(), them.end()
    case = f"{batch} x {context}, {precision}"
    title = f"{name} {version(name)}, {their_precision}"
    tokens = batch * context
    report(
        case,
        "tokens/s",
        "tokens/s",
        tokens / mine,
        title,
        tokens / theirs,
        theirs / mine,
        seconds=mine,
        their_seconds=theirs,
        processor_seconds=my_work,
        their_processor_seconds=their_work,
        processor_ratio=their_work / my_work,
    )
    report(case, "peak memory", "GB", my_peak, title, their_peak, their_peak / my_peak)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", choices=["yes", "no"], default="yes", help="measure the others beside us")
    parser.add_argument("--rounds", type=int, default=5, help="steps per figure")
    parser.add_argument("--cases", default="", help="only cases that hold these words: '1 x 1024, bfloat16'")
    parser.add_argument("--peer", default="", help="only this peer, or `limit`")
    options = parser.parse_args()
    for batch, context in SHAPES:
        for precision, peers in PEERS.items():
            if options.cases not in f"{batch} x {context}, {precision}":
                continue
            if options.peer in ("", "limit"):
                bench_limit(batch, context, precision, options.rounds)
            for peer in peers if options.peers == "yes" else []:
                if options.peer in ("", peer[0]):
                    bench_peer(batch, context, precision, peer, options.rounds)


if __name__ == "__main__":
    main()

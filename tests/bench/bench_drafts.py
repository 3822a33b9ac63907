"""What drafts from the corpus bring: one stream through gRPC, with them and without, in turns.

`python tests/bench/bench_drafts.py [--rounds 9] [--folder F]`. One JSON object per line. Two generators serve the same
models, one of them without drafts (NONESUCH_GENERATOR_DRAFTS). A round asks both for the same samples, each of them for
one and then the other, in turns first; their texts must be equal. The models are in drafting/models.py; those that are
made are kept in the folder, and made once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from protos import generator_pb2 as pb
from tests.bench.drafting import models
from tests.bench.drafting.generator import Generator
from tests.bench.generation.case import CORES

PATIENCE_S = 600.0
PAUSE_S = 0.2


class Kind(NamedTuple):
    """A model, as the benchmark's lines call it, and what it is asked for in a round."""

    case: str
    model: str
    num_samples: int
    fields: dict[str, Any]


def kinds() -> list[Kind]:
    """Those that are measured. Posts at gpt-2-simple's temperature; the one learned by heart at 1 as well."""
    daring = {"max_new_tokens": 400, "slide": True}
    post = {**daring, "sampling": pb.SamplingParameters(temperature=0.7)}
    text = {"prompt_ids": models.recited()[:2].tolist(), "max_new_tokens": 400, "ignore_end_of_text": True}
    return [
        Kind("overfitted", "heart", 8, post),
        Kind("overfitted, temperature 1", "heart", 8, daring),
        Kind("barely trained", "begun", 16, post),
        Kind("124M, memorised text", "124M", 2, text),
    ]


def ask(generator: Generator, kind: Kind, seed: int) -> tuple[int, float, str]:
    """Tokens behind the first of a sample, the seconds that they took to come, and the text."""
    request = pb.GenerateRequest(model=kind.model, seed=seed, **kind.fields)
    first = last = 0.0
    num_first = num_all = 0
    text = ""
    for delta in generator.stub.GenerateStream(request, timeout=PATIENCE_S):
        if delta.HasField("text"):
            last = time.perf_counter()
            if not first:
                first, num_first = last, len(delta.text.ids)
            num_all += len(delta.text.ids)
            text += delta.text.text
    return num_all - num_first, last - first, text


def measure(kind: Kind, with_drafts: Generator, without: Generator, rounds: int, more: dict[str, float]) -> None:
    """Print the line of a model."""
    rates: dict[Generator, list[float]] = {with_drafts: [], without: []}
    for generator in rates:
        for seed in range(kind.num_samples):
            ask(generator, kind, seed)  # learns what a step takes
    drafted, accepted = with_drafts.num_drafted(kind.model)
    for number in range(1, rounds + 1):
        spent = {generator: [0, 0.0] for generator in rates}
        for sample in range(kind.num_samples):  # in turns: the machine's speed changes within seconds
            told = {}
            for generator in (with_drafts, without) if sample % 2 else (without, with_drafts):
                num_tokens, seconds, told[generator] = ask(generator, kind, 100 * number + sample)
                spent[generator][0] += num_tokens
                spent[generator][1] += seconds
            assert told[with_drafts] == told[without], f"drafts changed a text of {kind.model}, round {number}"
        for generator, (num_tokens, seconds) in spent.items():
            rates[generator].append(num_tokens / seconds if seconds else 0.0)
        time.sleep(PAUSE_S)
    drafted, accepted = (
        after - before for after, before in zip(with_drafts.num_drafted(kind.model), (drafted, accepted), strict=True)
    )
    ours, theirs = (statistics.median(rates[generator]) for generator in (with_drafts, without))
    ratios = [a / b for a, b in zip(rates[with_drafts], rates[without], strict=True)]
    line = {
        **{
            "bench": "drafts",
            "case": kind.case,
            "metric": "decode tokens/s",
            "unit": "tokens/s",
            "ours": round(ours, 1),
        },
        **{"peer": "without drafts", "theirs": round(theirs, 1), "ratio": round(statistics.median(ratios), 3)},
        **{"drafted": int(drafted), "accepted": int(accepted), "acceptance": round(accepted / max(1, drafted), 3)},
        **{"rounds": rounds, "least_ratio": round(min(ratios), 3), "greatest_ratio": round(max(ratios), 3), **more},
    }
    print(json.dumps(line), flush=True)


def break_even(folder: Path, model: str, case: str) -> None:
    """Print how likely each id of a draft must be for the draft to pay, from what steps of the engine take."""
    from services.generator.engine import Chunk
    from services.litert.model import LiteRTModel

    path = models.engine(folder, model)
    sizes = (1, 2, 5, 9)
    engine = LiteRTModel(path, 8, CORES)
    blocks = tuple(range(8))
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(60):
        for size in sizes:
            chunk = Chunk(ids=[1] * size, start=200, blocks=blocks, num_logits=size)
            begun = time.perf_counter()
            engine.step([chunk])
            seconds[size].append(time.perf_counter() - begun)
    step = {size: statistics.median(values[10:]) for size, values in seconds.items()}
    least = {}
    for size in sizes[1:]:
        # Of a draft of `num` ids, each as likely, 1 + p + p**2 + ... tokens come in a step.
        num, low, high = size - 1, 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            gained = sum(middle**k for k in range(num + 1))
            low, high = (middle, high) if gained / step[size] < 1 / step[1] else (low, middle)
        least[f"draft_of_{num}"] = round(high, 3)
    times = {f"step_of_{size}_ms": round(1e3 * value, 3) for size, value in step.items()}
    print(
        json.dumps({"bench": "drafts", "case": case, "metric": "break-even", "unit": "probability", **least, **times}),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where the models are, or are put  [default: a new one]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        losses = {"heart": models.train(folder, "heart", models.HEART_STEPS)}
        losses["begun"] = models.train(folder, "begun", models.BEGUN_STEPS)
        models.make(folder)
        with Generator(folder, drafts=True) as with_drafts, Generator(folder, drafts=False) as without:
            for generator in (with_drafts, without):  # one may convert or compile first
                for kind in kinds():
                    generator.load(kind.model)
            for kind in kinds():
                measure(kind, with_drafts, without, options.rounds, losses.get(kind.model, {}))
        for kind in {kind.model: kind for kind in reversed(kinds())}.values():
            break_even(folder, kind.model, kind.case)


if __name__ == "__main__":
    main()

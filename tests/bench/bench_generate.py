"""How fast GPT-2 124M writes here, beside the programs that one would take instead and the machine's own limit.

`python tests/bench/bench_generate.py [--peers no] [--cases WORDS] [--rounds 3] [--folder DIR]`. One JSON object per
line; progress and the settings that were tried go to standard error. Everyone has the same random weights, prompts of
random tokens, temperature 1 and top_k 40, and never stops early. Of a case all contestants are loaded, a process each
(about 8 GB together), and take turns; each figure is a median. Peers run at the best settings of a short search, for
decoding and for prefill separately. With --folder the models and the settings found are kept for the next call.

Ours twice: `prompt 224, 8 streams` is the engine with sampling, `prompt 224, 8 streams, over gRPC` the service.
Decoding is what the tokens after the first take while all streams write; prefill lasts until the last stream has its
first token. The limit is reading the weights and what is cached once per step, at the rate at which all cores together
read that many bytes.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.contestant_process import ContestantProcess
from tests.bench.generation import files
from tests.bench.generation.case import Case, Outcome, Settings
from tests.bench.generation.worker import module_of, title_of

PROMPTS = (16, 224, 900)
STREAMS = (1, 8, 32)
NEW = {1: 64, 8: 64, 32: 32}  # tokens decoded per stream, by the number of streams
SEARCH_NEW = 16
SEARCH_RUNS, SEARCH_SECONDS = 5, 6.0  # of each candidate at most
OURS = ("engine", "service")
EVERYWHERE = ("llama.cpp", "ctranslate2")
# In the cases that people run them on.
SOMEWHERE = ("transformers", "transformers-bfloat16", "gpt-2-simple", "keras-hub")


def say(words: str) -> None:
    """Tell how far we are."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


class Running:
    """A contestant's process, and what its runs came to."""

    def __init__(self, name: str, folder: Path, case: Case, settings: Settings) -> None:
        words = [name, str(folder), json.dumps(asdict(case)), json.dumps(settings)]
        self._process = ContestantProcess("-m", "tests.bench.generation.worker", *words)
        self.name, self.settings = name, settings
        self.outcomes: list[Outcome] = []

    def run(self, number: int) -> None:
        """Run the case on the prompts of that number."""
        self.outcomes.append(Outcome(**self._process.turn(str(number))))

    def median(self, field: str) -> float:
        """Of one number of the outcomes."""
        return statistics.median(getattr(outcome, field) for outcome in self.outcomes)

    def rates(self, case: Case) -> tuple[float, float]:
        """Tokens decoded and prompt tokens read per second."""
        tokens = case.streams * case.new, case.streams * case.prompt
        return tokens[0] / self.median("decode_s"), tokens[1] / self.median("prefill_s")

    def end(self) -> float:
        """Stop it, and return its peak memory in GB."""
        return self._process.end()


def report(case: str, metric: str, unit: str, ours: float | None, peer: str, theirs: float, **more: Any) -> None:
    """Print one line; `ratio` is above 1 where ours is better, and a fraction against the limit."""
    ratio = None
    if ours:
        ratio = ours / theirs if unit == "tokens/s" else theirs / ours
    line = {"bench": "generate", "case": case, "metric": metric, "unit": unit, "ours": ours, "peer": peer}
    line |= {"theirs": theirs, "ratio": ratio, **more}
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in line.items()}
    print(json.dumps(rounded), flush=True)


def peers_of(case: Case) -> tuple[str, ...]:
    """Who is measured in a case."""
    return EVERYWHERE + (SOMEWHERE if case.prompt < 900 and case.streams < 32 else ())


def search(name: str, folder: Path, case: Case) -> dict[str, Settings]:
    """The settings with which a contestant decodes fastest, and those with which it reads prompts fastest.

    Every candidate runs a few times; what was found is kept in the folder.
    """
    kept = folder / "settings.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    key = f"{name}, {case.title}"
    if key not in known:
        candidates = module_of(name).candidates(case)
        tried = [(candidates[0], 0.0, 0.0)]
        if len(candidates) > 1:
            tried = [(settings, *_try(name, folder, case, settings)) for settings in candidates]
        known[key] = {
            "decode": max(tried, key=lambda each: each[1])[0],
            "prefill": max(tried, key=lambda each: each[2])[0],
        }
        kept.write_text(json.dumps(known, indent=1))
    return known[key]


def _try(name: str, folder: Path, case: Case, settings: Settings) -> tuple[float, float]:
    """Tokens decoded and read per second with these settings, in a few seconds."""
    case = Case(case.prompt, case.streams, SEARCH_NEW)
    running = Running(name, folder, case, settings)
    begun = time.monotonic()
    while not running.outcomes or (len(running.outcomes) < SEARCH_RUNS and time.monotonic() - begun < SEARCH_SECONDS):
        running.run(1 + len(running.outcomes))
    running.end()
    decode, prefill = running.rates(case)
    say(f"{name}, {case.title}: {settings}: decodes {decode:.0f} tokens/s, reads {prefill:.0f} tokens/s")
    return decode, prefill


class Entrant:
    """A contestant of a case: one process at its best settings, or two where decoding and prefill want others."""

    def __init__(self, name: str, folder: Path, case: Case) -> None:
        settings = search(name, folder, case)
        self.name, self.title = name, title_of(name)
        self._case = case
        self.decoding = Running(name, folder, case, settings["decode"])
        alike = settings["decode"] == settings["prefill"]
        self.reading = (
            self.decoding if alike else Running(name, folder, Case(case.prompt, case.streams, 1), settings["prefill"])
        )

    def run(self, number: int) -> None:
        """Take a turn."""
        self.decoding.run(number)
        if self.reading is not self.decoding:
            self.reading.run(number)

    def figures(self) -> list[tuple[str, str, float, Settings]]:
        """Stop, and return metric, unit, value and settings of each."""
        case, decoding, reading = self._case, self.decoding, self.reading
        decode, prefill = decoding.rates(case)[0], reading.rates(case)[1]
        peak = decoding.end()
        if reading is not decoding:
            reading.end()
        return [
            ("decode tokens/s", "tokens/s", decode, decoding.settings),
            ("prefill tokens/s", "tokens/s", prefill, reading.settings),
            ("time to first token", "s", reading.median("first_s"), reading.settings),
            ("peak memory", "GB", peak, decoding.settings),
        ]


def step_bytes(case: Case) -> int:
    """What a step of ours reads: each int8 weight once, and what is cached of each stream half-way through.

    The output layer is the embedding, of which nothing is read besides; of the positions a row per stream. The cache
    holds keys and values in int8 and a float32 scale of each, per head.
    """
    config = files.CONFIG
    weights = config.num_parameters - config.n_ctx * config.n_embd
    per_position = 2 * config.n_layer * (config.n_embd + 4 * config.n_head)
    return weights + case.streams * (case.prompt + 1 + case.new // 2) * per_position


def bench(case: Case, folder: Path, names: tuple[str, ...], rounds: int) -> None:
    """Measure one case and print its lines."""
    say(f"{case.title}: loading {', '.join(names)}")
    entrants = [Entrant(name, folder, case) for name in names]
    limit = Running("reading", folder, case, {"bytes": step_bytes(case)})
    for number in range(1, rounds + 1):
        for entrant in entrants:
            entrant.run(number)
        limit.run(number)
        say(f"{case.title}: round {number} of {rounds} done")
    rate = step_bytes(case) / limit.median("decode_s")
    possible = case.streams * rate / step_bytes(case)
    limit.end()
    found = {entrant.name: entrant.figures() for entrant in entrants}
    titles = {entrant.name: entrant.title for entrant in entrants}
    ours = {name: f"{case.title}, over gRPC" if name == "service" else case.title for name in OURS if name in found}
    for mine, title in ours.items() or [("", case.title)]:
        values = {metric: value for metric, _, value, _ in found.get(mine, ())}
        decode = values.get("decode tokens/s")
        report(title, "decode tokens/s", "tokens/s", decode, "limit", possible, read_gb_s=rate / 1e9)
        for name, figures in found.items():
            if name == mine or name == "service":
                continue
            for metric, unit, theirs, settings in figures:
                report(title, metric, unit, values.get(metric), titles[name], theirs, settings=settings)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", choices=["yes", "no"], default="yes", help="measure the others beside us")
    parser.add_argument("--rounds", type=int, default=3, help="runs per figure")
    parser.add_argument("--cases", default="", help="only cases that hold these words: 'prompt 224, 8 streams'")
    parser.add_argument("--only", default="", help="only these of us and the peers: 'engine,llama.cpp'")
    parser.add_argument("--new", type=int, help="tokens that each stream decodes; by default 64, or 32 of 32 streams")
    parser.add_argument("--folder", type=Path, help="where models and settings are kept; by default nowhere")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-generate-") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for streams in STREAMS:
            for prompt in PROMPTS:
                case = Case(prompt, streams, options.new or NEW[streams])
                if options.cases not in case.title:
                    continue
                names = OURS + (peers_of(case) if options.peers == "yes" else ())
                names = tuple(name for name in names if not options.only or name in options.only.split(","))
                for kind in {module_of(name).FILES for name in names}:
                    files.write(folder, kind)
                bench(case, folder, names, options.rounds)


if __name__ == "__main__":
    main()

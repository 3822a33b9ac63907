"""What the tokenizer does in a second: datasets against tiktoken on one thread, memory, and short calls.

`python tests/bench/bench_tokenizer.py [--large-mb 1000] [--peers no]`. One JSON object per line; ours and the peer's
rounds are interleaved, and each figure is a median. The vocabulary is GPT-2's; documents come from a stand-in stream
of paragraphs of the sample blog. Building a dataset holds everything: header, encoding, writing, hashes.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import grpc
import tiktoken
from tiktoken_ext.openai_public import r50k_pat_str

from protos import tokenizer_pb2, tokenizer_pb2_grpc
from services.tokenizer.building import Order, build_dataset
from services.tokenizer.datasets import Datasets
from services.tokenizer.documents import Document, Snapshot, text_for_model
from services.tokenizer.vocabularies import Vocabularies
from services.tokens.header import HEADER_V1
from services.tokens.vocabulary import Vocabulary
from tests.e2e.system import ROOT, SAMPLE_BLOG, free_port
from tests.gpt2_files import gpt2_folder

ROUNDS = 5
ROUND_MB = 100
PROCESSES = 2
CALLS = 1000
WARM_CALLS = 200
WORDS = 800
SHORT = "The ferry left at noon, and nobody was on it."


@cache
def texts_of_posts() -> list[str]:
    """Five hundred posts of about 800 words, made once: a stand-in stream should cost nothing."""
    source = "\n\n".join(path.read_text(encoding="utf-8") for path in sorted(SAMPLE_BLOG.rglob("*.md")))
    paragraphs = [text for text in re.split(r"\n\n+", source) if len(text) > 150]
    chance = random.Random(1)
    texts = []
    for _ in range(500):
        chosen: list[str] = []
        while sum(len(text.split()) for text in chosen) < WORDS:
            chosen.append(chance.choice(paragraphs))
        texts.append("\n\n".join(chosen))
    return texts


def documents(num_mb: float) -> Iterator[Document]:
    """A stream of so many megabytes of posts."""
    texts = texts_of_posts()
    sizes = [len(text.encode()) for text in texts]
    size, number = 0, 0
    while size < num_mb * 1e6:
        which = number % len(texts)
        size += sizes[which]
        path = f"{number:08}.md"
        yield Document(f"blog/{path}", path, f"Post {number}", ("tea",), "2024-01-02", texts[which])
        number += 1


class Memory:
    """The proportional share of memory of this process and its children, looked at while a block runs."""

    def __enter__(self) -> "Memory":
        self.samples: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def peak_mb(self) -> float:
        """The largest sum."""
        return max(self.samples)

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self.samples.append(sum(map(pss_mb, family(os.getpid()))))


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(int(child) for file in children for child in file.read_text().split())]


def pss_mb(pid: int) -> float:
    """The proportional set size of a process; 0 when it is gone."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1]) / 1024


def report(
    case: str, metric: str, unit: str, ours: float, peer: str, theirs: float, ratio: float, **more: float
) -> None:
    """Print one line."""
    line = {"bench": "tokenizer", "case": case, "metric": metric, "unit": unit, "ours": ours, "peer": peer}
    line |= {"theirs": theirs, "ratio": ratio, **more}
    rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in line.items()}
    print(json.dumps(rounded), flush=True)


def processor_seconds() -> float:
    """Processor time of this process and of the children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Rates:
    """Megabytes per second and per second of processor time, a round at a time."""

    def __init__(self) -> None:
        self.speeds: list[float] = []
        self.per_processor: list[float] = []

    def note(self, work: Callable[[], float]) -> None:
        """Time `work`, which returns the megabytes it did."""
        begun, used = time.perf_counter(), processor_seconds()
        num_mb = work()
        self.speeds.append(num_mb / (time.perf_counter() - begun))
        self.per_processor.append(num_mb / (processor_seconds() - used))


def build(data: Path, num_mb: float, number: int) -> float:
    """Build a dataset of so many megabytes, delete it, and return the megabytes that it held."""
    vocabularies, datasets = Vocabularies(data), Datasets(data)
    digest = Vocabulary.load(data / "base" / "124M").digest
    order = Order(snapshot=Snapshot("blog", f"{number:064}", 1), vocabulary="124M", vocabulary_digest=digest)
    dataset = build_dataset(order, lambda: documents(num_mb), vocabularies, datasets, num_processes=PROCESSES)
    datasets.delete(dataset.manifest["id"])
    return int(dataset.documents["num_bytes"].sum()) / 1e6


def bench_building(data: Path, *, with_peer: bool) -> None:
    """Against a loop of `encode_ordinary` on the same documents: by the clock, and by processor time.

    The second is what the first comes to when nothing else runs: twice as much on two cores.
    """
    vocabulary = Vocabulary.load(gpt2_folder())
    peer = tiktoken.Encoding(
        "gpt2",
        pat_str=r50k_pat_str,
        mergeable_ranks=vocabulary.ranks,
        special_tokens=vocabulary.specials,
    )
    texts = [text_for_model(document, HEADER_V1) for document in documents(ROUND_MB)]
    texts_mb = sum(len(text.encode()) for text in texts) / 1e6

    def encode_alone() -> float:
        for text in texts:
            peer.encode_ordinary(text)
        return texts_mb

    ours, theirs = Rates(), Rates()
    for number in range(ROUNDS):
        if with_peer:
            theirs.note(encode_alone)
        ours.note(lambda number=number: build(data, ROUND_MB, number))
    case = f"dataset of {ROUND_MB} MB, {PROCESSES} processes"
    name = f"tiktoken {version('tiktoken')}, one thread, encoding alone" if with_peer else "none"
    for metric, unit, mine, other in (
        ("text encoded and written", "MB/s", ours.speeds, theirs.speeds),
        ("text per processor time", "MB/s of one core", ours.per_processor, theirs.per_processor),
    ):
        speed = statistics.median(mine)
        limit = statistics.median(other) if other else 0.0
        report(case, metric, unit, speed, name, limit, speed / limit if limit else 0.0)


def bench_memory(data: Path, large_mb: int) -> None:
    """The largest sum of shares while a tenth of the megabytes, and then all of them, are built."""
    peaks: list[float] = []
    speed = 0.0
    for num_mb in (large_mb // 10, large_mb):
        begun = time.perf_counter()
        with Memory() as memory:
            done = build(data, num_mb, num_mb)
        speed = done / (time.perf_counter() - begun)
        peaks.append(memory.peak_mb)
    small, large = peaks
    report(
        f"dataset of {large_mb} MB, {PROCESSES} processes",
        "peak memory",
        "MB",
        large,
        "limit: a tenth's and 60 MB",
        small + 60,
        (small + 60) / large,
        growth=large - small,
        of_a_tenth=small,
        mb_per_s=speed,
    )


def bench_calls(data: Path) -> None:
    """Milliseconds of short unary calls on a warm channel, against the limit of one."""
    port = free_port()
    environ = {
        **os.environ,
        "NONESUCH_DATA": str(data),
        "NONESUCH_LOG_LEVEL": "warning",
        "NONESUCH_TOKENIZER_LISTEN": f"127.0.0.1:{port}",
        "NONESUCH_TOKENIZER_METRICS_LISTEN": "127.0.0.1:0",
    }
    command = [sys.executable, "-m", "services.tokenizer"]
    service = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert service.stdout is not None
        service.stdout.readline()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = tokenizer_pb2_grpc.TokenizerServiceStub(channel)
            encode = tokenizer_pb2.EncodeRequest(vocabulary="124M", text=SHORT)
            count = tokenizer_pb2.CountTokensRequest(vocabulary="124M", text=SHORT)
            for name, call in (
                ("Encode", lambda: stub.Encode(encode)),
                ("CountTokens", lambda: stub.CountTokens(count)),
            ):
                taken = [milliseconds(call) for _ in range(CALLS + WARM_CALLS)][WARM_CALLS:]
                median = statistics.median(taken)
                p99 = statistics.quantiles(taken, n=100)[98]
                case = f"{name}, one short text over gRPC"
                report(case, "median latency", "ms", median, "limit", 1.0, 1.0 / median, p99=p99)
    finally:
        service.terminate()
        service.wait()


def milliseconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    begun = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begun)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large-mb", type=int, default=1000, help="megabytes of the large corpus")
    parser.add_argument("--peers", choices=["yes", "no"], default="yes", help="measure tiktoken beside us")
    options = parser.parse_args()
    texts_of_posts()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        base = data / "base" / "124M"
        base.mkdir(parents=True)
        for name in ("encoder.json", "vocab.bpe"):
            shutil.copyfile(gpt2_folder() / name, base / name)
        bench_calls(data)
        bench_building(data, with_peer=options.peers == "yes")
        bench_memory(data, options.large_mb)


if __name__ == "__main__":
    main()

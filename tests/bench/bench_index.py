"""What the index of a corpus costs: sorting it, its size, asking it, and measuring a sample with it.

`python tests/bench/bench_index.py [--tokens 10000000] [--rounds 3]`. One JSON object per line. The corpus is
synthetic: words of one to four tokens drawn by Zipf's law in documents of about 800 tokens, of which a twentieth quotes
another. Questions are runs of 12 tokens, half of them from the corpus.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from services.tokens.corpus_index import CorpusIndex
from services.tokens.dataset import DOCUMENT_TYPE
from services.tokens.index_files import SUFFIXES_FILE, write_index

END = 50256
WORDS, DOCUMENT, RUN, QUESTIONS, SAMPLE = 30_000, 800, 12, 2000, 256
QUOTED = 0.05  # of the documents


def write_corpus(folder: Path, num_tokens: int) -> None:
    """Write tokens and documents, as a dataset's folder has them."""
    rng = np.random.default_rng(1)
    words = [rng.integers(0, END, size=rng.integers(1, 5)) for _ in range(WORDS)]
    lengths = np.array([len(word) for word in words])
    flat, begins = np.concatenate(words), np.concatenate([[0], np.cumsum(lengths)[:-1]])
    weights = 1 / np.arange(1, WORDS + 1)
    drawn = rng.choice(WORDS, size=num_tokens, p=weights / weights.sum())
    counts = lengths[drawn]
    drawn = drawn[: np.searchsorted(np.cumsum(counts), num_tokens) + 1]
    counts = lengths[drawn]
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    tokens = flat[np.repeat(begins[drawn], counts) + offsets][:num_tokens].astype(np.uint16)
    ends = np.append(np.arange(DOCUMENT, num_tokens, DOCUMENT), num_tokens)
    for end in rng.choice(ends[1:-1], size=int(QUOTED * len(ends)), replace=False):
        source = rng.integers(0, num_tokens - DOCUMENT)
        tokens[end - DOCUMENT // 2 : end] = tokens[source : source + DOCUMENT // 2]
    tokens[ends - 1] = END
    documents = np.zeros(len(ends), DOCUMENT_TYPE)
    documents["end"], documents["start"][1:] = ends, ends[:-1]
    np.save(folder / "tokens.npy", tokens)
    np.save(folder / "documents.npy", documents)


def report(case: str, metric: str, unit: str, ours: float, **more: float) -> None:
    """Print one line."""
    values = {name: round(value, 4) for name, value in more.items()}
    print(
        json.dumps({"bench": "index", "case": case, "metric": metric, "unit": unit, "ours": round(ours, 4), **values})
    )


def seconds(work: Callable[[], object]) -> float:
    """What one call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def ask(index: CorpusIndex, run: np.ndarray) -> None:
    """How often, in which documents, and what follows."""
    found = index.find(run)
    if found.num_places:
        index.places(found)
        index.followers(found)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    case = f"{options.tokens} tokens"
    with tempfile.TemporaryDirectory(prefix="bench-index-") as temporary:
        folder = Path(temporary)
        write_corpus(folder, options.tokens)
        took = [seconds(lambda: write_index(folder)) for _ in range(options.rounds)]
        report(case, "sorting", "s", statistics.median(took), slowest=max(took))
        size = (folder / "tokens.npy").stat().st_size + (folder / SUFFIXES_FILE).stat().st_size
        report(case, "size, tokens included", "bytes/token", size / options.tokens)
        report(case, "opening", "s", seconds(lambda: CorpusIndex.open(folder, END)))
        index = CorpusIndex.open(folder, END)
        rng = np.random.default_rng(2)
        starts = rng.integers(0, options.tokens - SAMPLE, size=QUESTIONS)
        runs = [index.tokens[start : start + RUN].astype(np.int64) for start in starts]
        for run in runs[::2]:
            run[rng.integers(RUN // 2, RUN)] = rng.integers(END)  # stands nowhere, most likely
        for run in runs[:100]:
            ask(index, run)
        took = [seconds(lambda run=run: ask(index, run)) for run in runs]  # type: ignore[misc]
        micro = sorted(1e6 * each for each in took)
        report(
            case, "asking: how often, where, what follows", "us", statistics.median(micro), p99=micro[-QUESTIONS // 100]
        )
        samples = [index.tokens[start : start + SAMPLE].astype(np.int64) for start in starts[:200]]
        for sample in samples:
            sample[:: rng.integers(5, 40)] = rng.integers(END)
        took = [1e3 * seconds(lambda sample=sample: index.runs(sample)) for sample in samples]  # type: ignore[misc]
        report(case, f"all runs of a sample of {SAMPLE} tokens", "ms", statistics.median(took), slowest=max(took))


if __name__ == "__main__":
    main()

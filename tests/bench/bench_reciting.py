"""What keeping a model from reciting does and costs, on a model that knows the sample blog by heart.

`python tests/bench/bench_reciting.py [--samples 200] [--posts 50] [--rounds 9] [--folder F]`. One JSON object per line:
the longest run of samples with `max_verbatim_tokens` and without, found by a search that knows no index; tokens per
second with it and without, in turns; and whether whole posts parse as Markdown with front matter. The models are those
of bench_drafts.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import markdown
import numpy as np
import yaml

from protos import generator_pb2 as pb
from services.tokens.codec import Codec
from services.tokens.originality import counted_tokens, token_edges
from services.tokens.vocabulary import Vocabulary
from tests.bench.drafting import models
from tests.bench.drafting.generator import Generator

LIMIT = 12
TIMEOUT_S = 600.0


def report(case: str, metric: str, **values: Any) -> None:
    """Print one line."""
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}
    print(json.dumps({"bench": "reciting", "case": case, "metric": metric, **rounded}), flush=True)


def longest_run(text: str, corpus: str, codec: Codec) -> int:
    """Tokens of the longest run that a text, encoded anew, has from a corpus; field names do not count.

    Args:
        corpus: a character for each token; no sample holds that of end-of-text, where a document ends.
    """
    ids = codec.encode(text)
    counts = np.concatenate([[0], np.cumsum(counted_tokens(text, token_edges(ids, codec)))])
    spelled = "".join(map(chr, ids))
    longest = end = 0
    for start in range(len(ids)):
        end = max(end, start)
        while end < len(ids) and spelled[start : end + 1] in corpus:
            end += 1
        longest = max(longest, int(counts[end] - counts[start]))
    return longest


def samples(generator: Generator, num: int, folder: Path) -> None:
    """Look into samples for the runs that they must not hold."""
    version = folder / "data" / "models" / "heart" / "1"
    codec = Codec(Vocabulary.load(version))
    end, tokens = codec.vocabulary.end_of_text_id, np.load(version / "index" / "tokens.npy").tolist()
    corpus = "".join(map(chr, tokens))
    words = set(codec.decode([token_id for token_id in tokens if token_id != end]).split())
    for most in (None, LIMIT):
        longest, known, shares = [], [], []
        for first in range(0, num, 8):
            request = pb.GenerateRequest(
                **{"model": "heart", "n": min(8, num - first), "seed": first, "max_new_tokens": 300},
                **{"max_verbatim_tokens": most, "originality": True},
            )
            for sample in generator.stub.Generate(request, timeout=TIMEOUT_S).samples:
                run = longest_run(sample.text, corpus, codec)
                assert run == sample.originality.longest_run_tokens, "the service measures otherwise"
                longest.append(run)
                shares.append(sample.originality.verbatim_share)
                written = sample.text.split()
                known.append(sum(word in words for word in written) / max(1, len(written)))
        assert most is None or max(longest) <= most, f"a sample holds a run of {max(longest)} tokens"
        report(
            f"{num} samples, {'no limit' if most is None else f'limit {most}'}",
            "longest run",
            unit="tokens",
            ours=max(longest),
            median=statistics.median(longest),
            verbatim_share=statistics.fmean(shares),
            known_words=statistics.median(known),  # of the blog's own
        )


def cost(generator: Generator, model: str, case: str, rounds: int) -> None:
    """Time writing with the limit and without, a token at a time in both."""
    request = {"model": model, "max_new_tokens": 300, "ignore_end_of_text": True}
    rates: dict[int | None, list[float]] = {None: [], LIMIT: []}
    generator.load(model)
    for number in range(rounds + 1):
        for most in list(rates) if number % 2 else list(reversed(rates)):
            asked = pb.GenerateRequest(**request, seed=number, max_verbatim_tokens=most)
            answer = generator.stub.Generate(asked, timeout=TIMEOUT_S)
            if number:  # the first is warming
                rates[most].append(1e9 / max(1, answer.timings.per_token.ToNanoseconds()))
            time.sleep(0.1)
    ratios = [limited / free for limited, free in zip(rates[LIMIT], rates[None], strict=True)]
    report(
        case,
        "decode tokens/s",
        unit="tokens/s",
        ours=statistics.median(rates[LIMIT]),
        peer="without a limit",
        theirs=statistics.median(rates[None]),
        ratio=statistics.median(ratios),
    )


def posts(generator: Generator, num: int) -> None:
    """Whole posts: each must parse, and say what wrote it."""
    words, ends = [], 0
    for seed in range(num):
        request = pb.GeneratePostRequest(model="heart", seed=seed, max_new_tokens=600, max_verbatim_tokens=LIMIT)
        post = generator.stub.GeneratePost(request, timeout=TIMEOUT_S)
        _, front, body = post.markdown.split("---\n", 2)
        fields = yaml.safe_load(front)
        assert fields["title"] == post.title and fields["generated_by"] == "Nonesuch heart@1", fields
        assert [str(tag) for tag in fields.get("tags", [])] == list(post.tags), fields
        assert str(fields.get("date", "")) == post.date, fields
        assert "<p>" in markdown.markdown(body) and body.strip() == post.body.strip()
        assert post.path.endswith(".md")
        words.append(len(post.body.split()))
        ends += post.finish_reason == pb.FINISH_REASON_END_OF_TEXT
    report(f"{num} posts", "parsed", unit="posts", ours=num, ended=ends, median_words=statistics.median(words))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--posts", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where the models are, or are put  [default: a new one]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        models.train(folder, "heart", models.HEART_STEPS)
        models.make(folder)
        with Generator(folder, drafts=True) as generator:
            generator.load("heart")
            samples(generator, options.samples, folder)
            posts(generator, options.posts)
        with Generator(folder, drafts=False) as generator:  # that a draft is refused would be measured too
            cost(generator, "heart", "mini", options.rounds)
            cost(generator, "124M", "124M", options.rounds)


if __name__ == "__main__":
    main()

"""How much of a text stands in the corpus word for word, and where.

In: a text, and the index of the corpus that a model learned. Out: the runs that it shares with the corpus, in tokens
and characters, and the places that they could come from. The text is encoded canonically, whatever tokens it was
written with. The names of a header's fields ("title: ") are the corpus's form and nobody's words: they do not count.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.tokens.codec import Codec
from services.tokens.corpus_index import CorpusIndex, Place
from services.tokens.header import name_spans

MIN_RUN_TOKENS = 12  # shorter runs are what a language is made of


@dataclass(frozen=True, slots=True)
class VerbatimRun:
    """A piece of the text that stands in the corpus and cannot be made longer.

    Attributes:
        start, end: in characters of the text; a character that lies in it in part counts to it.
        num_tokens: its length, field names not counted.
        num_ids: its length, all of them counted.
        num_places: how often it stands in the corpus.
        place: one of them, the first in the corpus of those that were looked at.
    """

    start: int
    end: int
    num_tokens: int
    num_ids: int
    num_places: int
    place: Place


@dataclass(frozen=True, slots=True)
class Originality:
    """What a text has from the corpus.

    Attributes:
        verbatim_share: part of its tokens inside `runs`, 0 to 1.
        longest_run: tokens of the longest run, also where that is below `min_run`.
        min_run: the shortest run that counts, in tokens.
        runs: in order; they may overlap.
        nearest: the document with most tokens in runs, by number; None: there are no runs.
        num_tokens: of the text, field names not counted.
    """

    verbatim_share: float
    longest_run: int
    min_run: int
    runs: tuple[VerbatimRun, ...]
    nearest: int | None
    num_tokens: int


def measure(text: str, codec: Codec, index: CorpusIndex, min_run: int = MIN_RUN_TOKENS) -> Originality:
    """Compare a text with the corpus.

    Args:
        text: one document, or a piece of one.
        min_run: tokens of the shortest run that counts, at least 1.
    """
    ids = codec.encode(text)
    edges = token_edges(ids, codec)  # [n + 1]
    counts = counted_tokens(text, edges)  # [n]
    before = np.concatenate([[0], np.cumsum(counts)])  # tokens that count, before each
    inside = np.zeros(len(ids), np.bool_)
    longest, runs, shared = 0, [], Counter[int]()
    for run in index.runs(ids):
        length = int(before[run.start + run.length] - before[run.start])
        longest = max(longest, length)
        if length < min_run:
            continue
        inside[run.start : run.start + run.length] = True
        places = index.places(run.found)
        shared.update({place.document: length for place in places})
        start, end = int(edges[run.start]), int(edges[run.start + run.length])
        runs.append(VerbatimRun(start, end, length, run.length, run.found.num_places, min(places)))
    return Originality(
        verbatim_share=float((inside & counts).sum() / max(1, counts.sum())),
        longest_run=longest,
        min_run=min_run,
        runs=tuple(runs),
        nearest=shared.most_common(1)[0][0] if shared else None,
        num_tokens=int(counts.sum()),
    )


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A document's text around a run.

    Attributes:
        start, end: of the run in `text`, in characters.
        post_start: where the run begins in the document, in characters.
    """

    text: str
    start: int
    end: int
    post_start: int


def excerpt(place: Place, num_ids: int, codec: Codec, index: CorpusIndex, around: int = 40) -> Excerpt:
    """What stands around a run of so many ids, in its document.

    Args:
        around: tokens before and after.
    """
    begin = int(index.ends[place.document - 1]) if place.document else 0
    last = int(index.ends[place.document]) - 1  # without end-of-text
    start = begin + place.position
    shown = max(begin, start - around)

    def text(first: int, end: int) -> str:
        return codec.decode_bytes(index.tokens[first:end].tolist()).decode("utf-8", "ignore")

    return Excerpt(
        text=text(shown, min(last, start + num_ids + around)),
        start=len(text(shown, start)),
        end=len(text(shown, start + num_ids)),
        post_start=len(text(begin, start)),
    )


def token_edges(ids: list[int], codec: Codec) -> NDArray[np.int64]:
    """Where each token begins, and the end, in characters begun before it."""
    lengths = [len(codec.decode_bytes([token_id])) for token_id in ids]
    data = np.frombuffer(codec.decode_bytes(ids), np.uint8)
    begun = np.concatenate([[0], np.cumsum((data & 0xC0) != 0x80)])  # by byte: a character's first is no 10xxxxxx
    edges: NDArray[np.int64] = begun[np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])]
    return edges


def counted_tokens(text: str, edges: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which tokens of a document, or of its begin, count: all that do not lie in a field's name.

    Args:
        edges: [n + 1], see token_edges.
    """
    counts = np.ones(len(edges) - 1, np.bool_)
    for start, end in name_spans(text):
        counts &= ~((edges[:-1] >= start) & (edges[1:] <= end))
    return counts

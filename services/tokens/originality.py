"""How much of a text stands in the corpus word for word, and where.

In: a text, and the index of the corpus that a model learned. Out: the runs that it shares with the corpus, in tokens
and characters, and the places that they could come from. The text is encoded canonically, whatever tokens it was
written with. The names of a header's fields ("title: ") are the corpus's form and nobody's words: they do not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.tokens.codec import Codec
from services.tokens.corpus_index import CorpusIndex, Place
from services.tokens.header import name_spans

MIN_RUN_TOKENS = 12  # shorter runs are what a language is made of
MOST_PLACES = 10_000  # of a run: what stands in more of them tells little about where a text is from


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
        nearest: the document with most tokens in runs, each counted once; by number. None: there are no runs.
        num_tokens: of the text, field names not counted.
    """

    verbatim_share: float
    longest_run: int
    min_run: int
    runs: tuple[VerbatimRun, ...]
    nearest: int | None
    num_tokens: int


def measure(
    text: str, codec: Codec, index: CorpusIndex, min_run: int = MIN_RUN_TOKENS, *, before: str = ""
) -> Originality:
    """Compare a text with the corpus.

    Args:
        text: one document, or a piece of one.
        min_run: tokens of the shortest run that counts, at least 1.
        before: what stands before it in its document, such as a prompt: not compared, but it may have begun a header.
    """
    ids = codec.encode(text)
    edges = token_edges(ids, codec)  # [n + 1]
    counts = counted_tokens(text, edges, before)  # [n]
    counted = np.concatenate([[0], np.cumsum(counts)])  # tokens that count, before each
    inside = np.zeros(len(ids), np.bool_)
    longest, runs, holders = 0, [], []
    for run in index.runs(ids):
        first, last = run.start, run.start + run.length
        length = int(counted[last] - counted[first])
        longest = max(longest, length)
        if length < min_run:
            continue
        inside[first:last] = True
        positions = index.positions(run.found, MOST_PLACES)
        holders.append((first, last, np.unique(index.documents(positions))))
        start, end = whole_characters(edges, first, last)
        place = index.place(int(positions.min()))
        runs.append(VerbatimRun(start, end, length, run.length, run.found.num_places, place))
    return Originality(
        verbatim_share=float((inside & counts).sum() / max(1, counts.sum())),
        longest_run=longest,
        min_run=min_run,
        runs=tuple(runs),
        nearest=_nearest(holders, counted) if holders else None,
        num_tokens=int(counts.sum()),
    )


def _nearest(holders: list[tuple[int, int, NDArray[np.int64]]], counted: NDArray[np.int64]) -> int:
    """The document with most tokens in runs, each counted once; of several, the first.

    Args:
        holders: of each run its first token, its last (exclusive), and the documents that hold it; in order.
        counted: int64 [n + 1], tokens that count, before each.
    """
    firsts, lasts = (np.array([holder[i] for holder in holders]) for i in (0, 1))
    documents = np.concatenate([holder[2] for holder in holders])
    runs = np.repeat(np.arange(len(holders)), [len(holder[2]) for holder in holders])
    order = np.argsort(documents, kind="stable")  # by document, and in each by run
    documents, runs = documents[order], runs[order]
    heads = np.flatnonzero(np.diff(documents, prepend=-1))  # where each document begins
    # A run begins and ends behind the one before it, with which it may overlap.
    reached = np.concatenate([[0], lasts[runs[:-1]]])
    reached[heads] = 0
    added = counted[lasts[runs]] - counted[np.maximum(firsts[runs], reached)]
    return int(documents[heads[np.add.reduceat(added, heads).argmax()]])


def covering(runs: Sequence[VerbatimRun]) -> list[VerbatimRun]:
    """The runs without those that lie wholly in their neighbours, so that none of the text lies in more than two.

    Where a text and a post repeat one word, a run begins at each word and is nearly as long as the text.

    Args:
        runs: in order, none within another.
    """
    kept: list[VerbatimRun] = []
    for run in runs:
        if len(kept) > 1 and kept[-2].end >= run.start:
            kept.pop()
        kept.append(run)
    return kept


def token_edges(ids: Sequence[int] | NDArray[Any], codec: Codec) -> NDArray[np.float64]:
    """Where each token begins, and the end, in characters; a half more where that is inside a character.

    So of "é" with a token for each of its two bytes, the edges are 0, 0.5 and 1.
    """
    tokens = codec.decode_each(ids)
    data = np.frombuffer(b"".join(tokens), np.uint8)
    inner = np.append((data & 0xC0) == 0x80, False)  # by byte: only those inside a character are 10xxxxxx
    begun = np.concatenate([[0], np.cumsum(~inner[:-1])])  # characters, before each byte
    edges: NDArray[np.float64] = (begun - 0.5 * inner)[np.cumsum([0, *map(len, tokens)])]
    return edges


def whole_characters(edges: NDArray[np.float64], first: int, last: int) -> tuple[int, int]:
    """Start and end (exclusive) of the tokens `first` to before `last`, in characters.

    A character that lies in them in part counts to them.

    Args:
        edges: see token_edges.
    """
    return max(0, math.floor(edges[first])), math.ceil(edges[last])


def counted_tokens(text: str, edges: NDArray[np.float64], before: str = "") -> NDArray[np.bool_]:
    """Which tokens of a document, or of a piece of one, count: all that do not lie in a field's name.

    A token that has only a part of its bytes in a name counts.

    Args:
        edges: [n + 1], see token_edges.
        before: what stands before the text in its document.
    """
    counts = np.ones(len(edges) - 1, np.bool_)
    edges = edges + len(before)
    for start, end in name_spans(before + text):
        counts &= ~((edges[:-1] >= start) & (edges[1:] <= end))
    return counts

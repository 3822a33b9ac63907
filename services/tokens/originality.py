"""How much of a text stands in the corpus word for word, and where.

In: a text, and the index of the corpus that a model learned. Out: the runs that it shares with the corpus, in tokens
and characters, and the places that they could come from. The text is encoded canonically, whatever tokens it was
written with. The names of a header's fields ("title: ") are the corpus's form and nobody's words: they do not count.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    counted = np.concatenate([[0], np.cumsum(counts)])  # tokens that count, before each
    inside = np.zeros(len(ids), np.bool_)
    longest, runs, shared = 0, [], Counter[int]()
    for run in index.runs(ids):
        first, last = run.start, run.start + run.length
        length = int(counted[last] - counted[first])
        longest = max(longest, length)
        if length < min_run:
            continue
        inside[first:last] = True
        places = index.places(run.found)
        shared.update({place.document: length for place in places})
        start, end = whole_characters(edges, first, last)
        runs.append(VerbatimRun(start, end, length, run.length, run.found.num_places, min(places)))
    return Originality(
        verbatim_share=float((inside & counts).sum() / max(1, counts.sum())),
        longest_run=longest,
        min_run=min_run,
        runs=tuple(runs),
        nearest=shared.most_common(1)[0][0] if shared else None,
        num_tokens=int(counts.sum()),
    )


def token_edges(ids: Sequence[int] | NDArray[Any], codec: Codec) -> NDArray[np.float64]:
    """Where each token begins, and the end, in characters; a half more where that is inside a character.

    So of "é" with a token for each of its two bytes, the edges are 0, 0.5 and 1.
    """
    lengths = [len(codec.decode_bytes([token_id])) for token_id in ids]
    data = np.frombuffer(codec.decode_bytes(ids), np.uint8)
    inner = np.append((data & 0xC0) == 0x80, False)  # by byte: only those inside a character are 10xxxxxx
    begun = np.concatenate([[0], np.cumsum(~inner[:-1])])  # characters, before each byte
    edges: NDArray[np.float64] = (begun - 0.5 * inner)[np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])]
    return edges


def whole_characters(edges: NDArray[np.float64], first: int, last: int) -> tuple[int, int]:
    """Start and end (exclusive) of the tokens `first` to before `last`, in characters.

    A character that lies in them in part counts to them.

    Args:
        edges: see token_edges.
    """
    return max(0, math.floor(edges[first])), math.ceil(edges[last])


def counted_tokens(text: str, edges: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which tokens of a document, or of its begin, count: all that do not lie in a field's name.

    A token that has only a part of its bytes in a name counts.

    Args:
        edges: [n + 1], see token_edges.
    """
    counts = np.ones(len(edges) - 1, np.bool_)
    for start, end in name_spans(text):
        counts &= ~((edges[:-1] >= start) & (edges[1:] <= end))
    return counts

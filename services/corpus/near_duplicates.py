"""Near duplicates: which posts of a corpus are nearly the same as another, told or left out by the rules.

Part of selection.py, after equal texts. Posts are looked at in order, those taken in by hand first, then by path: one
that resembles an earlier post that was kept is a near duplicate of the first such post. So whatever is left out
resembles something that stays, and a chain of small changes does not join two posts that differ much.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.corpus.cleaning.minhash import (
    BAND_BYTES,
    NUM_BANDS,
    SIGNATURE_BYTES,
    links,
    similarity,
    similarity_estimate,
)
from services.corpus.reasons import Code
from services.corpus.rules import Rules

_PASSES = 2  # over the posts, each with a part of the bands: memory stays at 128 bytes a post
_SURE = 0.12  # almost three standard deviations: an estimate this far from the limit decides without the texts
_TAKEN = (
    "FROM posts JOIN facts ON facts.document = posts.document "
    "WHERE corpus = ? AND code IS NULL AND length(signature) = ? ORDER BY path"
)


@dataclass(frozen=True, slots=True)
class _Post:
    path: str
    document: str
    is_by_hand: bool
    remarks: str
    signature: bytes


def tell(connection: sqlite3.Connection, corpus: str, rules: Rules) -> None:
    """Note each near duplicate among the posts that are taken so far, or leave it out if the rules say `drop`."""
    pairs = _pairs(connection, corpus)
    involved = np.unique(pairs)
    posts = _posts(connection, corpus, involved)
    neighbours: dict[int, list[int]] = {index: [] for index in posts}
    for first, second in pairs.tolist():
        neighbours[first].append(second)
        neighbours[second].append(first)
    leader: dict[int, int] = {}  # of each post that was looked at: itself if it is kept
    changes: list[tuple[str | None, str | None, str, str, str]] = []
    for index in sorted(posts, key=lambda index: (not posts[index].is_by_hand, index)):
        post = posts[index]
        leader[index] = index
        kept = {leader[other] for other in neighbours[index] if other in leader}
        for other in sorted(kept, key=lambda other: (not posts[other].is_by_hand, other)):
            alike = _similarity(connection, post, posts[other], rules.near_duplicate_similarity)
            if alike >= rules.near_duplicate_similarity:
                leader[index] = other
                message = f"nearly the same text as {posts[other].path} (similarity {alike:.2f})"
                if rules.near_duplicates == "drop" and not post.is_by_hand:
                    changes.append((Code.NEAR_DUPLICATE, message, post.remarks, corpus, post.path))
                else:
                    remarks = [*json.loads(post.remarks), [Code.NEAR_DUPLICATE, message]]
                    changes.append((None, None, json.dumps(remarks, ensure_ascii=False), corpus, post.path))
                break
    connection.executemany("UPDATE posts SET code = ?, message = ?, remarks = ? WHERE corpus = ? AND path = ?", changes)


def _pairs(connection: sqlite3.Connection, corpus: str) -> npt.NDArray[np.int64]:
    """Pairs of posts that may be alike, by their place among those taken: [pair, 2]."""
    query = (corpus, SIGNATURE_BYTES)
    num_posts = connection.execute(f"SELECT count(*) {_TAKEN}", query).fetchone()[0]
    width = NUM_BANDS // _PASSES
    bands = np.empty((num_posts, width), dtype=np.uint64)
    found = []
    for start in range(0, NUM_BANDS, width):
        rows = connection.execute(
            f"SELECT substr(signature, ?, ?) {_TAKEN}", (1 + start * BAND_BYTES, width * BAND_BYTES, *query)
        )
        for index, (part,) in enumerate(rows):
            bands[index] = np.frombuffer(part, dtype="<u8")
        found.append(links(bands))
    pairs = np.unique(np.concatenate(found))
    return np.stack((pairs // max(1, num_posts), pairs % max(1, num_posts)), axis=1)


def _posts(connection: sqlite3.Connection, corpus: str, places: npt.NDArray[np.int64]) -> dict[int, _Post]:
    """The posts at these places, by place."""
    wanted = set(places.tolist())
    if not wanted:
        return {}
    rows = connection.execute(
        f"SELECT path, posts.document, override, remarks, signature {_TAKEN}", (corpus, SIGNATURE_BYTES)
    )
    return {
        index: _Post(row["path"], row["document"], row["override"] is not None, row["remarks"], row["signature"])
        for index, row in enumerate(rows)
        if index in wanted
    }


def _similarity(connection: sqlite3.Connection, post: _Post, other: _Post, limit: float) -> float:
    """By the signatures where they are sure, else by the texts, which are compared once."""
    estimate = similarity_estimate(post.signature, other.signature)
    if abs(estimate - limit) > _SURE or post.document == other.document:
        return estimate
    first, second = sorted((post.document, other.document))
    row = connection.execute(
        "SELECT similarity FROM resemblances WHERE first = ? AND second = ?", (first, second)
    ).fetchone()
    if row is not None:
        return float(row["similarity"])
    texts = [
        connection.execute("SELECT text FROM documents WHERE hash = ?", (digest,)).fetchone()["text"]
        for digest in (first, second)
    ]
    exact = similarity(texts[0], texts[1])
    connection.execute("INSERT INTO resemblances VALUES (?, ?, ?)", (first, second, exact))
    return exact

"""The catalogue: which corpora there are, which posts each holds, and what became of every post.

Reads and deletes; posts come in through imports.py and are frozen in snapshots.py.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.common.errors import Corrupt, NotFound
from services.corpus.database import Database
from services.corpus.documents import Document
from services.corpus.reasons import Code, Reason
from services.corpus.rules import Rules
from services.corpus.sources import Sources


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus with its counts. `updated_at` is in seconds since 1970."""

    name: str
    num_posts: int
    num_documents: int
    num_words: int
    updated_at: float
    rules: Rules


@dataclass(frozen=True, slots=True)
class Post:
    """A post and what became of it.

    Args:
        source: SHA-256 of the author's bytes, 64 hex digits.
        document: its document; None if there is none. A duplicate has one that is left out.
        left_out: why it is not among the documents; None if it is.
    """

    path: str
    source: str
    size_bytes: int
    document: Document | None
    left_out: Reason | None

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why it is left out, then what was mended."""
        notes = self.document.notes if self.document else ()
        return ((self.left_out,) if self.left_out else ()) + notes


class Catalogue:
    """Corpora and posts.

    Args:
        database: the catalogue's file.
        sources: the authors' bytes.
    """

    def __init__(self, database: Database, sources: Sources) -> None:
        self.database = database
        self.sources = sources
        self._importing = 0  # documents and sources of running imports are referred to by nothing yet
        self._guard = threading.Lock()

    def corpora(self, after: str, limit: int) -> list[Corpus]:
        """Up to `limit` corpora in order of name, from the first name greater than `after`."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT * FROM corpora WHERE name > ? ORDER BY name LIMIT ?", (after, limit))
            return [_corpus(connection, row) for row in rows.fetchall()]

    def corpus(self, name: str) -> Corpus:
        """One corpus; raise NotFound if there is none of that name."""
        with self.database.reading() as connection:
            return _corpus(connection, find_corpus(connection, name))

    def posts(self, corpus: str, after: str, limit: int) -> list[Post]:
        """Up to `limit` posts in order of path, beginning after `after`; NotFound: no such corpus."""
        with self.database.reading() as connection:
            find_corpus(connection, corpus)
            rows = connection.execute(
                "SELECT * FROM posts LEFT JOIN documents ON hash = document WHERE corpus = ? AND path > ? "
                "ORDER BY path LIMIT ?",
                (corpus, after, limit),
            )
            return [post_of(row) for row in rows]

    def post(self, corpus: str, path: str) -> Post:
        """One post; raise NotFound if the corpus or the post does not exist."""
        with self.database.reading() as connection:
            find_corpus(connection, corpus)
            row = connection.execute(
                "SELECT * FROM posts LEFT JOIN documents ON hash = document WHERE corpus = ? AND path = ?",
                (corpus, path),
            ).fetchone()
        if row is None:
            raise NotFound(f"corpus {corpus!r} holds no post {path!r}", metadata={"corpus": corpus, "path": path})
        return post_of(row)

    def source_digests(self, corpus: str) -> dict[str, str]:
        """SHA-256 of each post's bytes by path; empty for an unknown corpus."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT path, source FROM posts WHERE corpus = ?", (corpus,))
            return {row["path"]: row["source"] for row in rows}

    def delete_posts(self, corpus: str, paths: list[str]) -> int:
        """Remove posts and return how many; raise NotFound, removing none, if one is unknown."""
        with self.database.writing() as connection:
            find_corpus(connection, corpus)
            unique = list(dict.fromkeys(paths))
            for path in unique:
                removed = connection.execute("DELETE FROM posts WHERE corpus = ? AND path = ?", (corpus, path))
                if removed.rowcount == 0:
                    raise NotFound(
                        f"corpus {corpus!r} holds no post {path!r}; nothing was removed",
                        metadata={"corpus": corpus, "path": path},
                    )
            touch(connection, corpus)
        self.sweep()
        return len(unique)

    def delete_corpus(self, name: str) -> None:
        """Remove a corpus with its posts, snapshots and reports; raise NotFound if there is none."""
        with self.database.writing() as connection:
            find_corpus(connection, name)
            connection.execute("DELETE FROM corpora WHERE name = ?", (name,))
        self.sweep()

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Nothing is swept while the block runs."""
        with self._guard:
            self._importing += 1
        try:
            yield
        finally:
            with self._guard:
                self._importing -= 1

    def sweep(self) -> None:
        """Forget documents and sources that nothing refers to; does nothing while an import runs."""
        with self._guard:  # an import that begins meanwhile waits
            if self._importing:
                return
            with self.database.writing() as connection:
                connection.execute(
                    "DELETE FROM documents "
                    "WHERE hash NOT IN (SELECT document FROM posts WHERE document IS NOT NULL) "
                    "AND hash NOT IN (SELECT document FROM snapshot_posts WHERE document IS NOT NULL)"
                )
            with self.database.reading() as connection:
                rows = connection.execute("SELECT source FROM posts UNION SELECT source FROM snapshot_posts")
                used = {row["source"] for row in rows}
            for digest in [digest for digest in self.sources.digests() if digest not in used]:
                self.sources.remove(digest)
            self.sources.remove_partials()


def find_corpus(connection: sqlite3.Connection, name: str) -> sqlite3.Row:
    """The row of a corpus; raise NotFound naming it if there is none."""
    row = connection.execute("SELECT * FROM corpora WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NotFound(
            f"there is no corpus {name!r}; import posts into it with `nonesuch posts add`",
            metadata={"corpus": name},
        )
    return row


def touch(connection: sqlite3.Connection, corpus: str) -> None:
    """After a change of its posts: find duplicates anew, and note the time.

    Of posts with the same text, the first in order of path is the one that counts, whatever came in first.
    """
    connection.execute(
        "UPDATE posts SET code = NULL, message = NULL WHERE corpus = ? AND code = ?", (corpus, Code.DUPLICATE)
    )
    rows = connection.execute(
        "SELECT path, first FROM (SELECT path, min(path) OVER (PARTITION BY text_hash) AS first FROM posts "
        "JOIN documents ON hash = document WHERE corpus = ? AND code IS NULL) WHERE path <> first",
        (corpus,),
    ).fetchall()
    connection.executemany(
        "UPDATE posts SET code = ?, message = ? WHERE corpus = ? AND path = ?",
        [(Code.DUPLICATE, f"the same text as {row['first']}", corpus, row["path"]) for row in rows],
    )
    connection.execute("UPDATE corpora SET updated_at = ? WHERE name = ?", (time.time(), corpus))


def count(connection: sqlite3.Connection, corpus: str) -> tuple[int, int]:
    """How many documents a corpus has, and how many words they have."""
    row = connection.execute(
        "SELECT count(*) AS documents, total(num_words) AS words FROM posts "
        "JOIN documents ON hash = document WHERE corpus = ? AND code IS NULL",
        (corpus,),
    ).fetchone()
    return row["documents"], int(row["words"])


def document_of(row: sqlite3.Row) -> Document:
    """The document in a row of posts, or snapshot_posts, joined with documents; Corrupt if it is damaged."""
    notes = tuple(Reason(Code(code), message) for code, message in json.loads(row["notes"]))
    document = Document(row["title"], tuple(json.loads(row["tags"])), row["date"], row["text"], notes)
    if document.content_hash != row["document"]:
        raise Corrupt(
            f"the stored document of post {row['path']!r} is damaged; delete the post and import it again",
            metadata={"path": row["path"]},
        )
    return document


def post_of(row: sqlite3.Row) -> Post:
    """The post in a row of posts joined with documents; Corrupt if its document is damaged."""
    return Post(
        path=row["path"],
        source=row["source"],
        size_bytes=row["size_bytes"],
        document=None if row["document"] is None else document_of(row),
        left_out=None if row["code"] is None else Reason(Code(row["code"]), row["message"]),
    )


def _corpus(connection: sqlite3.Connection, row: sqlite3.Row) -> Corpus:
    num_posts = connection.execute("SELECT count(*) FROM posts WHERE corpus = ?", (row["name"],)).fetchone()[0]
    num_documents, num_words = count(connection, row["name"])
    return Corpus(row["name"], num_posts, num_documents, num_words, row["updated_at"], Rules.from_json(row["rules"]))

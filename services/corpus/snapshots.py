"""Snapshots: a corpus frozen. The same documents under the same rules give the same digest on any machine."""

from __future__ import annotations

import dataclasses
import hashlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass

from services.common.errors import FailedPrecondition, NotFound
from services.corpus.catalogue import Catalogue, count, document_of, find_corpus
from services.corpus.cleaning.documents import Document
from services.corpus.rules import Rules
from services.corpus.selection import touch

_COLUMNS = "path, source, size_bytes, modified_at, document, code, message, notes, marks, override, remarks"
_RESTORED = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS.split(", ")[1:])
_DOCUMENTS_PER_READ = 100


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A frozen corpus.

    Args:
        number: grows from snapshot to snapshot.
        digest: 64 hex digits.
        created_at: seconds since 1970.
    """

    number: int
    corpus: str
    digest: str
    num_documents: int
    num_words: int
    created_at: float


def create(catalogue: Catalogue, corpus: str) -> Snapshot:
    """Freeze the present documents, or return the snapshot that holds the same.

    Raises:
        NotFound: no such corpus.
        FailedPrecondition: it has no document.
    """
    with catalogue.database.writing() as connection:
        present = find_corpus(connection, corpus)
        digest = _digest(connection, present)
        num_documents, num_words = count(connection, corpus)
        if num_documents == 0:
            raise FailedPrecondition(
                f"corpus {corpus!r} has no document: no post came in, or all were left out; "
                "`nonesuch posts list` says why",
                metadata={"corpus": corpus},
            )
        found = _find(connection, corpus, digest)
        if found is None:
            inserted = connection.execute(
                "INSERT INTO snapshots VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(corpus, digest, present["rules"], num_documents, num_words, time.time()),
                    *(present["imported_on"], present["cutoff"]),
                ),
            )
            connection.execute(
                f"INSERT INTO snapshot_posts (snapshot, {_COLUMNS}) SELECT ?, {_COLUMNS} FROM posts WHERE corpus = ?",
                (inserted.lastrowid, corpus),
            )
            found = _find(connection, corpus, digest)
            assert found is not None
        return _snapshot(found)


def snapshots(catalogue: Catalogue, corpus: str, before: int, limit: int) -> list[Snapshot]:
    """Up to `limit` snapshots, newest first, with numbers below `before`; NotFound: no such corpus."""
    with catalogue.database.reading() as connection:
        find_corpus(connection, corpus)
        rows = connection.execute(
            "SELECT * FROM snapshots WHERE corpus = ? AND id < ? ORDER BY id DESC LIMIT ?",
            (corpus, before, limit),
        )
        return [_snapshot(row) for row in rows]


def documents(catalogue: Catalogue, corpus: str, digest: str) -> Iterator[tuple[str, Document]]:
    """Path and document of each post of a snapshot, in order of path.

    Memory stays bounded, and no transaction is held between two documents.

    Raises:
        NotFound: no such corpus or snapshot, or it was deleted meanwhile.
        Corrupt: a stored document is damaged.
    """
    after = ""
    while True:
        with catalogue.database.reading() as connection:
            number = _need(connection, corpus, digest)["id"]
            rows = connection.execute(
                "SELECT * FROM snapshot_posts JOIN documents ON hash = document "
                "WHERE snapshot = ? AND code IS NULL AND path > ? ORDER BY path LIMIT ?",
                (number, after, _DOCUMENTS_PER_READ),
            ).fetchall()
        for row in rows:
            yield row["path"], document_of(row)
        if len(rows) < _DOCUMENTS_PER_READ:
            return
        after = rows[-1]["path"]


def newest_sources(catalogue: Catalogue, corpus: str, digest: str, limit: int) -> list[tuple[str, str, str]]:
    """Path, date and SHA-256 of the source of up to `limit` posts that have documents, the newest first.

    Args:
        digest: of a snapshot; empty: the posts as they are now.

    Raises:
        NotFound: no such corpus or snapshot.
    """
    with catalogue.database.reading() as connection:
        find_corpus(connection, corpus)
        where = ("snapshot_posts", "snapshot", _need(connection, corpus, digest)["id"]) if digest else None
        table, column, value = where or ("posts", "corpus", corpus)
        rows = connection.execute(
            f"SELECT path, date, source FROM {table} JOIN documents ON hash = document "
            f"WHERE {column} = ? AND code IS NULL ORDER BY date DESC, path DESC LIMIT ?",
            (value, limit),
        )
        return [(row["path"], row["date"], row["source"]) for row in rows]


def delete(catalogue: Catalogue, corpus: str, digest: str) -> None:
    """Forget a snapshot; raise NotFound if the corpus or the snapshot does not exist."""
    with catalogue.database.writing() as connection:
        connection.execute("DELETE FROM snapshots WHERE id = ?", (_need(connection, corpus, digest)["id"],))
    catalogue.sweep()


def roll_back(catalogue: Catalogue, corpus: str, digest: str) -> None:
    """Bring posts, rules and what was said by hand back to what they were when the snapshot was taken.

    Raises:
        NotFound: no such corpus or snapshot.
    """
    with catalogue.database.writing() as connection:
        snapshot = _need(connection, corpus, digest)
        # Posts that were there and are again stay those of their archives, which become unknown, so that the next
        # import opens them: what cannot be opened then leaves its posts as they are.
        connection.execute(
            "DELETE FROM posts WHERE corpus = ? AND path NOT IN (SELECT path FROM snapshot_posts WHERE snapshot = ?)",
            (corpus, snapshot["id"]),
        )
        connection.execute(
            f"INSERT INTO posts (corpus, {_COLUMNS}) SELECT ?, {_COLUMNS} FROM snapshot_posts WHERE snapshot = ? "
            f"ON CONFLICT DO UPDATE SET {_RESTORED}",
            (corpus, snapshot["id"]),
        )
        connection.execute("UPDATE bundles SET sha256 = '' WHERE corpus = ?", (corpus,))
        # With the day of its import, so that the same posts are future ones.
        connection.execute(
            "UPDATE corpora SET rules = ?, imported_on = ? WHERE name = ?",
            (snapshot["rules"], snapshot["imported_on"], corpus),
        )
        touch(connection, corpus)
    catalogue.sweep()


def _digest(connection: sqlite3.Connection, corpus: sqlite3.Row) -> str:
    """SHA-256 over the rules with the cutoff, then path and content hash of each document in order of path."""
    rules = dataclasses.replace(Rules.from_json(corpus["rules"]), cutoff_date=corpus["cutoff"])
    digest = hashlib.sha256(rules.to_json().encode() + b"\n")
    for row in connection.execute(
        "SELECT path, document FROM posts WHERE corpus = ? AND code IS NULL AND document IS NOT NULL ORDER BY path",
        (corpus["name"],),
    ):
        digest.update(f"{row['path']}\0{row['document']}\n".encode())
    return digest.hexdigest()


def _find(connection: sqlite3.Connection, corpus: str, digest: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = connection.execute(
        "SELECT * FROM snapshots WHERE corpus = ? AND digest = ?", (corpus, digest)
    ).fetchone()
    return found


def _need(connection: sqlite3.Connection, corpus: str, digest: str) -> sqlite3.Row:
    find_corpus(connection, corpus)
    found = _find(connection, corpus, digest)
    if found is None:
        raise NotFound(f"corpus {corpus!r} has no snapshot {digest!r}", metadata={"corpus": corpus, "snapshot": digest})
    return found


def _snapshot(row: sqlite3.Row) -> Snapshot:
    return Snapshot(
        *(row["id"], row["corpus"], row["digest"], row["num_documents"], row["num_words"], row["created_at"])
    )

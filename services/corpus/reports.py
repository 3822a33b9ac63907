"""Reports: what each import took in and left out, kept with the reasons."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from services.corpus.catalogue import Catalogue, find_corpus
from services.corpus.reasons import Code, Reason

KEPT = 100  # per corpus; a watched folder makes many


@dataclass(frozen=True, slots=True)
class Report:
    """What an import took in and left out. `created_at` is in seconds since 1970."""

    import_id: int
    corpus: str
    created_at: float
    num_added: int
    num_changed: int
    num_unchanged: int
    num_removed: int
    num_documents: int
    num_words: int
    skipped: tuple[tuple[str, Reason], ...]
    notes: tuple[tuple[str, Reason], ...]


def write(
    connection: sqlite3.Connection,
    corpus: str,
    created_at: float,
    counts: tuple[int, int, int, int, int, int],
    reasons: list[tuple[str, bool, Reason]],
) -> Report:
    """Store a report within the import's transaction, and forget old ones.

    Args:
        counts: the numbers of Report, in its order.
        reasons: path, whether the post was left out (else it was mended), and why.
    """
    inserted = connection.execute(
        "INSERT INTO imports VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", (corpus, created_at, *counts)
    )
    connection.executemany(
        "INSERT INTO import_reasons VALUES (?, ?, ?, ?, ?)",
        [(inserted.lastrowid, path, is_skipped, reason.code, reason.message) for path, is_skipped, reason in reasons],
    )
    connection.execute(
        "DELETE FROM imports WHERE corpus = ? AND id NOT IN "
        "(SELECT id FROM imports WHERE corpus = ? ORDER BY id DESC LIMIT ?)",
        (corpus, corpus, KEPT),
    )
    return _read(connection, connection.execute("SELECT * FROM imports WHERE id = ?", (inserted.lastrowid,)).fetchone())


def past(catalogue: Catalogue, corpus: str, before: int, limit: int) -> list[Report]:
    """Up to `limit` past imports, newest first, with numbers below `before`; NotFound: no such corpus."""
    with catalogue.database.reading() as connection:
        find_corpus(connection, corpus)
        rows = connection.execute(
            "SELECT * FROM imports WHERE corpus = ? AND id < ? ORDER BY id DESC LIMIT ?",
            (corpus, before, limit),
        )
        return [_read(connection, row) for row in rows.fetchall()]


def _read(connection: sqlite3.Connection, row: sqlite3.Row) -> Report:
    found: tuple[list[tuple[str, Reason]], list[tuple[str, Reason]]] = ([], [])
    for reason in connection.execute(
        "SELECT * FROM import_reasons WHERE import = ? ORDER BY path, rowid", (row["id"],)
    ):
        entry = (reason["path"], Reason(Code(reason["code"]), reason["message"]))
        found[reason["is_skipped"]].append(entry)
    return Report(
        *(
            row["id"],
            row["corpus"],
            row["created_at"],
            row["num_added"],
            row["num_changed"],
            row["num_unchanged"],
        ),
        *(row["num_removed"], row["num_documents"], row["num_words"]),
        skipped=tuple(found[1]),
        notes=tuple(found[0]),
    )

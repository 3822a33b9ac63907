"""Ledger: what came with an import that is under way, in a file of its own, so that memory does not grow with it.

Beside each path that the client named stands what it said of it and what cleaning made of it, and beside each path that
the corpus holds the source that it had when the import began. The import's last transaction reads the file as `came`.
Nothing in it need outlive the import: a killed one's is swept. Knows SQLite; what a path's state means is imports.py's.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable, Iterator

from services.common import volume
from services.common.files import PARTIAL_PREFIX
from services.corpus.database import CATALOGUE, Database
from services.corpus.reasons import Reason

# States of a path. AGAIN: it did not come, and is cleaned anew.
UNCHANGED, SENT, SKIPPED, AGAIN = "unchanged", "sent", "skipped", "again"

_PATHS_AT_A_TIME = 500
_SCHEMA = """
CREATE TABLE known (path TEXT PRIMARY KEY, source TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE paths (
    path TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    bundle TEXT,                    -- the archive or export that it came in
    skipped_code TEXT,              -- why it was left out before it could be a post
    skipped_message TEXT,
    is_refused INTEGER NOT NULL DEFAULT 0,  -- left out when its bundle was opened
    source TEXT,                    -- this and the rest: what cleaning made of it; NULL if it was not cleaned
    size_bytes INTEGER,
    modified_at REAL,
    document TEXT,
    code TEXT,
    message TEXT,
    notes TEXT,
    marks TEXT,
    source_before TEXT              -- of the post, just before the import changed it
) WITHOUT ROWID;
"""


class Ledger:
    """The ledger of one import into one corpus. Close it when done.

    Raises:
        Busy: the volume is full.
        FailedPrecondition: it cannot be written.
    """

    def __init__(self, database: Database, corpus: str) -> None:
        self.path = database.path.parent / f"{PARTIAL_PREFIX}{uuid.uuid4().hex}.db"
        with volume.explained(self.path, CATALOGUE.remedy):
            self._connection = sqlite3.connect(self.path, isolation_level=None)
            # What a crash leaves of the file is not read, so it need not be safe from one.
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2000"):
                self._connection.execute(f"PRAGMA {pragma}")
            for statement in _SCHEMA.split(";\n"):
                self._connection.execute(statement)
            self._connection.execute("ATTACH ? AS catalogue", (str(database.path),))
            self._connection.execute(
                "INSERT INTO known SELECT path, source FROM catalogue.posts WHERE corpus = ?", (corpus,)
            )
            self._connection.execute("DETACH catalogue")
            self._connection.execute("BEGIN")

    def known(self, path: str) -> str | None:
        """SHA-256 of the post as it was when the import began; None if there was none."""
        row = self._one("SELECT source FROM known WHERE path = ?", path)
        return None if row is None else str(row[0])

    def all_known(self) -> Iterator[tuple[str, str]]:
        """Path and SHA-256 of every such post, in order of path. The ledger may change meanwhile."""
        after = ""
        while True:
            with volume.explained(self.path, CATALOGUE.remedy):
                rows = self._connection.execute(
                    "SELECT path, source FROM known WHERE path > ? ORDER BY path LIMIT ?", (after, _PATHS_AT_A_TIME)
                ).fetchall()
            yield from rows
            if len(rows) < _PATHS_AT_A_TIME:
                return
            after = rows[-1][0]

    def state(self, path: str) -> str | None:
        """A path's state; None if nothing was said of it."""
        row = self._one("SELECT state FROM paths WHERE path = ?", path)
        return None if row is None else str(row[0])

    def say(self, path: str, state: str, *, bundle: str = "") -> None:
        """Give a path a state."""
        self._write(
            "INSERT INTO paths (path, state, bundle) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET state = excluded.state, bundle = excluded.bundle",
            [(path, state, bundle or None)],
        )

    def say_unchanged(self, paths: Iterable[str]) -> None:
        """Make paths of which nothing was said UNCHANGED."""
        self._write(
            f"INSERT INTO paths (path, state) VALUES (?, '{UNCHANGED}') ON CONFLICT DO NOTHING",
            ((path,) for path in paths),
        )

    def skip(self, path: str, reason: Reason, *, bundle: str = "", is_refused: bool = False) -> None:
        """Make a path SKIPPED; one that did not come in a bundle now keeps that which it came in."""
        self._write(
            f"INSERT INTO paths (path, state, bundle, skipped_code, skipped_message, is_refused) "
            f"VALUES (?, '{SKIPPED}', ?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state, "
            "bundle = coalesce(excluded.bundle, bundle), skipped_code = excluded.skipped_code, "
            "skipped_message = excluded.skipped_message, is_refused = excluded.is_refused",
            [(path, bundle or None, reason.code, reason.message, is_refused)],
        )

    def skip_if_unsaid(self, reasons: Iterable[tuple[str, Reason]]) -> None:
        """Make paths of which nothing was said SKIPPED."""
        self._write(
            f"INSERT INTO paths (path, state, skipped_code, skipped_message) VALUES (?, '{SKIPPED}', ?, ?) "
            "ON CONFLICT DO NOTHING",
            ((path, reason.code, reason.message) for path, reason in reasons),
        )

    def note_cleaned(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Record what cleaning made of posts.

        Args:
            rows: path, and the columns from `source` to `marks`, of each. One of which nothing was said is AGAIN.
        """
        columns = ("source", "size_bytes", "modified_at", "document", "code", "message", "notes", "marks")
        changes = ", ".join(f"{column} = excluded.{column}" for column in columns)
        self._write(
            f"INSERT INTO paths (path, state, {', '.join(columns)}) VALUES (?, '{AGAIN}'{', ?' * len(columns)}) "
            f"ON CONFLICT DO UPDATE SET {changes}",
            rows,
        )

    def finish(self) -> None:
        """Let another connection read and write the file; nothing more is written here."""
        with volume.explained(self.path, CATALOGUE.remedy):
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Delete the file."""
        self._connection.close()
        self.path.unlink(missing_ok=True)

    def _one(self, query: str, path: str) -> tuple[object, ...] | None:
        with volume.explained(self.path, CATALOGUE.remedy):
            row: tuple[object, ...] | None = self._connection.execute(query, (path,)).fetchone()
            return row

    def _write(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        with volume.explained(self.path, CATALOGUE.remedy):
            self._connection.executemany(statement, rows)

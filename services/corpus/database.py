"""A file of SQLite in write-ahead mode and transactions on it; the tables of the catalogue.

Every change is one transaction, so a process killed at any moment leaves the file as before or after.
Knows tables and connections; what they mean is in catalogue.py, imports.py and snapshots.py. The shelf is another such
file, and its tables are in shelf.py.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.common import volume
from services.common.errors import Corrupt, Unavailable

BUSY_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Schema:
    """A kind of file.

    Args:
        file: its name.
        steps: statements from version to version, those of a step ended by `;` and a line's end. A file of version N
            has had the first N steps. Add one at the end; never change one.
        remedy: what helps when it is damaged, besides restoring it.
    """

    file: str
    steps: tuple[str, ...]
    remedy: str


# Step by step from version to version; a new file takes all of them. Never change one: add another.
_FIRST = """
CREATE TABLE corpora (
    name TEXT PRIMARY KEY,
    rules TEXT NOT NULL,            -- Rules.to_json
    updated_at REAL NOT NULL        -- seconds since 1970
) WITHOUT ROWID;
CREATE TABLE documents (
    hash TEXT PRIMARY KEY,          -- Document.content_hash: equal documents are one row
    title TEXT NOT NULL,
    tags TEXT NOT NULL,             -- JSON list
    date TEXT NOT NULL,
    text TEXT NOT NULL,
    text_hash TEXT NOT NULL,
    num_words INTEGER NOT NULL
);
CREATE TABLE posts (
    corpus TEXT NOT NULL REFERENCES corpora (name) ON DELETE CASCADE,
    path TEXT NOT NULL,
    source TEXT NOT NULL,           -- SHA-256 of the author's bytes, in the folder posts/
    size_bytes INTEGER NOT NULL,
    modified_at REAL,
    document TEXT REFERENCES documents (hash),
    code TEXT,                      -- why it is left out; NULL when it is among the documents
    message TEXT,
    notes TEXT NOT NULL,            -- JSON list of [code, message]
    PRIMARY KEY (corpus, path)
) WITHOUT ROWID;
CREATE INDEX posts_by_document ON posts (document);
CREATE INDEX posts_by_source ON posts (source);
CREATE TABLE snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    corpus TEXT NOT NULL REFERENCES corpora (name) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    rules TEXT NOT NULL,
    num_documents INTEGER NOT NULL,
    num_words INTEGER NOT NULL,
    created_at REAL NOT NULL,
    UNIQUE (corpus, digest)
);
CREATE TABLE snapshot_posts (
    snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    source TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    modified_at REAL,
    document TEXT REFERENCES documents (hash),
    code TEXT,
    message TEXT,
    notes TEXT NOT NULL,
    PRIMARY KEY (snapshot, path)
) WITHOUT ROWID;
CREATE INDEX snapshot_posts_by_document ON snapshot_posts (document);
CREATE INDEX snapshot_posts_by_source ON snapshot_posts (source);
CREATE TABLE imports (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    corpus TEXT NOT NULL REFERENCES corpora (name) ON DELETE CASCADE,
    created_at REAL NOT NULL,
    num_added INTEGER NOT NULL,
    num_changed INTEGER NOT NULL,
    num_unchanged INTEGER NOT NULL,
    num_removed INTEGER NOT NULL,
    num_documents INTEGER NOT NULL,
    num_words INTEGER NOT NULL
);
CREATE INDEX imports_by_corpus ON imports (corpus, id);
CREATE TABLE import_reasons (
    import INTEGER NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    is_skipped INTEGER NOT NULL,    -- 1: left out; 0: a change made to a document
    code TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX import_reasons_by_import ON import_reasons (import, is_skipped, path);
"""
_CHOOSING = """
CREATE TABLE facts (                -- of a document, beside its text so that they are read without it
    document TEXT PRIMARY KEY REFERENCES documents (hash) ON DELETE CASCADE,
    text_hash TEXT NOT NULL,
    num_words INTEGER NOT NULL,
    num_bytes INTEGER NOT NULL,     -- of the text in UTF-8
    date TEXT NOT NULL,             -- as in documents
    tags TEXT NOT NULL,             -- as in documents
    language TEXT NOT NULL,         -- ISO 639-1; empty: too short to tell
    quality TEXT NOT NULL,          -- JSON object of scores
    signature BLOB NOT NULL         -- see minhash.py; empty: no word
) WITHOUT ROWID;
INSERT INTO facts SELECT hash, text_hash, num_words, length(CAST(text AS BLOB)), date, tags, '', '{}', x''
    FROM documents;
ALTER TABLE documents DROP COLUMN text_hash;
ALTER TABLE documents DROP COLUMN num_words;
CREATE TABLE resemblances (         -- of two documents whose texts were compared
    first TEXT NOT NULL REFERENCES documents (hash) ON DELETE CASCADE,
    second TEXT NOT NULL REFERENCES documents (hash) ON DELETE CASCADE,
    similarity REAL NOT NULL,
    PRIMARY KEY (first, second)     -- first < second
) WITHOUT ROWID;
CREATE INDEX resemblances_by_second ON resemblances (second);
-- marks: JSON object, see marks.py; override: include, exclude or NULL, by hand; remarks: choosing's [code, message]
ALTER TABLE posts ADD COLUMN marks TEXT NOT NULL DEFAULT '{}';
ALTER TABLE posts ADD COLUMN override TEXT;
ALTER TABLE posts ADD COLUMN remarks TEXT NOT NULL DEFAULT '[]';
ALTER TABLE snapshot_posts ADD COLUMN marks TEXT NOT NULL DEFAULT '{}';
ALTER TABLE snapshot_posts ADD COLUMN override TEXT;
ALTER TABLE snapshot_posts ADD COLUMN remarks TEXT NOT NULL DEFAULT '[]';
-- imported_on: day of the last import, UTC; cutoff: last day of the posts that are no future ones
ALTER TABLE corpora ADD COLUMN imported_on TEXT NOT NULL DEFAULT '';
ALTER TABLE corpora ADD COLUMN cutoff TEXT NOT NULL DEFAULT '';
UPDATE corpora SET imported_on = date(updated_at, 'unixepoch');
ALTER TABLE snapshots ADD COLUMN imported_on TEXT NOT NULL DEFAULT '';
ALTER TABLE snapshots ADD COLUMN cutoff TEXT NOT NULL DEFAULT '';
UPDATE snapshots SET imported_on = date(created_at, 'unixepoch');
"""
# Archives and exports, of which only the members are posts; see bundles.py. A member that is removed by hand makes its
# bundle unknown (`sha256` empty), so that the next import brings it back, as it does with a post in a folder.
_BUNDLES = """
CREATE TABLE bundles (
    corpus TEXT NOT NULL REFERENCES corpora (name) ON DELETE CASCADE,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,           -- of the file; empty: its members are not all there any more
    opening INTEGER NOT NULL,       -- version of what opened it
    PRIMARY KEY (corpus, path)
) WITHOUT ROWID;
CREATE TABLE bundle_members (
    corpus TEXT NOT NULL,
    path TEXT NOT NULL,             -- of the post
    bundle TEXT NOT NULL,
    PRIMARY KEY (corpus, path),
    FOREIGN KEY (corpus, bundle) REFERENCES bundles (corpus, path) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX bundle_members_by_bundle ON bundle_members (corpus, bundle);
CREATE TABLE bundle_left_out (
    corpus TEXT NOT NULL,
    bundle TEXT NOT NULL,
    path TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (corpus, bundle, path),
    FOREIGN KEY (corpus, bundle) REFERENCES bundles (corpus, path) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TRIGGER member_removed AFTER DELETE ON posts BEGIN \
    UPDATE bundles SET sha256 = '' WHERE corpus = OLD.corpus AND path = \
        (SELECT bundle FROM bundle_members WHERE corpus = OLD.corpus AND path = OLD.path); \
    DELETE FROM bundle_members WHERE corpus = OLD.corpus AND path = OLD.path; \
END;
"""
CATALOGUE = Schema("catalogue.db", (_FIRST, _CHOOSING, _BUNDLES), "move the file away and import the posts again")
SCHEMA_VERSION = len(CATALOGUE.steps)


class Database:
    """A file in a folder, held by one process at a time. Close it when done.

    Raises:
        Unavailable: another process has the folder.
        Corrupt: the file is damaged or of a later version.
    """

    def __init__(self, folder: Path, schema: Schema = CATALOGUE) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._schema = schema
        self.path = folder / schema.file
        self._lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise Unavailable(f"another corpus service uses {folder}; stop it, or set another NONESUCH_DATA") from None
        self._writing = threading.Lock()
        with ExitStack() as undoing:
            undoing.callback(os.close, self._lock)
            with volume.explained(self.path, schema.remedy):
                # While one connection is open, those that come and go neither write the log back each time nor have to
                # make it anew, for which a full volume has no room.
                self._held = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
                undoing.callback(self._held.close)
                self._held.execute("PRAGMA journal_mode = WAL")
            self._prepare()
            undoing.pop_all()

    def _prepare(self) -> None:
        with self.writing() as connection:
            steps, version = self._schema.steps, connection.execute("PRAGMA user_version").fetchone()[0]
            for step in steps[version:]:
                # executescript would commit the transaction; statement by statement it stays one.
                for statement in step.split(";\n"):
                    connection.execute(statement)
            if version < len(steps):
                connection.execute(f"PRAGMA user_version = {len(steps)}")
            if version > len(steps):
                raise Corrupt(
                    f"{self.path} has version {version}, this service reads up to {len(steps)}; start the "
                    f"Nonesuch that wrote it, or {self._schema.remedy}",
                    metadata={"file": str(self.path)},
                )

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view: what is committed meanwhile is not seen."""
        with self._connected() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def writing(self, came: Path | None = None) -> Iterator[sqlite3.Connection]:
        """One transaction: committed when the block ends, undone if it raises.

        Args:
            came: another file to be seen as `came`; what is written there is not safe from a crash.
        """
        with self._writing, self._connected() as connection:
            if came is not None:
                connection.execute("ATTACH ? AS came", (str(came),))
                connection.execute("PRAGMA came.journal_mode = OFF")
                connection.execute("PRAGMA came.synchronous = OFF")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with volume.explained(self.path, self._schema.remedy):
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                yield connection
            finally:
                connection.close()  # undoes what was not committed

    def close(self) -> None:
        """Let another process have the folder."""
        self._held.close()
        os.close(self._lock)

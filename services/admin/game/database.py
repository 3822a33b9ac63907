"""The game's file: SQLite, its tables, and transactions on it.

Every change is one transaction. The file is made when it is first used and looked at each time, so a damaged one spoils
the game and nothing else, and moving it away mends it without a restart. Knows tables and connections; what they mean
is in store.py and rounds.py.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.admin.problems import OWN_FILE
from services.common import volume
from services.common.errors import Corrupt

BUSY_TIMEOUT_S = 30.0
OWNER_ONLY = 0o600  # it holds pieces of posts
REMEDY = "move it away: the excerpts are gathered again, the score begins anew"

# Step by step from version to version; a new file takes all of them. Never change one: add another.
_FIRST = """
CREATE TABLE versions (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    number INTEGER NOT NULL,
    dataset TEXT NOT NULL,
    origin TEXT NOT NULL,           -- what else tells a version from one of the same name and number
    num_asked INTEGER NOT NULL,     -- posts that the generator was asked for
    is_complete INTEGER NOT NULL,   -- 1: all excerpts are here, and the classifier has played
    num_right INTEGER,              -- excerpts that it told right; NULL: it had too few
    num_judged INTEGER,
    UNIQUE (model, number)
);
CREATE TABLE excerpts (
    id INTEGER PRIMARY KEY,
    version INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
    is_real INTEGER NOT NULL,
    post TEXT NOT NULL,             -- what it was cut from
    title TEXT NOT NULL,
    is_opening INTEGER NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (version, is_real, text)
);
CREATE TABLE rounds (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
    player TEXT NOT NULL,
    real INTEGER NOT NULL REFERENCES excerpts (id) ON DELETE CASCADE,
    generated INTEGER NOT NULL REFERENCES excerpts (id) ON DELETE CASCADE,
    real_side TEXT NOT NULL,        -- left or right
    counts INTEGER NOT NULL,        -- 0: the player had met one of them before
    dealt_at REAL NOT NULL,         -- seconds since 1970
    guess TEXT                      -- left, right, or NULL: none yet
);
CREATE INDEX rounds_by_player ON rounds (version, player)
"""
_STEPS = (_FIRST,)
SCHEMA_VERSION = len(_STEPS)


class Database:
    """The game's file. Nothing is opened before it is used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view."""
        with self._connected() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed when the block ends, undone if it raises."""
        with self._writing, self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with volume.explained(self.path, REMEDY, reason=OWN_FILE):
            try:
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, OWNER_ONLY))
            except OSError as error:
                raise volume.unwritable(self.path, error) from error
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA foreign_keys = ON")
                self._prepare(connection)
                yield connection
            finally:
                connection.close()  # undoes what was not committed

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if _version(connection) == SCHEMA_VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        version = _version(connection)  # another thread may have been here
        if version > SCHEMA_VERSION:
            raise Corrupt(
                f"{self.path} has version {version}, this page reads up to {SCHEMA_VERSION}; start the Nonesuch that "
                f"wrote it, or {REMEDY}",
                reason=OWN_FILE,
                metadata={"file": str(self.path)},
            )
        for step in _STEPS[version:]:
            for statement in step.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])

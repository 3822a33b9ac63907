"""What the game keeps of each version: its excerpts, how far the gathering is, and what the classifier made of them.

Knows the database and excerpts, neither the services nor the players.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from services.admin.game.database import Database
from services.admin.game.excerpts import Excerpt
from services.admin.game.share import Share
from services.admin.game.version import Version


@dataclass(frozen=True, slots=True)
class Stock:
    """What is there of a version.

    Args:
        num_real, num_generated: excerpts.
        num_real_posts: posts that the real ones were cut from.
        num_asked: posts that the generator was asked for.
        is_complete: all is gathered, and the classifier has played.
        told_right: how many excerpts the classifier told right; None: not yet, or it had too few.
    """

    num_real: int = 0
    num_generated: int = 0
    num_real_posts: int = 0
    num_asked: int = 0
    is_complete: bool = False
    told_right: Share | None = None


class Store:
    """The excerpts of all versions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stock(self, version: Version) -> Stock:
        """What is there of a version; nothing if it is not known yet."""
        with self._database.reading() as connection:
            row = find(connection, version)
            if row is None:
                return Stock()
            real, posts, generated = connection.execute(
                "SELECT count(*) FILTER (WHERE is_real), count(DISTINCT post) FILTER (WHERE is_real), "
                "count(*) FILTER (WHERE NOT is_real) FROM excerpts WHERE version = ?",
                (row["id"],),
            ).fetchone()
        return Stock(real, generated, posts, row["num_asked"], bool(row["is_complete"]), _told_right(row))

    def versions(self) -> list[Version]:
        """The versions of which something is there, the one that came last first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM versions ORDER BY id DESC").fetchall()
        return [version_of(row) for row in rows]

    def all_told_right(self) -> dict[Version, Share]:
        """What the classifier made of each version that it has judged."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM versions WHERE num_judged IS NOT NULL").fetchall()
        return {version_of(row): share for row in rows if (share := _told_right(row)) is not None}

    def excerpts(self, version: Version, *, real: bool) -> list[Excerpt]:
        """The excerpts of one side, in the order in which they came."""
        with self._database.reading() as connection:
            row = find(connection, version)
            found = connection.execute(
                "SELECT * FROM excerpts WHERE version = ? AND is_real = ? ORDER BY id", (row["id"] if row else 0, real)
            ).fetchall()
        return [Excerpt(each["text"], each["post"], each["title"], bool(each["is_opening"])) for each in found]

    def put(self, version: Version, excerpts: Sequence[Excerpt], *, real: bool, num_asked: int = 0) -> None:
        """Add excerpts; a text that is there on the same side stays one. Forgets a version that this one replaces.

        Args:
            num_asked: posts that the generator was asked for, in all.
        """
        with self._database.writing() as connection:
            row = find(connection, version)
            if row is None:
                connection.execute(
                    "DELETE FROM versions WHERE model = ? AND number = ?", (version.model, version.number)
                )
                connection.execute(
                    "INSERT INTO versions (model, number, dataset, origin, num_asked, is_complete) "
                    "VALUES (?, ?, ?, ?, 0, 0)",
                    (version.model, version.number, version.dataset, version.origin),
                )
                row = find(connection, version)
            assert row is not None
            connection.executemany(
                "INSERT OR IGNORE INTO excerpts (version, is_real, post, title, is_opening, text) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [(row["id"], real, each.post, each.title, each.is_opening, each.text) for each in excerpts],
            )
            connection.execute("UPDATE versions SET num_asked = max(num_asked, ?) WHERE id = ?", (num_asked, row["id"]))

    def close(self, version: Version, told_right: Share | None) -> None:
        """Note that all is gathered, and what the classifier made of it: None when it had too few."""
        figures = (told_right.count, told_right.total) if told_right else (None, None)
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE versions SET is_complete = 1, num_right = ?, num_judged = ? "
                "WHERE model = ? AND number = ? AND origin = ?",
                (*figures, version.model, version.number, version.origin),
            )


def find(connection: sqlite3.Connection, version: Version) -> sqlite3.Row | None:
    """A version's row; None if it is not known, or another of its name and number is."""
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM versions WHERE model = ? AND number = ? AND origin = ?",
        (version.model, version.number, version.origin),
    ).fetchone()
    return row


def version_of(row: sqlite3.Row) -> Version:
    """The version that a row of `versions` is about."""
    return Version(row["model"], row["number"], row["dataset"], row["origin"])


def _told_right(row: sqlite3.Row) -> Share | None:
    return Share(row["num_right"], row["num_judged"]) if row["num_judged"] else None

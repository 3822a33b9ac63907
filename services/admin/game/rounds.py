"""Rounds: two excerpts, a guess, and the score.

A player is a browser that has signed in. One round of a version is open to a player at a time, and a guess is taken
once. A round counts when the player had met neither of its excerpts before: who meets one again knows which it is.
"""

from __future__ import annotations

import random
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from services.admin.game.database import Database
from services.admin.game.share import Share
from services.admin.game.store import find, version_of
from services.admin.game.version import Version

SIDES = ("left", "right")
OPEN_S = 24 * 3600.0  # a round that nobody answers is forgotten
ALIKE = 5  # the generated excerpt is drawn from so many whose length is nearest


@dataclass(frozen=True, slots=True)
class Round:
    """A round.

    Args:
        texts: what is shown, left and right.
        guess: the side that the player took for real; empty until then.
        real_side: `left` or `right`. Not for the player before the guess.
        title: of the post that the real one was cut from; empty where it has none.
        counts: the player had met neither excerpt before, and they are from the same place of a post.
    """

    id: str
    texts: tuple[str, str]
    guess: str
    real_side: str
    title: str
    counts: bool

    @property
    def is_right(self) -> bool:
        """Whether the guess was right."""
        return self.guess == self.real_side


@dataclass(frozen=True, slots=True)
class Score:
    """How a version did.

    Args:
        wrong: wrong answers of all players' rounds that count; None: there is none yet.
        own: this player's answers, in order: whether each was right.
        num_left: real excerpts that this player has not been shown.
    """

    wrong: Share | None
    own: tuple[bool, ...]
    num_left: int


class Rounds:
    """The rounds of all players."""

    def __init__(self, database: Database, chance: random.Random | None = None) -> None:
        self._database = database
        self._chance = chance or random.SystemRandom()

    def open(self, version: Version, player: str) -> Round | None:
        """The player's open round of a version, or a new one; None while a side has no excerpt."""
        with self._database.writing() as connection:
            row = find(connection, version)
            if row is None:
                return None
            oldest = time.time() - OPEN_S
            connection.execute("DELETE FROM rounds WHERE guess IS NULL AND dealt_at < ?", (oldest,))
            waiting = connection.execute(
                "SELECT id FROM rounds WHERE version = ? AND player = ? AND guess IS NULL", (row["id"], player)
            ).fetchone()
            identifier = waiting["id"] if waiting else self._deal(connection, row["id"], player)
            return _read(connection, identifier, player) if identifier else None

    def show(self, identifier: str, player: str) -> Round | None:
        """A player's round; None if there is no such, or it is another's."""
        with self._database.reading() as connection:
            return _read(connection, identifier, player)

    def answer(self, identifier: str, player: str, guess: str) -> Round | None:
        """Take a guess, if none was taken, and return the round; None if it is unknown, or another player's.

        Args:
            guess: one of SIDES: where the player sees the real one.
        """
        if guess not in SIDES:
            raise ValueError(f"{guess!r} is not one of {SIDES}")
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE rounds SET guess = ? WHERE id = ? AND player = ? AND guess IS NULL",
                (guess, identifier, player),
            )
            return _read(connection, identifier, player)

    def score(self, version: Version, player: str) -> Score:
        """The score of a version, and the player's part in it."""
        with self._database.reading() as connection:
            row = find(connection, version)
            if row is None:
                return Score(None, (), 0)
            own = connection.execute(
                "SELECT guess = real_side FROM rounds WHERE version = ? AND player = ? AND guess IS NOT NULL "
                "ORDER BY rowid",
                (row["id"], player),
            ).fetchall()
            left = len(_unseen(connection, row["id"], player, _side(connection, row["id"], real=True), "real"))
        return Score(self.all_wrong().get(version), tuple(bool(each[0]) for each in own), left)

    def all_wrong(self) -> dict[Version, Share]:
        """Wrong answers of each version that was played; only rounds that count."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT versions.*, sum(guess != real_side) AS wrong, count(*) AS total "
                "FROM rounds JOIN versions ON versions.id = rounds.version "
                "WHERE guess IS NOT NULL AND counts GROUP BY versions.id"
            ).fetchall()
        return {version_of(row): Share(row["wrong"], row["total"]) for row in rows}

    def _deal(self, connection: sqlite3.Connection, version: int, player: str) -> str | None:
        """Draw two excerpts that the player has not met, where there are such: alike in place and length."""
        real_ones, generated_ones = (_side(connection, version, real=real) for real in (True, False))
        if not real_ones or not generated_ones:
            return None
        unused = _unseen(connection, version, player, generated_ones, "generated")
        places = {each["is_opening"] for each in unused}
        unseen = _unseen(connection, version, player, real_ones, "real")
        fresh = [each for each in unseen if each["is_opening"] in places]
        real = self._chance.choice(fresh or real_ones)
        others = unused if fresh else generated_ones
        same_place = [each for each in others if each["is_opening"] == real["is_opening"]] or others
        alike = sorted(same_place, key=lambda each: abs(len(each["text"]) - len(real["text"])))[:ALIKE]
        identifier = secrets.token_urlsafe(9)
        connection.execute(
            "INSERT INTO rounds (id, version, player, real, generated, real_side, counts, dealt_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                identifier,
                version,
                player,
                real["id"],
                self._chance.choice(alike)["id"],
                self._chance.choice(SIDES),
                bool(fresh),
                time.time(),
            ),
        )
        return identifier


def _side(connection: sqlite3.Connection, version: int, *, real: bool) -> list[sqlite3.Row]:
    return connection.execute(
        "SELECT * FROM excerpts WHERE version = ? AND is_real = ? ORDER BY id", (version, real)
    ).fetchall()


def _unseen(
    connection: sqlite3.Connection, version: int, player: str, excerpts: Sequence[sqlite3.Row], column: str
) -> list[sqlite3.Row]:
    """Those that stood in none of the player's rounds."""
    shown = connection.execute(
        f"SELECT {column} FROM rounds WHERE version = ? AND player = ?", (version, player)
    ).fetchall()
    seen = {row[0] for row in shown}
    return [each for each in excerpts if each["id"] not in seen]


def _read(connection: sqlite3.Connection, identifier: str, player: str) -> Round | None:
    row = connection.execute(
        "SELECT rounds.*, r.text AS real_text, r.title AS title, g.text AS generated_text FROM rounds "
        "JOIN excerpts AS r ON r.id = rounds.real JOIN excerpts AS g ON g.id = rounds.generated "
        "WHERE rounds.id = ? AND player = ?",
        (identifier, player),
    ).fetchone()
    if row is None:
        return None
    texts = (row["real_text"], row["generated_text"])
    return Round(
        id=row["id"],
        texts=texts if row["real_side"] == "left" else (texts[1], texts[0]),
        guess=row["guess"] or "",
        real_side=row["real_side"],
        title=row["title"],
        counts=bool(row["counts"]),
    )

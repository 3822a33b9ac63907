"""Rounds: two excerpts, a guess, and the score.

A player is a browser that has signed in. One round of a version is open to a player at a time, and a guess is taken
once. A round counts when both excerpts are of posts that the player had not met before: who was told which side a post
is on knows the next excerpt of it by its subject.
"""

from __future__ import annotations

import random
import secrets
import sqlite3
import time
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
        counts: the player had met neither post before, and the excerpts are from the same place of them.
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
        num_left: real posts of which this player has been shown nothing.
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
            left = {each["post"] for each in _new(connection, row["id"], player, real=True, by="post")}
        return Score(self.all_wrong().get(version), tuple(bool(each[0]) for each in own), len(left))

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
        """Draw an excerpt of each side, alike in place and length; where there are such, of posts new to the player."""
        real_ones, generated_ones = (_new(connection, version, player, real=real, by="post") for real in (True, False))
        places = {each["is_opening"] for each in generated_ones}
        real_ones = [each for each in real_ones if each["is_opening"] in places]
        is_new = bool(real_ones)
        if not is_new:  # then at least excerpts that were not shown
            real_ones, generated_ones = (
                _new(connection, version, player, real=real, by="id") or _side(connection, version, real=real)
                for real in (True, False)
            )
        if not real_ones or not generated_ones:
            return None
        real = self._chance.choice(real_ones)
        same_place = [each for each in generated_ones if each["is_opening"] == real["is_opening"]] or generated_ones
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
                is_new,
                time.time(),
            ),
        )
        return identifier


def _side(connection: sqlite3.Connection, version: int, *, real: bool) -> list[sqlite3.Row]:
    return connection.execute(
        "SELECT * FROM excerpts WHERE version = ? AND is_real = ? ORDER BY id", (version, real)
    ).fetchall()


def _new(connection: sqlite3.Connection, version: int, player: str, *, real: bool, by: str) -> list[sqlite3.Row]:
    """The excerpts of a side whose `by`, post or id, stood in none of the player's rounds."""
    shown = connection.execute(
        f"SELECT excerpts.{by} FROM rounds JOIN excerpts ON excerpts.id = rounds.{'real' if real else 'generated'} "
        "WHERE rounds.version = ? AND player = ?",
        (version, player),
    ).fetchall()
    met = {row[0] for row in shown}
    return [each for each in _side(connection, version, real=real) if each[by] not in met]


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

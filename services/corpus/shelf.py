"""The shelf: generated posts that wait for a person's word, and what became of them.

What asked for a post and what was answered are kept as the bytes that came; only what lists are chosen by stands in
columns of its own. The file is opened at the first call: a damaged shelf takes nothing from the posts of the corpora,
and one that was mended is served without a restart.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from services.common import volume
from services.common.errors import Busy, FailedPrecondition, NotFound
from services.corpus.database import Database, Schema

_CHANGED = "max(created_at, coalesce(reviewed_at, 0), coalesce(released_at, 0))"
PAGE_BYTES = 8 << 20  # of a page of posts; half of what a message may have

_FIRST = """
CREATE TABLE posts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    model TEXT NOT NULL,            -- its name, without version
    request BLOB NOT NULL,          -- what asked for it
    response BLOB NOT NULL,         -- the whole answer
    summary BLOB NOT NULL,          -- of the answer, what lists show
    beginning TEXT NOT NULL,
    num_words INTEGER NOT NULL,
    created_at REAL NOT NULL,       -- these: seconds since 1970
    reviewed_at REAL,
    released_at REAL,
    released_path TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT ''
);
CREATE INDEX posts_by_state ON posts (state, id);
CREATE INDEX posts_by_model ON posts (model, id);
"""
SHELF = Schema("shelf.db", (_FIRST,), "move the file away and begin an empty shelf")


class State(StrEnum):
    """How far a post is on its way."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    RELEASED = "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPost:
    """A post that is to be put on the shelf; the fields are those of the table."""

    uuid: str
    model: str
    request: bytes
    response: bytes
    summary: bytes
    beginning: str
    num_words: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelfPost:
    """A post on the shelf.

    Args:
        response: the answer; in a list that is not of whole posts, its summary.
    """

    id: int
    uuid: str
    state: State
    request: bytes
    response: bytes
    beginning: str
    num_words: int
    created_at: float
    reviewed_at: float | None
    released_at: float | None
    released_path: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which posts to list, in which order.

    Args:
        states: none is any.
        model: "" is any.
        whole: with the whole answers, not their summaries.
        last_changed_first: in order of when they were added, reviewed or released, not of id.
    """

    states: tuple[State, ...] = ()
    model: str = ""
    oldest_first: bool = False
    whole: bool = False
    last_changed_first: bool = False

    def condition(self) -> tuple[str, list[Any]]:
        """What SQL asks, and the values in it."""
        conditions: list[str] = ["1"]
        values: list[Any] = []
        if self.states:
            conditions.append(f"state IN ({', '.join('?' * len(self.states))})")
            values += map(str, self.states)
        if self.model:
            conditions.append("model = ?")
            values.append(self.model)
        return " AND ".join(conditions), values


class Shelf:
    """The posts on the shelf. Close it when done.

    Args:
        folder: of its file.
        most_posts: how many it may hold.
        now: tells the time, in seconds since 1970.

    Every method raises Corrupt for a damaged file, Busy and FailedPrecondition for a volume that is full or cannot be
    written.
    """

    def __init__(self, folder: Path, most_posts: int, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._most_posts = most_posts
        self._now = now
        self._database: Database | None = None
        self._opening = threading.Lock()

    def add(self, post: NewPost) -> ShelfPost:
        """Put a post on the shelf, or return the one that has its uuid; Busy: the shelf is full."""
        with self._opened().writing() as connection:
            there = connection.execute("SELECT * FROM posts WHERE uuid = ?", (post.uuid,)).fetchone()
            if there is not None:
                return _post(there)
            if connection.execute("SELECT count(*) FROM posts").fetchone()[0] >= self._most_posts:
                raise Busy(
                    f"the shelf holds {self._most_posts:,} posts, as many as it may; delete some, such as rejected "
                    "ones with `nonesuch shelf remove`, or raise NONESUCH_CORPUS_MAX_SHELF_POSTS",
                    reason="SHELF_FULL",
                )
            added = connection.execute(
                "INSERT INTO posts (uuid, state, model, request, response, summary, beginning, num_words, created_at, "
                "note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(post.uuid, State.WAITING, post.model, post.request, post.response, post.summary),
                    *(post.beginning, post.num_words, self._now(), post.note),
                ),
            )
            return _find(connection, added.lastrowid or 0)

    def posts(self, which: Which, after: int | None, limit: int) -> tuple[list[ShelfPost], bool]:
        """Up to `limit` posts, and whether there are more; fewer where they would have more than PAGE_BYTES.

        Args:
            after: id of the last post of the page before; None is the first page.
        """
        condition, values = which.condition()
        if after is not None:
            condition += " AND id > ?" if which.oldest_first else " AND id < ?"
            values.append(after)
        order = "id ASC" if which.oldest_first else "id DESC"
        if which.last_changed_first:
            order = f"{_CHANGED} DESC, id DESC"
        answer = "response" if which.whole else "summary AS response"
        columns = (
            f"id, uuid, state, request, {answer}, beginning, num_words, created_at, reviewed_at, released_at, "
            "released_path, note"
        )
        found: list[ShelfPost] = []
        num_bytes = 0
        with self._opened().reading() as connection:
            # First which, by their ids: no body is sorted.
            chosen = f"SELECT id FROM posts WHERE {condition} ORDER BY {order} LIMIT {limit + 1}"
            for row in connection.execute(
                f"SELECT {columns} FROM posts WHERE id IN ({chosen}) ORDER BY {order}", values
            ):
                num_bytes += len(row["request"]) + len(row["response"]) + len(row["note"])
                if found and (len(found) == limit or num_bytes > PAGE_BYTES):
                    return found, True
                found.append(_post(row))
        return found, False

    def count(self, which: Which) -> int:
        """How many posts there are of these."""
        condition, values = which.condition()
        with self._opened().reading() as connection:
            return int(connection.execute(f"SELECT count(*) FROM posts WHERE {condition}", values).fetchone()[0])

    def room_left(self) -> int:
        """How many posts it takes before it is full."""
        return max(0, self._most_posts - self.count(Which()))

    def post(self, number: int) -> ShelfPost:
        """One post, whole; NotFound if there is none of that id."""
        with self._opened().reading() as connection:
            return _find(connection, number)

    def review(self, number: int, state: State, note: str | None) -> ShelfPost:
        """Give a post a state other than RELEASED; FailedPrecondition: it is released."""
        with self._opened().writing() as connection:
            post = _find(connection, number)
            if post.state == State.RELEASED:
                raise FailedPrecondition(
                    f"post {number} is released{_to(post)}, which nothing takes back; `nonesuch shelf remove {number}` "
                    "takes it off the shelf",
                    reason="RELEASED",
                )
            if post.state != state:
                at = None if state == State.WAITING else self._now()
                connection.execute("UPDATE posts SET state = ?, reviewed_at = ? WHERE id = ?", (state, at, number))
            if note is not None:
                connection.execute("UPDATE posts SET note = ? WHERE id = ?", (note, number))
            return _find(connection, number)

    def release(self, number: int, path: str, at: float | None) -> ShelfPost:
        """Note that a post went out; FailedPrecondition: it is not approved, or went elsewhere.

        Args:
            at: when; None is now.
        """
        with self._opened().writing() as connection:
            post = _find(connection, number)
            if post.state == State.RELEASED and post.released_path == path:
                return post
            if post.state == State.RELEASED:
                raise FailedPrecondition(
                    f"post {number} is released already{_to(post)}; have another written", reason="RELEASED"
                )
            if post.state != State.APPROVED:
                raise FailedPrecondition(
                    f"post {number} is {post.state}, and only approved posts are released; approve it first: "
                    f"`nonesuch shelf approve {number}`",
                    reason="NOT_APPROVED",
                )
            connection.execute(
                "UPDATE posts SET state = ?, released_at = ?, released_path = ? WHERE id = ?",
                (State.RELEASED, self._now() if at is None else at, path, number),
            )
            return _find(connection, number)

    def delete(self, number: int) -> None:
        """Delete a post; NotFound if there is none of that id."""
        with self._opened().writing() as connection:
            _find(connection, number)
            connection.execute("DELETE FROM posts WHERE id = ?", (number,))

    def close(self) -> None:
        """Let another process have the file."""
        with self._opening:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _opened(self) -> Database:
        with self._opening:
            if self._database is None:
                with volume.written(self._folder):
                    self._database = Database(self._folder, SHELF)
            return self._database


def _find(connection: sqlite3.Connection, number: int) -> ShelfPost:
    row = connection.execute("SELECT * FROM posts WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise NotFound(
            f"there is no post {number} on the shelf; `nonesuch shelf list` shows those that are",
            metadata={"post": str(number)},
        )
    return _post(row)


def _post(row: sqlite3.Row) -> ShelfPost:
    return ShelfPost(
        id=row["id"],
        uuid=row["uuid"],
        state=State(row["state"]),
        request=row["request"],
        response=row["response"],
        beginning=row["beginning"],
        num_words=row["num_words"],
        created_at=row["created_at"],
        reviewed_at=row["reviewed_at"],
        released_at=row["released_at"],
        released_path=row["released_path"],
        note=row["note"],
    )


def _to(post: ShelfPost) -> str:
    return f" to {post.released_path}" if post.released_path else ""

"""Selection: which posts of a corpus are taken, worked out anew after every change of its posts or rules.

In: what the catalogue holds. Out: each post's reason and remarks, and the cutoff. A post that is taken by hand is
taken before any rule, one that is left out by hand before any other; then come the rules of choosing, then equal
texts, then texts that are nearly equal. Runs within the change's transaction; memory does not grow with the corpus
but for a few bytes a post.
"""

from __future__ import annotations

import json
import sqlite3
import time

from services.common.errors import NotFound
from services.corpus import near_duplicates
from services.corpus.choosing import Choosing, Facts
from services.corpus.cleaning.marks import Marks
from services.corpus.reasons import Code, Reason
from services.corpus.rules import Rules

INCLUDE, EXCLUDE = "include", "exclude"  # what `posts.override` holds, or NULL
_POSTS_PER_WRITE = 1000
_NO_MARKS = Marks()


def touch(connection: sqlite3.Connection, corpus: str) -> None:
    """After a change of a corpus, which must exist: select its posts anew, and note the time."""
    row = connection.execute("SELECT rules, imported_on FROM corpora WHERE name = ?", (corpus,)).fetchone()
    rules = Rules.from_json(row["rules"])
    newest = _apply_rules(connection, corpus, Choosing(rules, row["imported_on"]))
    _leave_out_duplicates(connection, corpus)
    if rules.near_duplicates != "ignore":
        near_duplicates.tell(connection, corpus, rules)
    connection.execute(
        "UPDATE corpora SET cutoff = ?, updated_at = ? WHERE name = ?",
        (rules.cutoff_date or ("" if rules.include_future else newest), time.time(), corpus),
    )


def override(connection: sqlite3.Connection, corpus: str, paths: list[str], word: str | None) -> None:
    """Take posts in or leave them out by hand, or give them back to the rules (None), and select anew.

    Raises:
        NotFound: one of the paths is unknown.
    """
    for path in paths:
        changed = connection.execute(
            "UPDATE posts SET override = ? WHERE corpus = ? AND path = ?", (word, corpus, path)
        )
        if changed.rowcount == 0:
            raise NotFound(
                f"corpus {corpus!r} holds no post {path!r}; nothing was changed",
                metadata={"corpus": corpus, "path": path},
            )
    touch(connection, corpus)


def _apply_rules(connection: sqlite3.Connection, corpus: str, choosing: Choosing) -> str:
    """Give every post with a document its reason, and return the newest day among those taken, or ""."""
    newest = ""
    changes: list[tuple[str | None, str | None, str, str, str]] = []
    after = ""
    while True:
        rows = connection.execute(
            "SELECT path, code, message, remarks, override, marks, date, tags, language FROM posts "
            "JOIN facts ON facts.document = posts.document WHERE corpus = ? AND path > ? ORDER BY path LIMIT ?",
            (corpus, after, _POSTS_PER_WRITE),
        ).fetchall()
        for row in rows:
            facts = _facts(row)
            reason = choosing.reason(facts)
            remarks = "[]"
            if row["override"] == EXCLUDE:
                reason = Reason(Code.OVERRIDDEN, "it was left out by hand")
            elif row["override"] == INCLUDE and reason is not None:
                remark = f"it was taken in by hand; the rules would leave it out: {reason.message}"
                remarks = json.dumps([[Code.OVERRIDDEN, remark]], ensure_ascii=False)
                reason = None
            if reason is None and newest < facts.day and not choosing.is_future(facts):
                newest = facts.day
            wanted = (reason.code, reason.message) if reason else (None, None)
            if (row["code"], row["message"], row["remarks"]) != (*wanted, remarks):
                changes.append((*wanted, remarks, corpus, row["path"]))
        connection.executemany(
            "UPDATE posts SET code = ?, message = ?, remarks = ? WHERE corpus = ? AND path = ?", changes
        )
        changes.clear()
        if len(rows) < _POSTS_PER_WRITE:
            return newest
        after = rows[-1]["path"]


def _facts(row: sqlite3.Row) -> Facts:
    marks = _NO_MARKS if row["marks"] == "{}" else Marks(**json.loads(row["marks"]))
    tags = () if row["tags"] == "[]" else tuple(json.loads(row["tags"]))
    return Facts(row["path"], row["date"], tags, row["language"], marks)


def _leave_out_duplicates(connection: sqlite3.Connection, corpus: str) -> None:
    """Of posts with the same text, take one: that which was taken in by hand, else the first in order of path."""
    rows = connection.execute(
        "SELECT path, first FROM (SELECT path, override, first_value(path) OVER "
        "(PARTITION BY text_hash ORDER BY override IS NULL, path) AS first FROM posts "
        "JOIN facts ON facts.document = posts.document WHERE corpus = ? AND code IS NULL) "
        "WHERE path <> first AND override IS NULL",
        (corpus,),
    ).fetchall()
    connection.executemany(
        "UPDATE posts SET code = ?, message = ? WHERE corpus = ? AND path = ?",
        [(Code.DUPLICATE, f"the same text as {row['first']}", corpus, row["path"]) for row in rows],
    )

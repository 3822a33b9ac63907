"""The catalogue: which corpora there are, which posts each holds, and what became of every post.

Reads and deletes; posts come in through imports.py and are frozen in snapshots.py.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

from services.common.errors import Corrupt, NotFound
from services.common.files import remove_partials
from services.corpus.cleaning.documents import Document
from services.corpus.cleaning.marks import Marks
from services.corpus.database import Database
from services.corpus.reasons import Code, Reason
from services.corpus.rules import Rules
from services.corpus.selection import override, touch
from services.corpus.sources import Sources

_POSTS = (
    "SELECT posts.*, title, documents.tags, documents.date, text, language, quality, signature FROM posts "
    "LEFT JOIN documents ON hash = posts.document LEFT JOIN facts ON facts.document = posts.document"
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus with its counts.

    Args:
        updated_at: seconds since 1970.
        cutoff: last day of the posts that are no future ones, `YYYY-MM-DD`; "" if none is.
    """

    name: str
    num_posts: int
    num_documents: int
    num_words: int
    updated_at: float
    rules: Rules
    cutoff: str


@dataclass(frozen=True, slots=True)
class Post:
    """A post and what became of it.

    Args:
        source: SHA-256 of the author's bytes, 64 hex digits.
        document: its document; None if there is none. One that is left out has one too.
        left_out: why it is not among the documents; None if it is.
        override: what a person said about it, INCLUDE or EXCLUDE; None if nothing.
        remarks: what choosing noticed.
    """

    path: str
    source: str
    size_bytes: int
    document: Document | None
    left_out: Reason | None
    override: str | None = None
    remarks: tuple[Reason, ...] = ()

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why it is left out, then what choosing noticed, then what was mended."""
        notes = self.document.notes if self.document else ()
        return ((self.left_out,) if self.left_out else ()) + self.remarks + notes


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which posts to list.

    Args:
        included: those among the documents, or those left out; None is both.
        noted: only those in which something was changed or noticed.
        reason: only those that have it.
        language: only those in it; "" is those too short to tell, None any.
    """

    included: bool | None = None
    noted: bool = False
    reason: Code | None = None
    language: str | None = None

    def condition(self) -> tuple[str, tuple[str, ...]]:
        """What SQL asks of posts joined with facts, and the values in it."""
        condition, values = "", []
        if self.included is not None:
            condition += " AND code IS NULL" if self.included else " AND code IS NOT NULL"
        if self.noted:
            condition += " AND (notes <> '[]' OR remarks <> '[]')"
        if self.reason is not None:
            entry = f'["{self.reason}", '  # as `stored_reasons` writes it
            condition += " AND (code = ? OR instr(notes, ?) OR instr(remarks, ?))"
            values += [str(self.reason), entry, entry]
        if self.language is not None:
            condition += " AND language = ?"
            values.append(self.language)
        return condition, tuple(values)


class Catalogue:
    """Corpora and posts.

    Args:
        database: the catalogue's file.
        sources: the authors' bytes.
    """

    def __init__(self, database: Database, sources: Sources) -> None:
        self.database = database
        self.sources = sources
        self._importing = 0  # documents and sources of running imports are referred to by nothing yet
        self._guard = threading.Lock()
        self._tried: set[str] = set()  # sources whose cleaning was tried while this service runs

    def corpora(self, after: str, limit: int) -> list[Corpus]:
        """Up to `limit` corpora in order of name, from the first name greater than `after`."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT * FROM corpora WHERE name > ? ORDER BY name LIMIT ?", (after, limit))
            return [_corpus(connection, row) for row in rows.fetchall()]

    def corpus(self, name: str) -> Corpus:
        """One corpus; raise NotFound if there is none of that name."""
        with self.database.reading() as connection:
            return _corpus(connection, find_corpus(connection, name))

    def posts(self, corpus: str, after: str, limit: int, which: Which | None = None) -> list[Post]:
        """Up to `limit` posts in order of path, beginning after `after`; NotFound: no such corpus."""
        condition, values = (which or Which()).condition()
        with self.database.reading() as connection:
            find_corpus(connection, corpus)
            rows = connection.execute(
                f"{_POSTS} WHERE corpus = ? AND path > ?{condition} ORDER BY path LIMIT ?",
                (corpus, after, *values, limit),
            )
            return [_post(row) for row in rows]

    def count_posts(self, corpus: str, which: Which) -> int:
        """How many posts `posts` would list in all; NotFound: no such corpus."""
        condition, values = which.condition()
        with self.database.reading() as connection:
            find_corpus(connection, corpus)
            row = connection.execute(
                "SELECT count(*) FROM posts LEFT JOIN facts ON facts.document = posts.document "
                f"WHERE corpus = ?{condition}",
                (corpus, *values),
            ).fetchone()
            return int(row[0])

    def post(self, corpus: str, path: str) -> Post:
        """One post; raise NotFound if the corpus or the post does not exist."""
        with self.database.reading() as connection:
            find_corpus(connection, corpus)
            row = connection.execute(f"{_POSTS} WHERE corpus = ? AND path = ?", (corpus, path)).fetchone()
        if row is None:
            raise NotFound(f"corpus {corpus!r} holds no post {path!r}", metadata={"corpus": corpus, "path": path})
        return _post(row)

    def source_digests(self, corpus: str, paths: Iterable[str]) -> dict[str, str]:
        """SHA-256 by path of those of the posts that are there; empty for an unknown corpus."""
        found = {}
        with self.database.reading() as connection:
            for path in paths:
                row = connection.execute("SELECT source FROM posts WHERE corpus = ? AND path = ?", (corpus, path))
                if (source := row.fetchone()) is not None:
                    found[path] = source[0]
        return found

    def failed_sources(self, corpus: str) -> dict[str, str]:
        """SHA-256 by path of the posts whose cleaning failed, but was not tried while this service runs.

        An import tries them again: the service may be a newer one, or have had too little memory.
        """
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT path, source FROM posts WHERE corpus = ? AND code = ?", (corpus, Code.CLEANING_FAILED)
            )
            return {row["path"]: row["source"] for row in rows if not self._is_tried(row["source"])}

    def note_tried(self, source: str) -> None:
        """Note that the cleaning of a post was tried."""
        with self._guard:
            self._tried.add(source)

    def _is_tried(self, source: str) -> bool:
        with self._guard:
            return source in self._tried

    def delete_posts(self, corpus: str, paths: list[str]) -> int:
        """Remove posts and return how many; raise NotFound, removing none, if one is unknown."""
        with self.database.writing() as connection:
            find_corpus(connection, corpus)
            unique = list(dict.fromkeys(paths))
            for path in unique:
                removed = connection.execute("DELETE FROM posts WHERE corpus = ? AND path = ?", (corpus, path))
                if removed.rowcount == 0:
                    raise NotFound(
                        f"corpus {corpus!r} holds no post {path!r}; nothing was removed",
                        metadata={"corpus": corpus, "path": path},
                    )
            touch(connection, corpus)
        self.sweep()
        return len(unique)

    def override_posts(self, corpus: str, paths: list[str], word: str | None) -> list[Post]:
        """Take posts in or leave them out by hand, or give them back to the rules; return them in the order given.

        Args:
            word: INCLUDE or EXCLUDE; None is the rules.

        Raises:
            NotFound: the corpus, or one of the posts, does not exist; then nothing is changed.
        """
        with self.database.writing() as connection:
            find_corpus(connection, corpus)
            override(connection, corpus, paths, word)
        return [self.post(corpus, path) for path in paths]

    def delete_corpus(self, name: str) -> None:
        """Remove a corpus with its posts, snapshots and reports; raise NotFound if there is none."""
        with self.database.writing() as connection:
            find_corpus(connection, name)
            connection.execute("DELETE FROM corpora WHERE name = ?", (name,))
        self.sweep()

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Nothing is swept while the block runs."""
        with self._guard:
            self._importing += 1
        try:
            yield
        finally:
            with self._guard:
                self._importing -= 1

    def sweep(self) -> None:
        """Forget documents and sources that nothing refers to; does nothing while an import runs."""
        with self._guard:  # an import that begins meanwhile waits
            if self._importing:
                return
            # Files first: on a full volume this makes the room that the rest needs.
            remove_partials(self.database.path.parent)  # what ended imports left
            self.sources.remove_partials()
            for first, digests in groupby(self.sources.digests(), lambda digest: digest[:2]):
                with self.database.reading() as connection:
                    rows = connection.execute(
                        "SELECT source FROM posts WHERE source GLOB :first "
                        "UNION SELECT source FROM snapshot_posts WHERE source GLOB :first",
                        {"first": f"{first}*"},
                    )
                    used = {row["source"] for row in rows}
                for digest in digests:
                    if digest not in used:
                        self.sources.remove(digest)
            with self.database.writing() as connection:
                connection.execute(
                    "DELETE FROM documents "
                    "WHERE hash NOT IN (SELECT document FROM posts WHERE document IS NOT NULL) "
                    "AND hash NOT IN (SELECT document FROM snapshot_posts WHERE document IS NOT NULL)"
                )


def find_corpus(connection: sqlite3.Connection, name: str) -> sqlite3.Row:
    """The row of a corpus; raise NotFound naming it if there is none."""
    row = connection.execute("SELECT * FROM corpora WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NotFound(
            f"there is no corpus {name!r}; import posts into it with `nonesuch posts add`",
            metadata={"corpus": name},
        )
    return row


def count(connection: sqlite3.Connection, corpus: str) -> tuple[int, int]:
    """How many documents a corpus has, and how many words they have."""
    row = connection.execute(
        "SELECT count(*) AS documents, total(num_words) AS words FROM posts "
        "JOIN facts ON facts.document = posts.document WHERE corpus = ? AND code IS NULL",
        (corpus,),
    ).fetchone()
    return row["documents"], int(row["words"])


def document_of(row: sqlite3.Row) -> Document:
    """The document in a row of posts, or snapshot_posts, joined with documents; Corrupt if it is damaged."""
    document = Document(
        *(row["title"], tuple(json.loads(row["tags"])), row["date"], row["text"], reasons_of(row["notes"])),
        marks=Marks(**json.loads(row["marks"])),
    )
    if document.content_hash != row["document"]:
        raise Corrupt(
            f"the stored document of post {row['path']!r} is damaged; delete the post and import it again",
            metadata={"path": row["path"]},
        )
    return document


def reasons_of(stored: str) -> tuple[Reason, ...]:
    """Reasons from the JSON list of [code, message] that the catalogue keeps."""
    return () if stored == "[]" else tuple(Reason(Code(code), message) for code, message in json.loads(stored))


def stored_reasons(reasons: Iterable[Reason]) -> str:
    """The JSON list that `reasons_of` reads."""
    return json.dumps([[reason.code, reason.message] for reason in reasons], ensure_ascii=False)


def _post(row: sqlite3.Row) -> Post:
    document = None
    if row["document"] is not None:
        document = dataclasses.replace(
            document_of(row),
            language=row["language"],
            quality=json.loads(row["quality"]),
            signature=row["signature"],
        )
    return Post(
        path=row["path"],
        source=row["source"],
        size_bytes=row["size_bytes"],
        document=document,
        left_out=None if row["code"] is None else Reason(Code(row["code"]), row["message"]),
        override=row["override"],
        remarks=reasons_of(row["remarks"]),
    )


def _corpus(connection: sqlite3.Connection, row: sqlite3.Row) -> Corpus:
    num_posts = connection.execute("SELECT count(*) FROM posts WHERE corpus = ?", (row["name"],)).fetchone()[0]
    num_documents, num_words = count(connection, row["name"])
    return Corpus(
        row["name"],
        num_posts,
        num_documents,
        num_words,
        row["updated_at"],
        Rules.from_json(row["rules"]),
        row["cutoff"],
    )

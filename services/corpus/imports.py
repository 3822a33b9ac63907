"""Imports: posts come into a corpus, all of them or none, and a report says what became of each.

Posts that are there with the same bytes cost a hash. The others are cleaned as they arrive; their documents
are stored as they come, and nothing refers to these until the one transaction that ends the import.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import PurePosixPath

from services.common.errors import FailedPrecondition, InvalidRequest
from services.corpus import bundles
from services.corpus.catalogue import Catalogue, count, reasons_of, stored_reasons
from services.corpus.choosing import check_rules
from services.corpus.cleaners import Cleaners, Outcome
from services.corpus.cleaning.documents import Document
from services.corpus.kinds import POSTS, unknown_kind
from services.corpus.ledger import SENT, SKIPPED, UNCHANGED, Ledger
from services.corpus.reasons import Code, Reason
from services.corpus.reports import Report, write
from services.corpus.rules import Rules
from services.corpus.selection import touch

MAX_PATH_LENGTH = 1000
_POSTS_PER_TRANSACTION = 256
_BYTES_PER_TRANSACTION = 4 << 20
_POSTS_UNDER_WAY = 64  # per process, so that none waits while posts are stored
_BYTES_UNDER_WAY = 32 << 20
_NOT_IN_PATHS = re.compile(r"[\x00-\x1f\x7f\\]")
_STAYS = f"state IN ('{UNCHANGED}', '{SENT}')"  # of the paths that came, those that are posts
_COLUMNS = "corpus, path, source, size_bytes, modified_at, document, code, message, notes, marks"


def check_path(path: str) -> str:
    """Return a path that can be a post's, or raise InvalidRequest.

    Args:
        path: relative, `/` between parts, no `.` or `..` among them, no control characters.
    """
    parts = path.split("/")
    if not path or len(path) > MAX_PATH_LENGTH or any(part in ("", ".", "..") for part in parts):
        raise InvalidRequest(
            f"{path[:MAX_PATH_LENGTH]!r} is no post's path: give a path relative to the folder, with '/' "
            f"between its parts, without '..', of at most {MAX_PATH_LENGTH} characters",
            field="path",
        )
    if _NOT_IN_PATHS.search(path):
        raise InvalidRequest(f"{path!r} is no post's path: it holds a backslash or a control character", field="path")
    return path


def today() -> str:
    """Today's date in UTC, `YYYY-MM-DD`."""
    return datetime.now(UTC).date().isoformat()


class Import:
    """One import under way: `add` and `skip` posts, then `commit`. What is not committed never happened.

    To be used inside `catalogue.importing()`.

    Args:
        catalogue: where posts go.
        cleaners: who cleans them.
        corpus: name of the corpus, made if new.
        rules: how to clean; None keeps the corpus's rules, or takes the defaults for a new one.
        prune: remove the posts that are neither added nor named in `unchanged_paths`.
        unchanged_paths: posts that the caller has but does not send.
        day: day of the import, `YYYY-MM-DD`: what is dated later is a future post. Empty: today's date in UTC.

    Raises:
        FailedPrecondition: a path among the unchanged ones is not there.
        InvalidRequest: rules that cannot be kept.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        cleaners: Cleaners,
        corpus: str,
        *,
        rules: Rules | None = None,
        prune: bool = False,
        unchanged_paths: Iterable[str] = (),
        day: str = "",
    ) -> None:
        self._catalogue = catalogue
        self._cleaners = cleaners
        self._corpus = corpus
        self._prune = prune
        self._day = day or today()
        self._ledger = Ledger(catalogue.database, corpus)
        self._bundle_digests = bundles.digests(catalogue, corpus)
        self._kept_bundles: set[str] = set()  # what they brought stays, whether it is pruned or not
        self._opened: dict[str, str] = {}  # bundles that were opened, with their SHA-256
        self.say_unchanged(unchanged_paths)
        with catalogue.database.reading() as connection:
            present = self._rules_before = _present_rules(connection, corpus)
        self._rules = check_rules(rules or Rules.of_now(present or Rules()))
        self._must_clean_all = present is not None and not present.cleans_as(self._rules)
        self._cleaning: deque[tuple[str, str, int, float | None, Future[Outcome]]] = deque()
        self._bytes_under_way = self._bytes_cleaned = 0
        self._sources = catalogue.sources.arrivals()
        self._documents: list[Document] = []
        self._cleaned: list[tuple[object, ...]] = []  # rows for the ledger

    def say_unchanged(self, paths: Iterable[str]) -> None:
        """Note posts, archives and exports that the caller has but does not send.

        Raises:
            FailedPrecondition: the corpus does not hold one of them.
        """
        posts = []
        for path in paths:
            if path in self._bundle_digests:
                self.keep_bundle(path)
            elif self._ledger.known(path) is not None:
                posts.append(path)
            else:
                raise FailedPrecondition(
                    f"post {path!r} is said to be unchanged, but corpus {self._corpus!r} does not hold it; "
                    "ask again which posts are needed, and send them",
                    metadata={"path": path},
                )
        self._ledger.say_unchanged(posts)

    def has_bundle(self, path: str, digest: str) -> bool:
        """Whether all posts of an archive or export with this SHA-256 are there."""
        return self._bundle_digests.get(path) == digest and bundles.is_whole(self._catalogue, self._corpus, path)

    def keep_bundle(self, path: str, problem: Reason | None = None) -> None:
        """What an archive or export brought before stays as it is.

        Args:
            problem: why the file that came now cannot be opened; None if it is the same as before.
        """
        self._kept_bundles.add(path)
        members = bundles.members(self._catalogue, self._corpus, path)
        self._ledger.say_unchanged(member for member, _ in members if self._ledger.known(member) is not None)
        if problem is not None:
            self.skip(path, problem)
        self._ledger.skip_if_unsaid(bundles.left_out(self._catalogue, self._corpus, path))

    def begin_bundle(self, path: str, digest: str) -> None:
        """The posts of an archive or export come next, `bundle` being its path."""
        self._opened[path] = digest

    def add(self, path: str, content: bytes, modified_at: float | None = None, *, bundle: str = "") -> None:
        """Take in a post.

        Args:
            bundle: the archive or export that it came in.

        Raises:
            InvalidRequest: the path cannot be a post's, or came before.
        """
        self._see(path)
        if PurePosixPath(path).suffix.lower() not in POSTS:
            self._ledger.skip(path, Reason(Code.UNKNOWN_KIND, unknown_kind(path)), bundle=bundle)
            return
        digest = hashlib.sha256(content).hexdigest()
        if self._ledger.known(path) == digest:
            self._ledger.say(path, UNCHANGED, bundle=bundle)
            self._sources.add(content, digest)  # no more than a look, unless it got lost on the volume
        else:
            self._ledger.say(path, SENT, bundle=bundle)
            self._clean(path, content, digest, modified_at)

    def skip(self, path: str, reason: Reason, *, bundle: str = "") -> None:
        """Note a file that is left out without having been sent, or that is left out of a bundle."""
        self._see(path)
        self._ledger.skip(path, reason, bundle=bundle, is_refused=bool(bundle))

    def commit(self) -> Report:
        """Clean what is left to clean, then make the import happen, and return its report.

        Raises:
            FailedPrecondition: another import changed meanwhile what this one took for granted.
        """
        # Under other rules every post is cleaned anew, whether it came or not; else those whose cleaning failed once.
        if self._must_clean_all:
            self._clean_again(self._ledger.all_known())
        else:
            self._clean_again(self._catalogue.failed_sources(self._corpus).items())
        self._drain(0)
        self._store_documents()
        self._sources.settle()
        self._ledger.finish()
        with self._catalogue.database.writing(self._ledger.path) as connection:
            report = self._write(connection)
        self._ledger.close()
        return report

    def _clean_again(self, posts: Iterable[tuple[str, str]]) -> None:
        """Clean those that did not come and are to stay, by path and SHA-256."""
        for path, source in posts:
            state = self._ledger.state(path)
            if state != SENT and (state == UNCHANGED or not self._prune):
                self._clean(path, self._catalogue.sources.get(source), source, None)

    def _see(self, path: str) -> None:
        check_path(path)
        if self._ledger.state(path) in (SENT, SKIPPED):
            raise InvalidRequest(f"post {path!r} was sent twice", field="file.path")

    def _clean(self, path: str, content: bytes, source: str, modified_at: float | None) -> None:
        self._sources.add(content, source)
        future = self._cleaners.submit(path, content, self._rules)
        self._cleaning.append((path, source, len(content), modified_at, future))
        self._bytes_under_way += len(content)
        self._drain(_POSTS_UNDER_WAY * self._cleaners.num_processes)

    def _drain(self, limit: int) -> None:
        """Take the results of cleaning until at most `limit` posts are under way: memory stays bounded."""
        what: tuple[object, ...]
        while len(self._cleaning) > limit or (self._cleaning and self._bytes_under_way > _BYTES_UNDER_WAY):
            path, source, size_bytes, modified_at, future = self._cleaning.popleft()
            outcome = future.result()
            self._bytes_under_way -= size_bytes
            if isinstance(outcome, Reason):
                if outcome.code is Code.CLEANING_FAILED:
                    self._catalogue.note_tried(source)
                what = (None, outcome.code, outcome.message, "[]", "{}")
            else:
                self._documents.append(outcome)
                self._bytes_cleaned += outcome.num_bytes
                notes = stored_reasons(outcome.notes) if outcome.notes else "[]"
                what = (outcome.content_hash, None, None, notes, outcome.marks.to_json())
            self._cleaned.append((path, source, size_bytes, modified_at, *what))
            if len(self._cleaned) >= _POSTS_PER_TRANSACTION or self._bytes_cleaned >= _BYTES_PER_TRANSACTION:
                self._store_documents()

    def _store_documents(self) -> None:
        documents: list[tuple[object, ...]] = []
        facts: list[tuple[object, ...]] = []
        for document in self._documents:
            digest, tags = document.content_hash, json.dumps(document.tags, ensure_ascii=False)
            documents.append((digest, document.title, tags, document.date, document.text))
            facts.append(
                (
                    *(digest, document.text_hash, document.num_words, document.num_bytes, document.date, tags),
                    *(document.language, json.dumps(document.quality, sort_keys=True), document.signature),
                )
            )
        with self._catalogue.database.writing() as connection:
            connection.executemany("INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?, ?)", documents)
            # Equal documents may have been looked at by an earlier version.
            connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", facts)
        self._ledger.note_cleaned(self._cleaned)
        self._documents.clear()
        self._cleaned.clear()
        self._bytes_cleaned = 0

    def _write(self, connection: sqlite3.Connection) -> Report:
        now = time.time()
        self._check_nothing_came_between(connection)
        # A clock that jumped back makes no future posts of those that were in.
        connection.execute(
            "INSERT INTO corpora VALUES (?, ?, ?, ?, '') ON CONFLICT (name) DO UPDATE SET "
            "rules = excluded.rules, imported_on = max(imported_on, excluded.imported_on)",
            (self._corpus, self._rules.to_json(), now, self._day),
        )
        corpus = {"corpus": self._corpus}
        connection.execute(
            "UPDATE came.paths SET source_before = (SELECT source FROM posts "
            "WHERE corpus = :corpus AND posts.path = paths.path) WHERE size_bytes IS NOT NULL",
            corpus,
        )
        connection.execute(
            f"INSERT INTO posts ({_COLUMNS}) SELECT :corpus, path, source, size_bytes, modified_at, document, code, "
            "message, notes, marks FROM came.paths WHERE size_bytes IS NOT NULL ON CONFLICT DO UPDATE SET "
            "source = excluded.source, size_bytes = excluded.size_bytes, document = excluded.document, "
            "modified_at = coalesce(excluded.modified_at, modified_at), code = excluded.code, "
            "message = excluded.message, notes = excluded.notes, marks = excluded.marks, remarks = '[]'",
            corpus,
        )
        num_removed = 0
        if self._prune:
            num_removed = connection.execute(
                "DELETE FROM posts WHERE corpus = :corpus "
                f"AND path NOT IN (SELECT path FROM came.paths WHERE {_STAYS})",
                corpus,
            ).rowcount
        bundles.write(connection, self._corpus, self._opened)
        if self._prune:
            bundles.forget_all_but(connection, self._corpus, self._kept_bundles | self._opened.keys())
        touch(connection, self._corpus)
        num_documents, num_words = count(connection, self._corpus)
        # Those that are left out are counted by their reasons.
        row = connection.execute(
            "SELECT total(size_bytes_came IS NOT NULL AND source_before IS NULL) AS added, "
            "total(size_bytes_came IS NOT NULL AND source_before <> source) AS changed, "
            f"total(state = '{UNCHANGED}') AS unchanged FROM (SELECT came.paths.size_bytes AS size_bytes_came, "
            "source_before, came.paths.source AS source, state FROM came.paths JOIN posts USING (path) "
            "WHERE corpus = :corpus AND posts.code IS NULL)",
            corpus,
        ).fetchone()
        counts = (int(row["added"]), int(row["changed"]), int(row["unchanged"]), num_removed, num_documents, num_words)
        return write(connection, self._corpus, now, counts, self._reasons(connection))

    def _check_nothing_came_between(self, connection: sqlite3.Connection) -> None:
        """What this import took for granted must still be so; other imports may have ended while it ran."""
        corpus = {"corpus": self._corpus}
        changed = connection.execute(
            "SELECT min(paths.path) FROM came.paths LEFT JOIN came.known USING (path) "
            "LEFT JOIN posts ON posts.corpus = :corpus AND posts.path = paths.path "
            f"WHERE (state = '{UNCHANGED}' OR (state <> '{SENT}' AND paths.size_bytes IS NOT NULL)) "
            "AND posts.source IS NOT coalesce(paths.source, known.source)",
            corpus,
        ).fetchone()[0]
        if changed is None and self._must_clean_all:  # what came in besides was cleaned by the rules of before
            changed = connection.execute(
                "SELECT min(path) FROM posts WHERE corpus = :corpus AND path NOT IN (SELECT path FROM came.known) "
                f"AND path NOT IN (SELECT path FROM came.paths WHERE {_STAYS})",
                corpus,
            ).fetchone()[0]
        rules = _present_rules(connection, self._corpus)
        if changed is not None or rules not in (None, self._rules_before, self._rules):
            what = "the rules" if changed is None else f"post {changed!r}"
            raise FailedPrecondition(
                f"{what} of corpus {self._corpus!r} changed while this import ran; nothing was changed by it, "
                "import again",
                metadata={"corpus": self._corpus},
            )

    def _reasons(self, connection: sqlite3.Connection) -> list[tuple[str, bool, Reason]]:
        """What was skipped, and what became of each post that came or was said to be there."""
        rows = connection.execute(
            f"SELECT path, skipped_code, skipped_message FROM came.paths WHERE state = '{SKIPPED}' ORDER BY path"
        )
        reasons = [(row[0], True, Reason(Code(row[1]), row[2])) for row in rows]
        rows = connection.execute(
            "SELECT path, posts.code, posts.message, remarks, posts.notes FROM came.paths JOIN posts USING (path) "
            f"WHERE corpus = ? AND {_STAYS} "
            "AND (posts.code IS NOT NULL OR posts.notes <> '[]' OR remarks <> '[]') ORDER BY path",
            (self._corpus,),
        )
        for row in rows:
            if row["code"] is not None:
                reasons.append((row["path"], True, Reason(Code(row["code"]), row["message"])))
            noted = (*reasons_of(row["remarks"]), *reasons_of(row["notes"]))
            reasons += [(row["path"], False, reason) for reason in noted]
        return reasons


def _present_rules(connection: sqlite3.Connection, corpus: str) -> Rules | None:
    row = connection.execute("SELECT rules FROM corpora WHERE name = ?", (corpus,)).fetchone()
    return None if row is None else Rules.from_json(row["rules"])

"""Imports: posts come into a corpus, all of them or none, and a report says what became of each.

Posts that are there with the same bytes cost a hash. The others are cleaned as they arrive; their documents
are stored as they come, and nothing refers to these until the one transaction that ends the import.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from services.common.errors import FailedPrecondition, InvalidRequest
from services.corpus import bundles
from services.corpus.catalogue import Catalogue, count, reasons_of, stored_reasons
from services.corpus.choosing import check_rules
from services.corpus.cleaners import Cleaners, Outcome
from services.corpus.documents import SUFFIXES, Document, unknown_kind
from services.corpus.reasons import Code, Reason
from services.corpus.reports import Report, write
from services.corpus.rules import Rules
from services.corpus.selection import touch

MAX_PATH_LENGTH = 1000
_DOCUMENTS_PER_TRANSACTION = 64
_POSTS_UNDER_WAY = 64  # per process, so that none waits while posts are stored
_BYTES_UNDER_WAY = 32 << 20
_COLUMNS = "corpus, path, source, size_bytes, modified_at, document, code, message, notes, marks"


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A post that was cleaned and waits for the end of the import."""

    path: str
    source: str
    size_bytes: int
    modified_at: float | None
    document: str | None
    left_out: Reason | None
    notes: tuple[Reason, ...]
    marks: str


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
    if "\\" in path or any(ord(character) < 32 or character == "\x7f" for character in path):
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
        self._known = catalogue.source_digests(corpus)
        self._skipped: dict[str, Reason] = {}
        self._bundle_digests = bundles.digests(catalogue, corpus)
        self._kept_bundles: set[str] = set()  # what they brought stays, whether it is pruned or not
        self._opened: dict[str, str] = {}  # bundles that were opened, with their SHA-256
        self._brought: list[tuple[str, str]] = []  # by which bundle, and which post
        self._refused: list[tuple[str, str, Reason]] = []
        self._unchanged: set[str] = set()
        self._seen: set[str] = set()
        for path in unchanged_paths:
            if path in self._bundle_digests:
                self.keep_bundle(path)
            else:
                self._unchanged.add(path)
        for path in self._unchanged - self._known.keys():
            raise FailedPrecondition(
                f"post {path!r} is said to be unchanged, but corpus {corpus!r} does not hold it; "
                "ask again which posts are needed, and send them",
                metadata={"path": path},
            )
        with catalogue.database.reading() as connection:
            present = self._rules_before = _present_rules(connection, corpus)
        self._rules = check_rules(rules or Rules.of_now(present or Rules()))
        self._must_clean_all = present is not None and not present.cleans_as(self._rules)
        self._seen |= self._unchanged
        self._cleaned_again: dict[str, str] = {}  # posts that did not come, with the source that was cleaned
        self._cleaning: deque[tuple[str, str, int, float | None, Future[Outcome]]] = deque()
        self._num_bytes = 0  # of the posts that are being cleaned
        self._sources = catalogue.sources.arrivals()
        self._documents: list[Document] = []
        self._arrivals: list[_Arrival] = []

    def has_bundle(self, path: str, digest: str) -> bool:
        """Whether all posts of an archive or export with this SHA-256 are there."""
        return self._bundle_digests.get(path) == digest and bundles.is_whole(self._catalogue, self._corpus, path)

    def keep_bundle(self, path: str, problem: Reason | None = None) -> None:
        """What an archive or export brought before stays as it is.

        Args:
            problem: why the file that came now cannot be opened; None if it is the same as before.
        """
        self._kept_bundles.add(path)
        brought = bundles.members(self._catalogue, self._corpus, path).keys() & self._known.keys()
        self._unchanged |= brought
        self._seen |= brought
        if problem is not None:
            self.skip(path, problem)
        for member, reason in bundles.left_out(self._catalogue, self._corpus, path).items():
            self._skipped.setdefault(member, reason)

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
        if bundle:
            self._brought.append((bundle, path))
        if PurePosixPath(path).suffix.lower() not in SUFFIXES:
            self._leave_out(path, Reason(Code.UNKNOWN_KIND, unknown_kind(path)))
            return
        digest = hashlib.sha256(content).hexdigest()
        if self._known.get(path) == digest:
            self._unchanged.add(path)
            self._sources.add(content, digest)  # no more than a look, unless it got lost on the volume
        else:
            self._clean(path, content, digest, modified_at)

    def skip(self, path: str, reason: Reason, *, bundle: str = "") -> None:
        """Note a file that is left out without having been sent, or that is left out of a bundle."""
        self._see(path)
        if bundle:
            self._refused.append((bundle, path, reason))
        self._leave_out(path, reason)

    def commit(self) -> Report:
        """Clean what is left to clean, then make the import happen, and return its report.

        Raises:
            FailedPrecondition: another import changed meanwhile what this one took for granted.
        """
        # Under other rules every post is cleaned anew, whether it came or not; else those whose cleaning failed once.
        again = self._known if self._must_clean_all else self._catalogue.failed_sources(self._corpus)
        arrived = {arrival.path for arrival in self._arrivals} | {entry[0] for entry in self._cleaning}
        for path, source in again.items():
            if path not in arrived and not (self._prune and path not in self._seen):
                self._cleaned_again[path] = source
                self._clean(path, self._catalogue.sources.get(source), source, None)
        self._drain(0)
        self._store_documents()
        self._sources.settle()
        with self._catalogue.database.writing() as connection:
            return self._write(connection)

    def _see(self, path: str) -> None:
        check_path(path)
        if (path in self._seen and path not in self._unchanged) or path in self._skipped:
            raise InvalidRequest(f"post {path!r} was sent twice", field="file.path")
        self._seen.add(path)
        self._unchanged.discard(path)

    def _leave_out(self, path: str, reason: Reason) -> None:
        self._skipped[path] = reason
        self._seen.discard(path)  # so that `prune` removes what was there under this path

    def _clean(self, path: str, content: bytes, source: str, modified_at: float | None) -> None:
        self._sources.add(content, source)
        future = self._cleaners.submit(path, content, self._rules)
        self._cleaning.append((path, source, len(content), modified_at, future))
        self._num_bytes += len(content)
        self._drain(_POSTS_UNDER_WAY * self._cleaners.num_processes)

    def _drain(self, limit: int) -> None:
        """Take the results of cleaning until at most `limit` posts are under way: memory stays bounded."""
        while len(self._cleaning) > limit or (self._cleaning and self._num_bytes > _BYTES_UNDER_WAY):
            path, source, size_bytes, modified_at, future = self._cleaning.popleft()
            outcome = future.result()
            self._num_bytes -= size_bytes
            if isinstance(outcome, Reason):
                if outcome.code is Code.CLEANING_FAILED:
                    self._catalogue.note_tried(source)
                self._arrivals.append(_Arrival(path, source, size_bytes, modified_at, None, outcome, (), "{}"))
                continue
            self._documents.append(outcome)
            self._arrivals.append(
                _Arrival(
                    *(path, source, size_bytes, modified_at, outcome.content_hash, None, outcome.notes),
                    outcome.marks.to_json(),
                )
            )
            if len(self._documents) >= _DOCUMENTS_PER_TRANSACTION:
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
        self._documents.clear()

    def _write(self, connection: sqlite3.Connection) -> Report:
        now = time.time()
        present = {
            row["path"]: row["source"]
            for row in connection.execute("SELECT path, source FROM posts WHERE corpus = ?", (self._corpus,))
        }
        self._check_nothing_came_between(connection, present)
        # A clock that jumped back makes no future posts of those that were in.
        connection.execute(
            "INSERT INTO corpora VALUES (?, ?, ?, ?, '') ON CONFLICT (name) DO UPDATE SET "
            "rules = excluded.rules, imported_on = max(imported_on, excluded.imported_on)",
            (self._corpus, self._rules.to_json(), now, self._day),
        )
        connection.executemany(
            f"INSERT INTO posts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "source = excluded.source, size_bytes = excluded.size_bytes, document = excluded.document, "
            "modified_at = coalesce(excluded.modified_at, modified_at), code = excluded.code, "
            "message = excluded.message, notes = excluded.notes, marks = excluded.marks, remarks = '[]'",
            [_row(self._corpus, arrival) for arrival in self._arrivals],
        )
        doomed = [path for path in present if path not in self._seen] if self._prune else []
        connection.executemany("DELETE FROM posts WHERE corpus = ? AND path = ?", [(self._corpus, p) for p in doomed])
        bundles.write(connection, self._corpus, self._opened, self._brought, self._refused)
        if self._prune:
            bundles.forget_all_but(connection, self._corpus, self._kept_bundles | self._opened.keys())
        touch(connection, self._corpus)
        num_documents, num_words = count(connection, self._corpus)
        rows = connection.execute("SELECT path FROM posts WHERE corpus = ? AND code IS NOT NULL", (self._corpus,))
        left_out = {row["path"] for row in rows}  # these are counted by their reasons
        came = [arrival for arrival in self._arrivals if arrival.path not in left_out]
        new = [arrival for arrival in came if arrival.path not in present]
        changed = [a for a in came if a.path in present and a.source != present[a.path]]
        num_unchanged = len(self._unchanged - left_out)
        counts = (len(new), len(changed), num_unchanged, len(doomed), num_documents, num_words)
        return write(connection, self._corpus, now, counts, self._reasons(connection))

    def _check_nothing_came_between(self, connection: sqlite3.Connection, present: dict[str, str]) -> None:
        """What this import took for granted must still be so; other imports may have ended while it ran."""
        relied_on = {path: self._known.get(path) for path in self._unchanged} | self._cleaned_again
        changed = [path for path, source in relied_on.items() if present.get(path) != source]
        if self._must_clean_all:  # what came in besides was cleaned by the rules of before
            changed += present.keys() - self._known.keys() - self._seen
        rules = _present_rules(connection, self._corpus)
        if changed or rules not in (None, self._rules_before, self._rules):
            what = f"post {min(changed)!r}" if changed else "the rules"
            raise FailedPrecondition(
                f"{what} of corpus {self._corpus!r} changed while this import ran; nothing was changed by it, "
                "import again",
                metadata={"corpus": self._corpus},
            )

    def _reasons(self, connection: sqlite3.Connection) -> list[tuple[str, bool, Reason]]:
        """What was skipped, and what became of each post that came or was said to be there."""
        reasons = [(path, True, reason) for path, reason in self._skipped.items()]
        rows = connection.execute(
            "SELECT path, code, message, remarks, notes FROM posts "
            "WHERE corpus = ? AND (code IS NOT NULL OR notes <> '[]' OR remarks <> '[]')",
            (self._corpus,),
        )
        for row in rows:
            if row["path"] in self._seen:
                if row["code"] is not None:
                    reasons.append((row["path"], True, Reason(Code(row["code"]), row["message"])))
                noted = (*reasons_of(row["remarks"]), *reasons_of(row["notes"]))
                reasons += [(row["path"], False, reason) for reason in noted]
        return reasons


def _present_rules(connection: sqlite3.Connection, corpus: str) -> Rules | None:
    row = connection.execute("SELECT rules FROM corpora WHERE name = ?", (corpus,)).fetchone()
    return None if row is None else Rules.from_json(row["rules"])


def _row(corpus: str, arrival: _Arrival) -> tuple[object, ...]:
    left_out = arrival.left_out
    return (
        *(corpus, arrival.path, arrival.source, arrival.size_bytes, arrival.modified_at, arrival.document),
        *((left_out.code, left_out.message) if left_out else (None, None)),
        *(stored_reasons(arrival.notes), arrival.marks),
    )

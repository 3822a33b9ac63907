"""The report of a corpus: how much there is, from when, in which languages, what was left out and why.

Counts come from the catalogue by SQL; left-over markup from one pass over the documents, one text in memory at a
time. That needs the posts' sources too, but only where a text looks suspicious.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import Counter
from dataclasses import dataclass, field

from services.common.errors import Corrupt, NotFound
from services.corpus.catalogue import Catalogue, Post, find_corpus, reasons_of
from services.corpus.leftovers import Leftover, leftovers, suspects
from services.corpus.reasons import Code
from services.corpus.rules import Rules

NUM_EXAMPLES = 5  # paths per reason
NUM_LONGEST = 10
NUM_LEFTOVERS = 20
NUM_REMEMBERED = 32  # reports, by corpus: each is a few kB

_TAKEN = "FROM posts JOIN facts ON facts.document = posts.document WHERE corpus = ? AND code IS NULL"


@dataclass(frozen=True, slots=True)
class Counted:
    """Something that documents have, how many have it, and their words. `name` may be empty."""

    name: str
    num_documents: int
    num_words: int


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """A reason, how many posts have it, and the first paths of them."""

    code: Code
    num_posts: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeftoverCount:
    """A kind of markup, how many documents hold it, and where the first instance is."""

    kind: str
    num_documents: int
    example: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusReport:
    """A corpus described; the proto's `CorpusReport` says what each field means."""

    corpus: str
    num_posts: int
    num_documents: int
    num_words: int
    num_bytes: int
    first_date: str
    last_date: str
    languages: tuple[Counted, ...]
    left_out: tuple[ReasonCount, ...]
    noted: tuple[ReasonCount, ...]
    longest: tuple[Post, ...]
    leftovers: tuple[LeftoverCount, ...]
    months: tuple[Counted, ...]
    num_undated: int


class Reports:
    """Describes corpora, and remembers each description until its corpus changes. Safe to use from many threads."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._guard = threading.Lock()
        self._remembered: dict[str, tuple[tuple[object, ...], CorpusReport]] = {}

    def describe(self, corpus: str) -> CorpusReport:
        """Describe a corpus; raise NotFound if there is none of that name."""
        with self._catalogue.database.reading() as connection:
            row = find_corpus(connection, corpus)
            version = (row["updated_at"], row["rules"])
            with self._guard:
                remembered = self._remembered.get(corpus)
            if remembered is not None and remembered[0] == version:
                return remembered[1]
            report = _describe(self._catalogue, connection, corpus, Rules.from_json(row["rules"]))
        with self._guard:
            self._remembered.pop(corpus, None)
            self._remembered[corpus] = (version, report)
            while len(self._remembered) > NUM_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
        return report


def _describe(catalogue: Catalogue, connection: sqlite3.Connection, corpus: str, rules: Rules) -> CorpusReport:
    totals = connection.execute(
        "SELECT count(*) AS documents, total(num_words) AS words, total(num_bytes) AS bytes, "
        "coalesce(min(nullif(date, '')), '') AS first, coalesce(max(date), '') AS last, "
        f"count(CASE WHEN date = '' THEN 1 END) AS undated {_TAKEN}",
        (corpus,),
    ).fetchone()
    return CorpusReport(
        corpus=corpus,
        num_posts=connection.execute("SELECT count(*) FROM posts WHERE corpus = ?", (corpus,)).fetchone()[0],
        num_documents=totals["documents"],
        num_words=int(totals["words"]),
        num_bytes=int(totals["bytes"]),
        first_date=totals["first"],
        last_date=totals["last"],
        languages=_languages(connection, corpus),
        left_out=_left_out(connection, corpus),
        noted=_noted(connection, corpus),
        longest=_longest(catalogue, connection, corpus),
        leftovers=_leftovers(catalogue, connection, corpus, markdown=rules.form == "markdown"),
        months=_months(connection, corpus),
        num_undated=totals["undated"],
    )


def _languages(connection: sqlite3.Connection, corpus: str) -> tuple[Counted, ...]:
    rows = connection.execute(
        f"SELECT language, count(*) AS documents, total(num_words) AS words {_TAKEN} "
        "GROUP BY language ORDER BY documents DESC, language",
        (corpus,),
    )
    return tuple(Counted(row["language"], row["documents"], int(row["words"])) for row in rows)


def _longest(catalogue: Catalogue, connection: sqlite3.Connection, corpus: str) -> tuple[Post, ...]:
    rows = connection.execute(f"SELECT path {_TAKEN} ORDER BY num_words DESC, path LIMIT ?", (corpus, NUM_LONGEST))
    posts = []
    for row in rows:
        with contextlib.suppress(NotFound):  # removed since this view was taken
            posts.append(catalogue.post(corpus, row["path"]))
    return tuple(posts)


@dataclass(slots=True)
class _Tally:
    """How many posts have a reason, and the first of them."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, path: str) -> None:
        self.count += 1
        if len(self.examples) < NUM_EXAMPLES:
            self.examples.append(path)


def _left_out(connection: sqlite3.Connection, corpus: str) -> tuple[ReasonCount, ...]:
    tallies: dict[Code, _Tally] = {}
    rows = connection.execute(
        "SELECT path, code FROM posts WHERE corpus = ? AND code IS NOT NULL ORDER BY path", (corpus,)
    )
    for row in rows:
        tallies.setdefault(Code(row["code"]), _Tally()).add(row["path"])
    return _most_frequent(tallies)


def _noted(connection: sqlite3.Connection, corpus: str) -> tuple[ReasonCount, ...]:
    """What was changed or noticed in documents that are taken; a post counts once per kind."""
    tallies: dict[Code, _Tally] = {}
    rows = connection.execute(
        "SELECT path, notes, remarks FROM posts WHERE corpus = ? AND code IS NULL "
        "AND (notes <> '[]' OR remarks <> '[]') ORDER BY path",
        (corpus,),
    )
    for row in rows:
        reasons = reasons_of(row["remarks"]) + reasons_of(row["notes"])
        for code in dict.fromkeys(reason.code for reason in reasons):
            tallies.setdefault(code, _Tally()).add(row["path"])
    return _most_frequent(tallies)


def _most_frequent(tallies: dict[Code, _Tally]) -> tuple[ReasonCount, ...]:
    ordered = sorted(tallies.items(), key=lambda entry: (-entry[1].count, entry[0]))
    return tuple(ReasonCount(code, tally.count, tuple(tally.examples)) for code, tally in ordered)


def _months(connection: sqlite3.Connection, corpus: str) -> tuple[Counted, ...]:
    """Every month from the first to the last, those without documents too."""
    rows = connection.execute(
        f"SELECT substr(date, 1, 7) AS month, count(*) AS documents, total(num_words) AS words {_TAKEN} "
        "AND date <> '' GROUP BY month ORDER BY month",
        (corpus,),
    ).fetchall()
    counted = {row["month"]: Counted(row["month"], row["documents"], int(row["words"])) for row in rows}
    if not counted:
        return ()
    first, last = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (min(counted), max(counted)))
    names = (f"{number // 12:04}-{number % 12 + 1:02}" for number in range(first, last + 1))
    return tuple(counted.get(name, Counted(name, 0, 0)) for name in names)


def _leftovers(
    catalogue: Catalogue, connection: sqlite3.Connection, corpus: str, *, markdown: bool
) -> tuple[LeftoverCount, ...]:
    counts: Counter[str] = Counter()
    first: dict[str, tuple[Leftover, str]] = {}
    rows = connection.execute(
        "SELECT path, source, text FROM posts JOIN documents ON hash = document "
        "WHERE corpus = ? AND code IS NULL ORDER BY path",
        (corpus,),
    )
    for row in rows:
        suspected = suspects(row["text"], markdown=markdown)
        for leftover in leftovers(suspected, _source(catalogue, row["source"])) if suspected else ():
            counts[leftover.kind] += 1
            first.setdefault(leftover.kind, (leftover, row["path"]))
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:NUM_LEFTOVERS]
    return tuple(LeftoverCount(kind, number, first[kind][0].example, first[kind][1]) for kind, number in ordered)


def _source(catalogue: Catalogue, digest: str) -> str:
    """A post's source as text, good enough to look for markup in; empty if it is damaged."""
    try:
        content = catalogue.sources.get(digest)
    except Corrupt:
        return ""  # whoever reads the post is told; a report goes on without it
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="replace")

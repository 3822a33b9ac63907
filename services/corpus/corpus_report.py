"""The report of a corpus: how much there is, from when, in which languages, what was left out and why.

Counts come from the catalogue by SQL; left-over markup from one pass over the documents, one text in memory at a
time. That needs the posts' sources too, but only where a text looks suspicious.
"""

from __future__ import annotations

import bisect
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
    totals = _Totals()
    rows = connection.execute(
        "SELECT path, date, language, num_words, num_bytes FROM posts "
        "JOIN facts ON facts.document = posts.document WHERE corpus = ? AND code IS NULL",
        (corpus,),
    )
    for path, date, language, num_words, num_bytes in rows:
        totals.add(path, date, language, num_words, num_bytes)
    return CorpusReport(
        corpus=corpus,
        num_posts=connection.execute("SELECT count(*) FROM posts WHERE corpus = ?", (corpus,)).fetchone()[0],
        num_documents=totals.num_documents,
        num_words=totals.num_words,
        num_bytes=totals.num_bytes,
        first_date=totals.first_date,
        last_date=totals.last_date,
        languages=tuple(
            Counted(name, *count) for name, count in sorted(totals.languages.items(), key=lambda e: (-e[1][0], e[0]))
        ),
        left_out=_left_out(connection, corpus),
        noted=_noted(connection, corpus),
        longest=_longest(catalogue, corpus, totals.longest),
        leftovers=_leftovers(catalogue, connection, corpus, markdown=rules.form == "markdown"),
        months=_months(totals.months),
        num_undated=totals.num_undated,
    )


@dataclass(slots=True)
class _Totals:
    """What is counted in one pass over the documents. Languages and months have [documents, words]."""

    num_documents: int = 0
    num_words: int = 0
    num_bytes: int = 0
    num_undated: int = 0
    first_date: str = ""
    last_date: str = ""
    languages: dict[str, list[int]] = field(default_factory=dict)
    months: dict[str, list[int]] = field(default_factory=dict)
    longest: list[tuple[int, str]] = field(default_factory=list)
    """Of at most NUM_LONGEST documents, minus the words and the path, in order."""

    def add(self, path: str, date: str, language: str, num_words: int, num_bytes: int) -> None:
        self.num_documents += 1
        self.num_words += num_words
        self.num_bytes += num_bytes
        _count(self.languages, language, num_words)
        if date:
            self.first_date = min(self.first_date or date, date)
            self.last_date = max(self.last_date, date)
            _count(self.months, date[:7], num_words)
        else:
            self.num_undated += 1
        entry = (-num_words, path)
        if len(self.longest) < NUM_LONGEST or entry < self.longest[-1]:
            bisect.insort(self.longest, entry)
            del self.longest[NUM_LONGEST:]


def _count(counts: dict[str, list[int]], name: str, num_words: int) -> None:
    count = counts.setdefault(name, [0, 0])
    count[0] += 1
    count[1] += num_words


def _longest(catalogue: Catalogue, corpus: str, longest: list[tuple[int, str]]) -> tuple[Post, ...]:
    posts = []
    for _, path in longest:
        with contextlib.suppress(NotFound):  # removed since this view was taken
            posts.append(catalogue.post(corpus, path))
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


def _months(counts: dict[str, list[int]]) -> tuple[Counted, ...]:
    """Every month from the first to the last, those without documents too."""
    if not counts:
        return ()
    first, last = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (min(counts), max(counts)))
    names = (f"{number // 12:04}-{number % 12 + 1:02}" for number in range(first, last + 1))
    return tuple(Counted(name, *counts.get(name, (0, 0))) for name in names)


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

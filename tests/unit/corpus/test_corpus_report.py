"""The report of corpora that were built with known numbers."""

from __future__ import annotations

import pytest

from services.common.errors import NotFound
from services.corpus.catalogue import Catalogue
from services.corpus.corpus_report import NUM_EXAMPLES, NUM_LONGEST, CorpusReport, Reports
from services.corpus.reasons import Code
from tests.unit.corpus import inline


def bring(catalogue: Catalogue, posts: dict[str, str | bytes], **options) -> None:
    inline.bring(catalogue, inline.InlineCleaners(), posts, **options)


def described(catalogue: Catalogue, posts: dict[str, str | bytes], **options) -> CorpusReport:
    bring(catalogue, posts, **options)
    return Reports(catalogue).describe("default")


def test_a_report_counts_documents_words_bytes_and_dates(catalogue):
    report = described(
        catalogue,
        {
            "2019-03-01-a.md": "two wörds",
            "2019-05-30-b.md": "and three more",
            "2019-05-31-c.md": "one",
            "undated.md": "no date here",
            "draft.md": "---\ndraft: true\ndate: 2031-01-01\n---\nnever counted",
        },
    )

    assert (report.num_posts, report.num_documents, report.num_words) == (5, 4, 9)
    assert report.num_bytes == len("two wörds".encode()) + len("and three more") + len("one") + len("no date here")
    assert (report.first_date, report.last_date, report.num_undated) == ("2019-03-01", "2019-05-31", 1)


def test_months_run_from_the_first_to_the_last_with_the_empty_ones_between(catalogue):
    report = described(catalogue, {"2018-11-01-a.md": "a b", "2019-01-05-b.md": "c", "2019-01-06-c.md": "d e f"})

    months = [(month.name, month.num_documents, month.num_words) for month in report.months]
    assert months == [("2018-11", 1, 2), ("2018-12", 0, 0), ("2019-01", 2, 4)]


def test_posts_left_out_are_counted_by_reason_with_the_first_paths(catalogue):
    drafts = {f"_drafts/{number}.md": f"text {number}" for number in range(NUM_EXAMPLES + 2)}
    report = described(catalogue, {**drafts, "a.md": "the same", "b.md": "the same", "empty.md": ""})

    counts = [(found.code, found.num_posts) for found in report.left_out]
    assert counts[0] == (Code.DRAFT, NUM_EXAMPLES + 2)
    assert sorted(counts[1:]) == [(Code.DUPLICATE, 1), (Code.EMPTY, 1)]
    assert report.left_out[0].examples == tuple(sorted(drafts)[:NUM_EXAMPLES])
    assert sum(found.num_posts for found in report.left_out) == report.num_posts - report.num_documents


def test_what_was_mended_in_documents_is_counted_by_reason(catalogue):
    report = described(
        catalogue,
        {
            "a.md": "Grüße aus Köln, schöne Grüße".encode("latin-1"),
            "b.md": '---\ntitle: a: b\ntags: ["a\n---\ntext',
            "c.md": "plain",
        },
    )

    counts = {found.code: (found.num_posts, found.examples) for found in report.noted}
    assert counts[Code.LEGACY_ENCODING] == (1, ("a.md",))
    assert counts[Code.BROKEN_FRONT_MATTER] == (1, ("b.md",))


def test_the_longest_documents_come_longest_first(catalogue):
    report = described(catalogue, {f"{number:02}.md": f"word{number} " * number for number in range(1, 15)})

    assert [post.path for post in report.longest] == [f"{14 - rank:02}.md" for rank in range(NUM_LONGEST)]


def test_left_over_markup_is_counted_by_documents_with_an_instance(catalogue):
    report = described(
        catalogue,
        {
            "a.txt": "Two tags <div> and </div> in one text.",
            "b.txt": "Another <span> here, and a [link](https://example.org).",
            "c.txt": "Nothing.",
        },
    )

    found = [(left.kind, left.num_documents, left.example, left.path) for left in report.leftovers]
    assert found == [
        ("HTML tag", 2, "<div>", "a.txt"),
        ("Markdown link", 1, "[link](https://example.org)", "b.txt"),
    ]


def test_code_that_an_author_shows_is_no_left_over(catalogue):
    report = described(catalogue, {"a.md": "A `<div>` and:\n\n```html\n<div>{{ x }}</div>\n```\n"})

    assert report.leftovers == ()


def test_a_damaged_source_does_not_keep_a_report_from_being_made(catalogue):
    bring(catalogue, {"a.txt": "A <div> here."})
    (digest,) = catalogue.sources.digests()
    catalogue.sources.remove(digest)

    assert Reports(catalogue).describe("default").leftovers == ()


def test_an_unknown_corpus_is_not_found(catalogue):
    with pytest.raises(NotFound, match="no corpus 'default'"):
        Reports(catalogue).describe("default")


def test_a_corpus_without_documents_has_a_report_of_nothing(catalogue):
    report = described(catalogue, {"a.md": ""})

    assert (report.num_posts, report.num_documents, report.num_bytes) == (1, 0, 0)
    assert (report.first_date, report.last_date, report.months, report.longest) == ("", "", (), ())


def test_a_report_is_remembered_until_the_corpus_changes(catalogue):
    bring(catalogue, {"a.md": "one"})
    reports = Reports(catalogue)
    first = reports.describe("default")

    assert reports.describe("default") is first
    bring(catalogue, {"b.md": "two"})
    assert reports.describe("default").num_documents == 2
    catalogue.delete_posts("default", ["a.md"])
    assert reports.describe("default").num_documents == 1

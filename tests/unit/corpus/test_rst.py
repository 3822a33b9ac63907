"""reStructuredText, as Pelican and others have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.corpus.cleaning.documents import make_document
from services.corpus.reasons import LeftOut
from services.corpus.rules import Rules

FOLDER = Path(__file__).parent / "generators" / "rst"


def made(source: str):
    return make_document("a.rst", source.encode(), Rules(include_drafts=True))


def test_a_post_becomes_the_document_that_a_reader_would_expect():
    document = make_document("a.rst", (FOLDER / "article.rst").read_bytes(), Rules())

    assert (document.title, document.date) == ("Bees in winter", "2019-09-01")
    assert document.tags == ("bees", "winter", "nature")
    assert document.text + "\n" == (FOLDER / "expected.txt").read_text()


def test_fields_are_found_wherever_a_generator_puts_them():
    for source in (
        "Title\n=====\n\n:date: 2018-01-02\n:tags: a, b\n\nText.",
        ":title: Title\n:date: 2018-01-02\n:tags: a, b\n\nText.",
        ".. title: Title\n.. date: 2018-01-02 10:00\n.. tags: a, b\n\nText.",
        "---\ntitle: Title\ndate: 2018-01-02\ntags: [a, b]\n---\nText.",
    ):
        document = made(source)
        assert (document.title, document.date, document.tags, document.text) == (
            "Title",
            "2018-01-02",
            ("a", "b"),
            "Text.",
        )


def test_a_draft_stays_one():
    assert "draft" in made("T\n=\n\n:status: draft\n\nText.").marks.draft


def test_no_file_is_read_and_nothing_of_an_error_is_shown():
    text = made(
        ".. include:: /etc/passwd\n\n.. literalinclude:: /etc/passwd\n\n.. csv-table:: x\n   :file: /etc/passwd\n\n"
        ".. raw:: html\n   :file: /etc/passwd\n\n.. role:: r(raw)\n   :format: html\n\n"
        "Before `broken_ *open and |gone| [5]_ :r:`<i>x</i>`.\n\nTitle\n--\n\nOdd\n^^^^\n\n   indented\n after\n"
    ).text

    assert "root:" not in text and "System Message" not in text and "docutils" not in text.lower()
    for word in ("Before", "gone", "Title", "Odd", "indented", "after"):
        assert word in text


def test_what_a_post_defines_does_not_reach_the_next():
    made(".. role:: mine\n\n:mine:`a` :theirs:`b`\n\n.. odd:: x\n")
    from docutils.parsers.rst import directives, roles

    assert not {"mine", "theirs"} & set(roles._roles)
    assert "odd" not in directives._directives


@pytest.mark.parametrize("piece", ["- ", "(a) ", "> ", "   ", ".. x::\n   "])
def test_deep_nesting_ends(piece: str):
    try:
        made("a\n\n" + piece * 3000 + "b")
    except (LeftOut, RecursionError):
        return


def test_the_day_of_the_import_is_no_part_of_a_document():
    post = b"Title\n=====\n\nSeen |today| here.\n\n.. |today| date::\n"
    assert make_document("a.rst", post, Rules()).text == "Seen here."


def test_formulas_go_where_the_rules_say_so():
    post = b"Title\n=====\n\nIt is :math:`x^2` here.\n\n.. math::\n\n   y = x^2\n\nEnd.\n"
    assert "y = x^2" in make_document("a.rst", post, Rules()).text
    assert make_document("a.rst", post, Rules(keep_maths=False)).text == "It is here.\n\nEnd."


def test_the_heading_above_all_is_the_title_though_others_of_its_rank_follow():
    document = made("Hives\n=====\n\nFirst words.\n\nWax\n===\n\nMore words.\n")

    assert (document.title, document.text) == ("Hives", "First words.\n\nWax\n\nMore words.")


@pytest.mark.parametrize("above", ["", "Hives\n=====\n\n"])
def test_ablogs_directive_tells_date_and_tags_wherever_it_stands(above: str):
    heading = "" if above else "Hives\n=====\n\n"
    document = made(f"{above}.. post:: 17 Feb, 2013\n   :tags: bees, wax\n   :author: Ann\n\n{heading}Words.\n")

    assert (document.title, document.date, document.tags) == ("Hives", "2013-02-17", ("bees", "wax"))
    assert document.text == "Words."


def test_ablogs_directive_without_a_date_marks_a_draft():
    assert made("Hives\n=====\n\n.. post::\n   :tags: wax\n\nWords.\n").marks.draft
    assert not made("Hives\n=====\n\n.. post:: 2013-02-17\n\nWords.\n").marks.draft


def test_words_for_other_writers_are_no_words_of_the_page():
    text = made("Words.\n\n.. only:: html\n\n   Shown.\n\n.. only:: latex\n\n   Printed.\n").text

    assert text == "Words.\n\nShown."


def test_sections_get_no_numbers_that_the_author_did_not_write():
    assert made("Words.\n\n.. section-numbering::\n\nWax\n===\n\nMore.\n").text == "Words.\n\nWax\n\nMore."

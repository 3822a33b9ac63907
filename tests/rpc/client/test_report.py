"""`nonesuch corpus report` against services that answer from memory."""

from __future__ import annotations

import json
from functools import partial

import pytest

from protos import corpus_pb2


@pytest.fixture
def report(fakes, run):
    fakes.corpus.reports["default"] = a_report()
    return partial(run, "corpus", "report")


def a_report() -> corpus_pb2.CorpusReport:
    report = corpus_pb2.CorpusReport(
        corpus="default", num_posts=120, num_documents=100, num_words=60_000, num_bytes=330_000,
        first_date="2017-03-01", last_date="2019-02-11", num_undated=4,
    )  # fmt: skip
    report.languages.add(language="en", num_documents=97, num_words=59_000)
    report.languages.add(language="", num_documents=3, num_words=1_000)
    report.left_out.add(code=corpus_pb2.REASON_CODE_DRAFT, num_posts=15, examples=["d1.md", "d2.md", "d3.md"])
    report.left_out.add(code=corpus_pb2.REASON_CODE_DUPLICATE, num_posts=5, examples=["twice.md"])
    report.noted.add(code=corpus_pb2.REASON_CODE_NEAR_DUPLICATE, num_posts=2, examples=["nearly.md"])
    report.longest.add(path="long.md", title="The long one", num_words=4_321)
    report.leftovers.add(kind="HTML tag", num_documents=7, example="<div class='x'>", path="tags.md")
    for number in range(24):
        month = f"{2017 + (number + 2) // 12}-{(number + 2) % 12 + 1:02}"
        report.months.add(month=month, num_documents=number % 5, num_words=100)
    return report


def test_a_report_says_how_much_there_is_and_what_was_left_out(report):
    said = report().output

    for words in (
        "120, 20 left out", "60,000", "2017-03-01 to 2019-02-11, 4 without a date", "too short to tell",
        "d1.md, d2.md and 13 more", "5 left out, with the same text as another",
        "2 kept, with nearly the same text as another", "4,321", "The long one",
        "HTML tag", "<div class='x'>", "tags.md",
    ):  # fmt: skip
        assert words in said


def test_a_report_draws_posts_over_time(report):
    said = report().output
    lines = [line for line in said.splitlines() if line.startswith("20") and "█" in line]

    assert "\nOver time, posts per month\n" in said
    assert lines[0].startswith("2017-04")
    assert max(line.count("█") for line in lines) == 40


def test_a_report_says_what_to_expect_of_every_base(report):
    said = report().output

    assert all(f"\n{base}" in said for base in ("nano", "micro", "mini", "124M", "355M", "774M", "1558M"))


def test_tokens_are_counted_with_a_vocabulary_of_the_corpus(fakes, report):
    fakes.tokenizer.corpus_tokens["default", "default-2048-aa"] = 123_456

    assert "123,456 (counted with vocabulary default-2048-aa)" in report().output


def test_gpt2s_vocabulary_is_preferred_and_decides_what_to_expect(fakes, report):
    fakes.tokenizer.vocabularies = ["124M", "default-2048-aa"]
    fakes.tokenizer.corpus_tokens["default", "124M"] = 300_000

    said = json.loads(report("--json").output)

    assert (said["num_tokens"], said["vocabulary"]) == (300_000, "124M")
    assert next(each for each in said["expectations"] if each["base"] == "124M")["outlook"] == "good"


@pytest.mark.parametrize("vocabularies", [["default-2048-aa"], ["other-2048-aa"], []])
def test_tokens_are_estimated_when_they_cannot_be_counted_and_said_to_be(fakes, report, vocabularies):
    fakes.tokenizer.vocabularies = vocabularies

    assert "about 82,500 (estimated from words and bytes)" in report().output
    assert json.loads(report("--json").output)["num_tokens_estimated"] is True


def test_the_json_holds_the_whole_report(report):
    said = json.loads(report("--json").output)

    assert said["left_out"][0] == {"code": "DRAFT", "num_posts": 15, "examples": ["d1.md", "d2.md", "d3.md"]}
    assert len(said["months"]) == 24
    assert said["advice"]


def test_an_unknown_corpus_is_named(report):
    assert "nowhere" in report("--corpus", "nowhere", status=1).output


def test_a_report_of_nothing_is_short_and_complete(fakes, report):
    fakes.corpus.reports["default"] = corpus_pb2.CorpusReport(corpus="default")

    said = report().output

    assert "none was found" in said
    assert "Add posts" in said

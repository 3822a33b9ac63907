"""Marks and rules: what a post says of itself, and which posts the rules leave out."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from services.common.errors import InvalidRequest
from services.corpus.choosing import Choosing, Facts, check_rules, path_pattern
from services.corpus.cleaning.frontmatter import split
from services.corpus.cleaning.marks import Marks, find_marks
from services.corpus.reasons import Code
from services.corpus.rules import Rules

TODAY = "2024-06-01"


def marks(content: str, path: str = "a.md") -> Marks:
    return find_marks(split(content).fields, PurePosixPath(path))


def code(rules: Rules, **facts) -> Code | None:
    given = {"path": "notes/a.md", "date": "", "tags": (), "language": "", "marks": Marks()} | facts
    reason = Choosing(check_rules(rules), TODAY).reason(Facts(**given))
    return reason.code if reason else None


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ("---\ndraft: true\n---\nText", "a.md"),
        ("---\nDraft: yes\n---\nText", "a.md"),
        ("+++\ndraft = true\n+++\nText", "a.md"),
        ('{"draft": true}\nText', "a.md"),
        ("---\npublished: false\n---\nText", "a.md"),
        ("---\npublish: false\n---\nText", "a.md"),
        ("---\nstatus: draft\n---\nText", "a.md"),
        ("Title: x\nStatus: draft\n\nText", "a.md"),
        ("---\ntitle: broken: yes\ndraft: true\n---\nText", "a.md"),
        ("Text", "_drafts/a.md"),
    ],
)
def test_drafts_are_marked(content: str, path: str):
    found = marks(content, path)

    assert found.draft and not found.unlisted
    assert code(Rules(), marks=found) == Code.DRAFT
    assert code(Rules(include_drafts=True), marks=found) is None


@pytest.mark.parametrize(
    "content",
    [
        "---\nunlisted: true\n---\nText",
        "---\nhidden: true\n---\nText",
        "---\nheadless: true\n---\nText",
        "---\nbuild:\n  list: never\n---\nText",
        "+++\ntitle = 'x'\n[_build]\nlist = false\n+++\nText",
        "---\neleventyExcludeFromCollections: true\n---\nText",
        "+++\nrender = false\n+++\nText",
        "---\npermalink: false\n---\nText",
        "Title: x\nStatus: hidden\n\nText",
    ],
)
def test_unlisted_posts_are_marked(content: str):
    found = marks(content)

    assert found.unlisted and not found.draft
    assert code(Rules(), marks=found) == Code.UNLISTED
    assert code(Rules(include_unlisted=True), marks=found) is None


@pytest.mark.parametrize(
    "content",
    [
        "---\ndraft: false\nunlisted: false\n---\nText",
        "---\npublished: 2019-01-01\n---\nText",
        "---\npermalink: /a/\nsitemap: false\nnoindex: true\n---\nText",
        "---\nstatus: published\n---\nText",
        "---\nbuild:\n  list: always\n  render: always\n---\nText",
        "---\nexpiryDate: 2001-01-01\n---\nText",
        "Text about drafts",
    ],
)
def test_other_posts_have_no_mark(content: str):
    assert marks(content, "posts/drafts.md") == Marks()


def test_a_post_is_future_by_the_day_on_which_it_is_published():
    later = marks("---\ndate: 2020-01-01\npublishDate: 2030-02-01T10:00:00Z\n---\nText")

    assert later.due == "2030-02-01"
    assert code(Rules(), date="2020-01-01", marks=later) == Code.FUTURE
    assert code(Rules(), date="2024-06-02") == Code.FUTURE
    assert code(Rules(), date=TODAY) is None
    assert code(Rules(cutoff_date="2020-01-01"), date="2020-01-02") == Code.FUTURE
    assert code(Rules(cutoff_date="2031-01-01"), date="2030-01-01") is None
    assert code(Rules(include_future=True), date="2099-01-01") is None
    assert code(Rules(), date="") is None


def test_a_secret_leaves_a_post_out_if_the_rules_say_so():
    held = Marks(secrets="1 AWS key")

    assert code(Rules(secrets="leave_out"), marks=held) == Code.SECRET
    assert code(Rules(secrets="mask"), marks=held) is None


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("notes/*.md", ["notes/a.md"], ["notes/b/a.md", "a.md", "notes/a.txt", "old/notes/a.md"]),
        ("notes/**", ["notes/a.md", "notes/b/a.md"], ["notes.md", "old/notes/a.md"]),
        ("notes/", ["notes/a.md", "notes/b/a.md"], ["notes.md"]),
        ("**/*.txt", ["a.txt", "b/c/a.txt"], ["a.txt/b.md"]),
        ("**/drafts/**", ["drafts/a.md", "x/drafts/y/a.md"], ["drafts.md", "x/drafts"]),
        ("2019/**/bees/*.md", ["2019/bees/a.md", "2019/1/2/bees/a.md"], ["2019/bees/1/a.md"]),
        ("**/a/**/b/c.md", ["a/b/c.md", "a/a/x/b/b/c.md"], ["a/c.md", "b/a/c.md"]),
        ("[slug].md", ["[slug].md"], ["s.md"]),
        ("a?.md", ["ab.md"], ["a.md", "a/b.md"]),
    ],
)
def test_patterns_match_whole_paths(pattern: str, matching: list[str], other: list[str]):
    matches = path_pattern(pattern)

    assert [path for path in [*matching, *other] if matches(path)] == matching


def test_paths_tags_dates_and_languages_choose():
    assert code(Rules(include_paths=("posts/**",))) == Code.EXCLUDED
    assert code(Rules(include_paths=("posts/**", "notes/*"))) is None
    assert code(Rules(exclude_paths=("notes/*",), include_paths=("**",))) == Code.EXCLUDED
    assert code(Rules(include_tags=("Birds",)), tags=("water", "birds")) is None
    assert code(Rules(include_tags=("Birds",)), tags=("water",)) == Code.EXCLUDED
    assert code(Rules(exclude_tags=("WATER",)), tags=("water", "birds")) == Code.EXCLUDED
    assert code(Rules(first_date="2019-01-01"), date="2018-12-31") == Code.EXCLUDED
    assert code(Rules(first_date="2019-01-01"), date="2019-01-01") is None
    assert code(Rules(first_date="2019-01-01")) == Code.EXCLUDED
    assert code(Rules(last_date="2019-01-01"), date="2019-01-02") == Code.EXCLUDED
    assert code(Rules(include_languages=("EN",)), language="de") == Code.EXCLUDED
    assert code(Rules(include_languages=("en",)), language="en") is None
    assert code(Rules(include_languages=("en",)), language="") is None
    assert code(Rules(exclude_languages=("de",)), language="de") == Code.EXCLUDED


def test_rules_have_one_form():
    given = Rules(include_tags=("b", "a ", "b"), include_languages=("EN",))

    assert check_rules(given) == Rules(include_tags=("a", "b"), include_languages=("en",))
    assert check_rules(check_rules(given)) == check_rules(given)


@pytest.mark.parametrize(
    ("field", "rules"),
    [
        ("cutoff_date", Rules(cutoff_date="tomorrow")),
        ("first_date", Rules(first_date="2019-02-30")),
        ("first_date", Rules(first_date="20190203")),
        ("first_date", Rules(first_date="2020-01-01", last_date="2019-01-01")),
        ("last_date", Rules(last_date="2019-1-1")),
        ("near_duplicate_similarity", Rules(near_duplicate_similarity=0.2)),
        ("near_duplicate_similarity", Rules(near_duplicate_similarity=80)),
        ("near_duplicate_similarity", Rules(near_duplicate_similarity=float("nan"))),
        ("include_paths", Rules(include_paths=("/posts/**",))),
        ("exclude_paths", Rules(exclude_paths=("a/../b",))),
        ("exclude_paths", Rules(exclude_paths=("a**.md",))),
        ("exclude_paths", Rules(exclude_paths=("a\\b",))),
        ("exclude_paths", Rules(exclude_paths=(" ",))),
        ("include_tags", Rules(include_tags=("x" * 1001,))),
        ("exclude_tags", Rules(exclude_tags=tuple(map(str, range(101))))),
        ("include_languages", Rules(include_languages=("english",))),
    ],
)
def test_rules_that_cannot_be_kept_are_refused_by_name(field: str, rules: Rules):
    with pytest.raises(InvalidRequest) as caught:
        check_rules(rules)

    assert caught.value.field == f"rules.{field}"


@pytest.mark.parametrize(
    "rules", [{"first_date": "2019-W01-1"}, {"last_date": "2019-1-01"}, {"include_paths": ("a//",)}]
)
def test_a_rule_that_could_have_no_sense_is_refused(rules: dict):
    with pytest.raises(InvalidRequest):
        check_rules(Rules(**rules))

"""Which posts of a corpus are taken: rules, a person's word, duplicates, the cutoff, and the digest over it all."""

from __future__ import annotations

import json
import random
import sqlite3
from functools import partial

import pytest

from services.common.errors import InvalidRequest, NotFound
from services.corpus import database as database_module
from services.corpus import snapshots
from services.corpus.catalogue import Catalogue
from services.corpus.cleaning.documents import make_document
from services.corpus.database import Database
from services.corpus.reasons import Code, Reason
from services.corpus.rules import Rules
from services.corpus.selection import EXCLUDE, INCLUDE
from services.corpus.sources import Sources
from tests.unit.corpus import inline

DAY = "2024-06-01"
DRAFT = "---\ndraft: true\n---\n"
bring = partial(inline.bring, day=DAY)


def taken(catalogue: Catalogue) -> list[str]:
    return [post.path for post in catalogue.posts("default", "", 1000) if post.document and not post.left_out]


def left_out(catalogue: Catalogue) -> dict[str, Code]:
    return {post.path: post.left_out.code for post in catalogue.posts("default", "", 1000) if post.left_out}


def dated(date: str, text: str = "") -> str:
    return f"---\ndate: {date}\n---\n{text or 'written on ' + date}"


def sentences(seed: int, number: int = 60) -> list[str]:
    chance = random.Random(seed)
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "rd", "st", "lk")]
    return [" ".join(chance.choices(words, k=9)) + "." for _ in range(number)]


def changed(text: list[str], *places: int) -> list[str]:
    return [f"something else in place {place}." if place in places else part for place, part in enumerate(text)]


def post(text: list[str]) -> str:
    return "\n\n".join(text)


def test_rules_of_choosing_clean_no_post_anew(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one", "b.md": DRAFT + "two", "c.md": "---\ntags: x\n---\nthree"})
    cleaners.cleaned.clear()

    assert taken(catalogue) == ["a.md", "c.md"]
    report = bring(catalogue, cleaners, {}, rules=Rules(include_drafts=True, exclude_tags=("X",)))

    assert taken(catalogue) == ["a.md", "b.md"]
    assert left_out(catalogue) == {"c.md": Code.EXCLUDED}
    assert report.num_documents == 2
    bring(catalogue, cleaners, {}, rules=Rules())
    assert taken(catalogue) == ["a.md", "c.md"]
    assert cleaners.cleaned == []


def test_rules_that_cannot_be_kept_change_nothing(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one"})

    with pytest.raises(InvalidRequest, match="no day"):
        bring(catalogue, cleaners, {}, rules=Rules(first_date="soon"))

    assert catalogue.corpus("default").rules == Rules()


def test_a_persons_word_goes_before_the_rules_and_stays(catalogue, cleaners):
    posts = {"a.md": "one", "b.md": DRAFT + "two", "c.md": ""}
    bring(catalogue, cleaners, posts)

    catalogue.override_posts("default", ["b.md", "c.md"], INCLUDE)
    catalogue.override_posts("default", ["a.md"], EXCLUDE)

    assert taken(catalogue) == ["b.md"]
    assert left_out(catalogue) == {"a.md": Code.OVERRIDDEN, "c.md": Code.EMPTY}
    draft = catalogue.post("default", "b.md")
    assert draft.override == INCLUDE
    assert [reason.code for reason in draft.reasons] == [Code.OVERRIDDEN]
    assert "draft: true" in draft.reasons[0].message

    bring(catalogue, cleaners, posts | {"b.md": DRAFT + "changed"})
    assert taken(catalogue) == ["b.md"]

    catalogue.override_posts("default", ["a.md", "b.md", "c.md"], None)
    assert taken(catalogue) == ["a.md"]


def test_overriding_an_unknown_post_changes_none(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one"})

    with pytest.raises(NotFound, match=r"z\.md"):
        catalogue.override_posts("default", ["a.md", "z.md"], EXCLUDE)

    assert taken(catalogue) == ["a.md"]


def test_of_equal_texts_the_one_taken_by_hand_stays(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "the same", "b.md": "the same", "c.md": "the same"})

    catalogue.override_posts("default", ["b.md"], INCLUDE)

    assert taken(catalogue) == ["b.md"]
    assert catalogue.post("default", "c.md").left_out == Reason(Code.DUPLICATE, "the same text as b.md")


def test_a_post_that_the_rules_leave_out_is_no_original(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": DRAFT + "the same", "b.md": "the same"})

    assert taken(catalogue) == ["b.md"]


def test_near_duplicates_are_noted_left_out_or_let_be(catalogue, cleaners):
    text = sentences(1)
    posts = {"a.md": post(text), "b.md": post(changed(text, 7)), "c.md": post(sentences(2))}

    report = bring(catalogue, cleaners, posts)
    assert taken(catalogue) == ["a.md", "b.md", "c.md"]
    assert [(path, reason.code) for path, reason in report.notes] == [("b.md", Code.NEAR_DUPLICATE)]
    assert report.notes[0][1].message.startswith("nearly the same text as a.md (similarity 0.9")

    bring(catalogue, cleaners, {}, rules=Rules(near_duplicates="drop"))
    assert taken(catalogue) == ["a.md", "c.md"]
    assert left_out(catalogue) == {"b.md": Code.NEAR_DUPLICATE}

    bring(catalogue, cleaners, {}, rules=Rules(near_duplicates="ignore"))
    assert taken(catalogue) == ["a.md", "b.md", "c.md"]
    assert catalogue.post("default", "b.md").reasons == ()

    bring(catalogue, cleaners, {}, rules=Rules(near_duplicates="drop", near_duplicate_similarity=0.99))
    assert taken(catalogue) == ["a.md", "b.md", "c.md"]


def test_what_is_left_out_as_nearly_the_same_resembles_a_post_that_stays(catalogue, cleaners):
    first = sentences(1)
    second = changed(first, *range(4))
    third = changed(second, *range(20, 24))
    posts = {"a.md": post(first), "b.md": post(second), "c.md": post(third)}

    bring(catalogue, cleaners, posts, rules=Rules(near_duplicates="drop", near_duplicate_similarity=0.85))

    assert taken(catalogue) == ["a.md", "c.md"]
    assert "as a.md" in catalogue.post("default", "b.md").left_out.message

    catalogue.override_posts("default", ["b.md"], INCLUDE)
    assert taken(catalogue) == ["b.md"]


def test_of_many_nearly_equal_posts_one_stays(catalogue, cleaners):
    text = sentences(3)
    posts = {f"{index:02}.md": post(changed(text, index)) for index in range(60)}

    bring(catalogue, cleaners, posts, rules=Rules(near_duplicates="drop"))

    assert taken(catalogue) == ["00.md"]


def test_without_a_cutoff_it_is_the_newest_day_that_was_not_after_the_import(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": dated("2019-01-01"), "b.md": dated("2024-05-30"), "c.md": dated("2024-06-02")})

    assert left_out(catalogue) == {"c.md": Code.FUTURE}
    assert catalogue.corpus("default").cutoff == "2024-05-30"
    assert catalogue.corpus("default").rules.cutoff_date == ""

    bring(catalogue, cleaners, {}, day="2024-06-02")
    assert left_out(catalogue) == {}
    assert catalogue.corpus("default").cutoff == "2024-06-02"

    bring(catalogue, cleaners, {}, rules=Rules(cutoff_date="2020-01-01"))
    assert taken(catalogue) == ["a.md"]
    assert catalogue.corpus("default").cutoff == "2020-01-01"


def test_the_day_of_the_import_does_not_change_the_digest_unless_a_post_is_due(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": dated("2019-01-01"), "b.md": dated("2024-07-01")})
    first = snapshots.create(catalogue, "default")

    bring(catalogue, cleaners, {}, day="2024-06-30")
    assert snapshots.create(catalogue, "default") == first

    bring(catalogue, cleaners, {}, day="2024-07-01")
    assert snapshots.create(catalogue, "default").digest != first.digest

    snapshots.roll_back(catalogue, "default", first.digest)
    assert taken(catalogue) == ["a.md"]
    assert snapshots.create(catalogue, "default") == first


def test_a_rollback_brings_back_what_was_said_by_hand(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one", "b.md": DRAFT + "two"})
    catalogue.override_posts("default", ["b.md"], INCLUDE)
    first = snapshots.create(catalogue, "default")
    catalogue.override_posts("default", ["a.md", "b.md"], EXCLUDE)

    snapshots.roll_back(catalogue, "default", first.digest)

    assert taken(catalogue) == ["a.md", "b.md"]
    assert snapshots.create(catalogue, "default") == first


def test_neither_order_nor_number_of_imports_changes_the_digest(catalogue, cleaners, tmp_path):
    text = sentences(4)
    posts = {f"near/{index}.md": post(changed(text, *range(2 * index))) for index in range(8)}
    posts |= {f"{index}.md": dated(f"2019-01-{1 + index:02}") for index in range(9)}
    posts |= {"future.md": dated("2030-01-01"), "draft.md": DRAFT + "x", "twin.md": posts["3.md"], "é.md": "ünïcode"}
    rules = Rules(near_duplicates="drop", exclude_tags=("z",))
    bring(catalogue, cleaners, posts, rules=rules)
    whole = snapshots.create(catalogue, "default")
    chance = random.Random(5)
    for turn in range(4):
        database = Database(tmp_path / str(turn))
        other = Catalogue(database, Sources(tmp_path / str(turn) / "posts"))
        paths = list(posts)
        chance.shuffle(paths)
        bring(other, cleaners, {"gone.md": dated("2024-05-31")} | {paths[0]: "an earlier version"})
        while paths:
            batch, paths = paths[: chance.randint(1, 6)], paths[6:] if turn else paths[chance.randint(1, 3) :]
            bring(other, cleaners, {path: posts[path] for path in batch})
        bring(other, cleaners, posts, rules=rules, prune=True, day=f"2025-0{1 + turn}-01")

        assert snapshots.create(other, "default").digest == whole.digest
        database.close()


def test_what_only_changes_which_posts_are_taken_changes_the_digest_with_them(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one", "b.md": "two"})
    digests = {snapshots.create(catalogue, "default").digest}
    catalogue.override_posts("default", ["b.md"], EXCLUDE)
    digests.add(snapshots.create(catalogue, "default").digest)
    catalogue.override_posts("default", ["b.md"], None)
    digests.add(snapshots.create(catalogue, "default").digest)

    assert len(digests) == 2


def test_language_and_quality_are_recorded(catalogue, cleaners):
    text = "It stood there all day at the edge of the water, and nobody who walked past asked it why."
    bring(catalogue, cleaners, {"a.md": text})

    found = catalogue.post("default", "a.md").document

    assert found.language == "en"
    assert found.quality["words"] == 1
    assert found.signature


def test_a_post_whose_cleaning_failed_is_tried_again_once_the_service_was_started_anew(catalogue, cleaners):
    cleaners.broken = {"a.md"}
    bring(catalogue, cleaners, {"a.md": "one", "b.md": "two"})
    cleaners.broken = set()
    cleaners.cleaned.clear()

    bring(catalogue, cleaners, {}, unchanged_paths=["a.md", "b.md"])
    assert left_out(catalogue) == {"a.md": Code.CLEANING_FAILED}
    assert cleaners.cleaned == []

    anew = Catalogue(catalogue.database, catalogue.sources)
    bring(anew, cleaners, {}, unchanged_paths=["a.md", "b.md"])
    assert taken(anew) == ["a.md", "b.md"]
    assert cleaners.cleaned == ["a.md"]


def test_a_first_versions_file_is_brought_up_to_date_with_its_posts_and_snapshots(tmp_path, cleaners):
    folder = tmp_path / "old"
    folder.mkdir()
    with sqlite3.connect(folder / "catalogue.db", isolation_level=None) as connection:
        connection.executescript(database_module._FIRST)
        connection.execute("PRAGMA user_version = 1")
        rules = json.dumps({"form": "text", "keep_code": True, "include_drafts": False, "cleaning": 2})
        document = make_document("a.md", dated("2019-01-01", "an old text").encode(), Rules())
        sources = Sources(folder / "posts")
        kept = sources.put(dated("2019-01-01", "an old text").encode())
        draft = sources.put((DRAFT + "x").encode())
        connection.execute("INSERT INTO corpora VALUES ('default', ?, 1700000000)", (rules,))
        connection.execute(
            "INSERT INTO documents VALUES (?, '', '[]', '2019-01-01', 'an old text', ?, 3)",
            (document.content_hash, document.text_hash),
        )
        rows = [("a.md", kept, document.content_hash, None, None), ("d.md", draft, None, "DRAFT", "it says so")]
        for path, source, digest, code, message in rows:
            connection.execute(
                "INSERT INTO posts VALUES ('default', ?, ?, 9, NULL, ?, ?, ?, '[]')",
                (path, source, digest, code, message),
            )
        connection.execute("INSERT INTO snapshots VALUES (1, 'default', 'abc', ?, 1, 3, 1700000000)", (rules,))
        connection.execute(
            "INSERT INTO snapshot_posts SELECT 1, path, source, size_bytes, modified_at, document, code, "
            "message, notes FROM posts"
        )
    connection.close()

    database = Database(folder)
    catalogue = Catalogue(database, sources)

    assert taken(catalogue) == ["a.md"]
    assert left_out(catalogue) == {"d.md": Code.DRAFT}
    assert (catalogue.corpus("default").num_words, catalogue.corpus("default").num_documents) == (3, 1)
    assert [(path, made.text) for path, made in snapshots.documents(catalogue, "default", "abc")] == [
        ("a.md", "an old text")
    ]
    bring(catalogue, cleaners, {})
    assert sorted(cleaners.cleaned) == ["a.md", "d.md"]
    assert catalogue.post("default", "d.md").document.text == "x"
    snapshots.roll_back(catalogue, "default", "abc")
    assert taken(catalogue) == ["a.md"]
    database.close()
    Database(folder).close()

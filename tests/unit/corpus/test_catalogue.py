"""Imports, the catalogue and snapshots, with cleaning done in the test's own process."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from services.common.errors import Corrupt, FailedPrecondition, InvalidRequest, NotFound, Unavailable
from services.corpus import reports, snapshots
from services.corpus.catalogue import Catalogue
from services.corpus.database import Database
from services.corpus.imports import Import, check_path
from services.corpus.reasons import Code, Reason
from services.corpus.rules import Rules
from services.corpus.sources import Sources
from tests.unit.corpus.inline import bring


def paths(catalogue: Catalogue, digest: str) -> list[str]:
    return [path for path, _ in snapshots.documents(catalogue, "default", digest)]


def test_an_import_reports_what_went_in_and_what_did_not(catalogue, cleaners):
    report = bring(
        catalogue,
        cleaners,
        {
            "b.md": "two words",
            "a.md": "one more text",
            "c.css": "x",
            "d.md": "",
            "e.md": "---\ndraft: true\n---\nx",
        },
    )

    assert (report.num_added, report.num_documents, report.num_words) == (2, 2, 5)
    assert [(path, reason.code) for path, reason in report.skipped] == [
        ("c.css", Code.UNKNOWN_KIND),
        ("d.md", Code.EMPTY),
        ("e.md", Code.DRAFT),
    ]
    assert [post.path for post in catalogue.posts("default", "", 10)] == ["a.md", "b.md", "d.md", "e.md"]
    assert reports.past(catalogue, "default", 1 << 62, 10) == [report]


def test_each_post_that_comes_is_counted_once(catalogue, cleaners):
    posts = {"a.md": "one", "b.md": "one", "c.md": "two", "d.md": "---\ndraft: true\n---\nx", "e.css": "x"}

    def counts(report):
        came = (report.num_added, report.num_changed, report.num_unchanged)
        assert sum(came) + len(report.skipped) == len(posts)
        return came

    assert counts(bring(catalogue, cleaners, posts)) == (2, 0, 0)
    assert counts(bring(catalogue, cleaners, posts)) == (0, 0, 2)
    assert counts(bring(catalogue, cleaners, posts | {"c.md": "---\ndraft: true\n---\ny"})) == (0, 0, 1)
    assert counts(bring(catalogue, cleaners, posts | {"c.md": "three"})) == (0, 1, 1)


def test_equal_posts_share_one_source_whether_they_come_together_or_not(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one", "b.md": "one"})
    bring(catalogue, cleaners, {"c.md": "one", "d.md": "one"})

    assert len(list(catalogue.sources.digests())) == 1
    assert catalogue.sources.get(catalogue.post("default", "d.md").source) == b"one"


def test_what_an_import_noted_is_gone_when_it_ends(catalogue, cleaners):
    folder = catalogue.database.path.parent
    bring(catalogue, cleaners, {"a.md": "one"})
    assert not list(folder.glob(".partial-*"))

    with catalogue.importing():
        Import(catalogue, cleaners, "default").add("b.md", b"two")
    assert list(folder.glob(".partial-*"))
    catalogue.sweep()
    assert not list(folder.rglob(".partial-*"))


def test_unchanged_posts_are_not_cleaned_again(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one", "b.md": "two"})
    cleaners.cleaned.clear()

    report = bring(catalogue, cleaners, {"a.md": "one", "b.md": "changed", "c.md": "new"})

    assert cleaners.cleaned == ["b.md", "c.md"]
    assert (report.num_added, report.num_changed, report.num_unchanged) == (1, 1, 1)


def test_posts_that_vanished_stay_until_pruned(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one", "b.md": "two", "c.md": "three"})

    assert bring(catalogue, cleaners, {"a.md": "one"}).num_documents == 3
    report = bring(catalogue, cleaners, {"a.md": "one"}, prune=True, unchanged_paths=["b.md"])

    assert (report.num_removed, report.num_unchanged, report.num_documents) == (1, 2, 2)
    assert [post.path for post in catalogue.posts("default", "", 10)] == ["a.md", "b.md"]


def test_a_path_said_to_be_unchanged_must_be_there(catalogue, cleaners):
    with pytest.raises(FailedPrecondition, match=r"x\.md"):
        bring(catalogue, cleaners, {}, unchanged_paths=["x.md"])


def test_the_first_path_of_equal_texts_counts_whatever_came_first(catalogue, cleaners):
    bring(catalogue, cleaners, {"b.md": "the same"})
    report = bring(catalogue, cleaners, {"a.md": "---\ntitle: other\n---\nthe  same"})

    assert report.num_documents == 1
    assert catalogue.post("default", "b.md").left_out == Reason(Code.DUPLICATE, "the same text as a.md")
    assert catalogue.post("default", "a.md").left_out is None

    catalogue.delete_posts("default", ["a.md"])

    assert catalogue.post("default", "b.md").left_out is None


def test_other_rules_clean_every_post_anew(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "---\ndraft: true\n---\none", "b.md": "two\n\n    code"})

    report = bring(catalogue, cleaners, {}, rules=Rules(include_drafts=True, keep_code=False))

    assert (report.num_documents, report.num_words) == (2, 2)
    assert catalogue.corpus("default").rules == Rules(include_drafts=True, keep_code=False)


def test_rules_that_are_not_given_stay(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one"}, rules=Rules(include_drafts=True))
    bring(catalogue, cleaners, {"b.md": "---\ndraft: true\n---\ntwo"})

    assert catalogue.corpus("default").num_documents == 2


def test_an_older_cleaning_is_done_again(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one"}, rules=Rules(cleaning=0))
    cleaners.cleaned.clear()

    bring(catalogue, cleaners, {})

    assert cleaners.cleaned == ["a.md"]
    assert catalogue.corpus("default").rules.cleaning == Rules().cleaning


def test_an_import_that_is_not_committed_never_happened(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one"})
    with catalogue.importing():
        running = Import(catalogue, cleaners, "default", prune=True)
        for index in range(200):
            running.add(f"{index}.md", f"text {index}".encode())
    catalogue.sweep()

    assert [post.path for post in catalogue.posts("default", "", 10)] == ["a.md"]
    with catalogue.database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM documents").fetchone()[0] == 1
    assert len(list(catalogue.sources.digests())) == 1


def test_nothing_is_swept_while_an_import_runs(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one"})
    with catalogue.importing():
        running = Import(catalogue, cleaners, "default")
        running.add("b.md", b"two")
        catalogue.delete_posts("default", ["a.md"])
        running.commit()

    assert catalogue.sources.get(catalogue.post("default", "b.md").source) == b"two"


def test_a_post_sent_twice_is_refused(catalogue, cleaners):
    with catalogue.importing():
        running = Import(catalogue, cleaners, "default")
        running.add("a.md", b"one")
        with pytest.raises(InvalidRequest, match="twice"):
            running.add("a.md", b"two")


@pytest.mark.parametrize(
    "path", ["", "/a.md", "../a.md", "a/../b.md", "a//b.md", "./a.md", "a\\b.md", "a\nb.md", "x" * 2000]
)
def test_paths_that_leave_the_folder_are_refused(path: str):
    with pytest.raises(InvalidRequest):
        check_path(path)


def test_a_snapshot_is_immutable(catalogue, cleaners):
    bring(catalogue, cleaners, {"b.md": "two", "a.md": "one"})
    snapshot = snapshots.create(catalogue, "default")

    bring(catalogue, cleaners, {"a.md": "changed", "c.md": "three"})
    catalogue.delete_posts("default", ["b.md"])

    assert [(path, d.text) for path, d in snapshots.documents(catalogue, "default", snapshot.digest)] == [
        ("a.md", "one"),
        ("b.md", "two"),
    ]
    assert snapshots.create(catalogue, "default").digest != snapshot.digest


def test_the_same_posts_and_rules_give_the_same_digest(catalogue, cleaners, tmp_path: Path):
    bring(catalogue, cleaners, {"a.md": "one", "b.md": "two"})
    first = snapshots.create(catalogue, "default")
    bring(catalogue, cleaners, {"a.md": "other", "c.md": "---\ndraft: true\n---\n"})
    bring(catalogue, cleaners, {"a.md": "one"})

    assert snapshots.create(catalogue, "default") == first

    database = Database(tmp_path / "elsewhere")
    elsewhere = Catalogue(database, Sources(tmp_path / "elsewhere" / "posts"))
    bring(elsewhere, cleaners, {"b.md": "two"}, corpus="blog")
    bring(elsewhere, cleaners, {"a.md": "one"}, corpus="blog")

    assert snapshots.create(elsewhere, "blog").digest == first.digest
    database.close()


def test_the_rules_are_part_of_the_digest(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one"})
    digest = snapshots.create(catalogue, "default").digest
    bring(catalogue, cleaners, {}, rules=Rules(keep_code=False))

    assert snapshots.create(catalogue, "default").digest != digest


def test_snapshots_stream_in_order_of_path_across_reads(catalogue, cleaners):
    bring(catalogue, cleaners, {f"p/{index:03}.md": f"text {index}" for index in reversed(range(250))})

    found = paths(catalogue, snapshots.create(catalogue, "default").digest)

    assert found == [f"p/{index:03}.md" for index in range(250)]


def test_a_rollback_brings_posts_and_rules_back(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one", "b.md": "---\ndraft: true\n---\ntwo"})
    snapshot = snapshots.create(catalogue, "default")
    bring(catalogue, cleaners, {"a.md": "changed", "c.md": "three"}, rules=Rules(include_drafts=True))

    snapshots.roll_back(catalogue, "default", snapshot.digest)

    assert [post.path for post in catalogue.posts("default", "", 10)] == ["a.md", "b.md"]
    assert catalogue.corpus("default").rules == Rules()
    assert snapshots.create(catalogue, "default") == snapshot


def test_deleting_a_snapshot_forgets_what_only_it_held(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one", "b.md": "two"})
    digest = snapshots.create(catalogue, "default").digest
    catalogue.delete_posts("default", ["b.md"])
    assert len(list(catalogue.sources.digests())) == 2

    snapshots.delete(catalogue, "default", digest)

    assert len(list(catalogue.sources.digests())) == 1
    with pytest.raises(NotFound):
        paths(catalogue, digest)


def test_a_corpus_without_documents_has_no_snapshot(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "---\ndraft: true\n---\none"})

    with pytest.raises(FailedPrecondition, match="no document"):
        snapshots.create(catalogue, "default")


def test_deleting_an_unknown_post_removes_none(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one"})

    with pytest.raises(NotFound, match=r"z\.md"):
        catalogue.delete_posts("default", ["a.md", "z.md"])

    assert catalogue.corpus("default").num_posts == 1


def test_deleting_a_corpus_leaves_nothing(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one"})
    snapshots.create(catalogue, "default")

    catalogue.delete_corpus("default")

    assert catalogue.corpora("", 10) == []
    assert list(catalogue.sources.digests()) == []


def test_a_damaged_document_or_source_is_told(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one"})
    digest = snapshots.create(catalogue, "default").digest
    source = catalogue.post("default", "a.md").source
    with catalogue.database.writing() as connection:
        connection.execute("UPDATE documents SET text = 'won'")
    (catalogue.database.path.parent / "posts" / source[:2] / source).write_bytes(b"won")

    with pytest.raises(Corrupt, match=r"a\.md"):
        paths(catalogue, digest)
    with pytest.raises(Corrupt, match=source):
        catalogue.sources.get(source)


def test_a_lost_source_comes_back_with_the_next_import(catalogue, cleaners):
    bring(catalogue, cleaners, {"a.md": "one"})
    source = catalogue.post("default", "a.md").source
    catalogue.sources.remove(source)

    bring(catalogue, cleaners, {"a.md": "one"})

    assert catalogue.sources.get(source) == b"one"


def test_a_second_service_on_the_same_folder_is_refused(catalogue):
    with pytest.raises(Unavailable, match="another corpus service"):
        Database(catalogue.database.path.parent)


def test_a_file_that_is_no_catalogue_is_told(tmp_path: Path):
    (tmp_path / "catalogue.db").write_bytes(b"not a database" * 100)

    with pytest.raises(Corrupt, match=r"catalogue\.db"):
        Database(tmp_path)


def test_a_later_version_is_told(tmp_path: Path):
    with sqlite3.connect(tmp_path / "catalogue.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(Corrupt, match="version 99"):
        Database(tmp_path)

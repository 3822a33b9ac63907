"""Archives and exports: opened into posts, kept, pruned, refused, brought up to date."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import tarfile
from pathlib import Path

import grpc
import pytest

from protos import corpus_pb2 as pb
from services.client import Nonesuch
from services.common.settings import CommonSettings
from services.corpus.database import _FIRST, SCHEMA_VERSION, Database
from tests.rpc.corpus.bundles import ROOT, counts, needed, paths, reasons, zipped
from tests.rpc.corpus.uploading import upload

BLOG = {"blog/a.md": b"one", "blog/b.md": b"two", "blog/pic.png": b"x", "blog/../../slip.md": b"x"}


def test_an_archive_becomes_posts_with_reasons_for_what_does_not(stub):
    report = upload(stub, "zip", {"x.md": b"beside", "old/blog.zip": zipped(BLOG)})

    assert counts(report) == (3, 0, 0, 0)
    assert paths(stub, "zip") == ["old/blog.zip/a.md", "old/blog.zip/b.md", "x.md"]
    assert reasons(report) == {
        "old/blog.zip/(parent)/(parent)/slip.md (refused)": "BAD_MEMBER",
        "old/blog.zip/pic.png": "UNKNOWN_KIND",
    }
    source = stub.GetPost(pb.GetPostRequest(corpus="zip", path="old/blog.zip/a.md", include_source=True)).source
    assert source == b"one"


def test_an_unchanged_archive_need_not_be_sent_and_is_pruned_by_nobody(stub):
    archive = {"blog.zip": zipped(BLOG)}
    first = upload(stub, "same", {**archive, "x.md": b"gone soon"})

    assert needed(stub, "same", archive) == []
    assert needed(stub, "same", {"blog.zip": b"other"}) == ["blog.zip"]
    unsent = upload(stub, "same", {}, prune=True, unchanged_paths=["blog.zip"])
    sent = upload(stub, "same", archive, prune=True)

    assert counts(unsent) == (0, 0, 2, 1)
    assert counts(sent) == (0, 0, 2, 0)
    assert reasons(unsent) == reasons(sent) == reasons(first)
    assert paths(stub, "same") == ["blog.zip/a.md", "blog.zip/b.md"]


def test_a_member_that_vanished_stays_until_it_is_pruned(stub):
    upload(stub, "vanish", {"blog.zip": zipped(BLOG)})
    changed = zipped({"blog/a.md": b"one more", "blog/c.md": b"three"})

    assert counts(upload(stub, "vanish", {"blog.zip": changed})) == (1, 1, 0, 0)
    assert paths(stub, "vanish") == ["blog.zip/a.md", "blog.zip/b.md", "blog.zip/c.md"]
    assert counts(upload(stub, "vanish", {}, prune=True, unchanged_paths=["blog.zip"])) == (0, 0, 2, 1)
    assert paths(stub, "vanish") == ["blog.zip/a.md", "blog.zip/c.md"]


def test_an_archive_that_vanished_is_pruned_with_its_posts_and_forgotten(stub):
    archive = {"blog.zip": zipped(BLOG)}
    upload(stub, "pruned", {**archive, "x.md": b"stays"})

    assert counts(upload(stub, "pruned", {"x.md": b"stays"}, prune=True)) == (0, 0, 1, 2)
    assert needed(stub, "pruned", archive) == ["blog.zip"]
    assert counts(upload(stub, "pruned", archive)) == (2, 0, 0, 0)


def test_a_member_that_was_deleted_comes_back_with_the_next_import(stub):
    archive = {"blog.zip": zipped(BLOG)}
    upload(stub, "delete", archive)

    stub.DeletePosts(pb.DeletePostsRequest(corpus="delete", paths=["blog.zip/a.md"]))

    assert paths(stub, "delete") == ["blog.zip/b.md"]
    assert needed(stub, "delete", archive) == ["blog.zip"]
    assert counts(upload(stub, "delete", archive)) == (1, 0, 1, 0)
    assert needed(stub, "delete", archive) == []


def test_a_lost_source_of_a_member_makes_its_archive_needed(stub, folder: Path):
    archive = {"blog.zip": zipped({"a.md": b"lost and found"})}
    upload(stub, "lost", archive)
    digest = hashlib.sha256(b"lost and found").hexdigest()
    (folder / "posts" / digest[:2] / digest).unlink()

    assert needed(stub, "lost", archive) == ["blog.zip"]
    upload(stub, "lost", archive)
    assert needed(stub, "lost", archive) == []


def test_a_rollback_makes_archives_unknown_so_that_the_next_import_brings_them(stub):
    archive = {"blog.zip": zipped(BLOG)}
    upload(stub, "roll", {"x.md": b"x"})
    snapshot = stub.CreateSnapshot(pb.CreateSnapshotRequest(corpus="roll")).snapshot.digest
    upload(stub, "roll", archive)
    stub.RollbackCorpus(pb.RollbackCorpusRequest(corpus="roll", snapshot=snapshot))

    assert paths(stub, "roll") == ["x.md"]
    assert needed(stub, "roll", archive) == ["blog.zip"]
    assert counts(upload(stub, "roll", archive)) == (2, 0, 0, 0)


def test_an_archive_that_cannot_be_opened_leaves_what_it_brought_before(stub):
    whole = zipped(BLOG)
    upload(stub, "half", {"blog.zip": whole})

    report = upload(stub, "half", {"blog.zip": whole[:-50], "y.md": b"y"}, prune=True)

    assert counts(report) == (1, 0, 2, 0)
    assert reasons(report)["blog.zip"] == "BAD_ARCHIVE"
    assert needed(stub, "half", {"blog.zip": whole}) == []


def test_bombs_and_archives_beyond_the_limits_are_refused_and_the_rest_goes_on(stub):
    bomb = zipped({"a.md": b"x"} | {f"{number}.md": bytes(1_000_000) for number in range(30)})
    many = zipped({f"{number}.md": b"" for number in range(301)})
    large = os.urandom(9 << 20)

    report = upload(stub, "bomb", {"bomb.zip": bomb, "large.zip": large, "many.zip": many, "z.md": b"fine"})

    assert counts(report) == (1, 0, 0, 0)
    assert reasons(report) == {"bomb.zip": "BAD_ARCHIVE", "large.zip": "BAD_ARCHIVE", "many.zip": "BAD_ARCHIVE"}


def test_the_limits_of_an_upload_are_those_of_unpacked_posts(stub):
    tenth = {f"{number}.md": b"%d" % number + b"\0" * 800_000 for number in range(5)}  # quick to judge: no text
    archives = {
        f"{letter}.zip": zipped({f"{letter}{name}": content for name, content in tenth.items()}) for letter in "abcdef"
    }

    with pytest.raises(grpc.RpcError) as caught:
        upload(stub, "much", archives)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.RpcError) as caught:
        paths(stub, "much")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_other_rules_clean_the_posts_of_an_archive_anew_without_it(stub):
    archive = {"blog.zip": zipped({"a.md": b"# Head\n\ntext\n\n    code"})}
    upload(stub, "rules", archive)

    upload(stub, "rules", {}, rules=pb.CleaningRules(keep_code=False), unchanged_paths=["blog.zip"], prune=True)

    post = stub.GetPost(pb.GetPostRequest(corpus="rules", path="blog.zip/a.md"))
    assert post.document.text == "text"


def test_exports_become_posts_with_their_fields(stub):
    generators = ROOT / "tests" / "unit" / "corpus" / "generators"
    files = {
        "ghost.json": (generators / "ghost" / "blog.ghost.2024-01-02.json").read_bytes(),
        "wp.xml": (generators / "wordpress" / "blog.WordPress.2024-03-01.xml").read_bytes(),
        "package.json": b'{"name": "x"}',
    }

    report = upload(stub, "exports", files)
    post = stub.GetPost(pb.GetPostRequest(corpus="exports", path="wp.xml/2019-09-02-bees.html"))

    assert (post.post.title, post.post.date, list(post.post.tags)) == (
        "Bees & winter",
        "2019-09-02",
        ["Nature", "Honey & wax"],
    )
    found = reasons(report)
    assert found["ghost.json/2019-08-01-untitled.html"] == found["wp.xml/2019-10-01-下書き.html"] == "DRAFT"
    assert found["wp.xml"] == found["package.json"] == "UNKNOWN_KIND"
    assert needed(stub, "exports", {name: files[name] for name in ("ghost.json", "wp.xml")}) == []


def test_the_day_of_a_backup_is_not_that_of_its_posts(stub):
    upload(stub, "dates", {"backup-2024-03-01.zip": zipped({"a.md": b"no date", "2019-01-02-b.md": b"a date"})})

    posts = stub.ListPosts(pb.ListPostsRequest(corpus="dates")).posts
    assert [post.date for post in posts] == ["2019-01-02", ""]


def test_a_catalogue_of_the_first_version_is_brought_up_to_date(tmp_path: Path):
    with sqlite3.connect(tmp_path / "catalogue.db") as connection:
        connection.executescript(_FIRST)
        connection.execute("INSERT INTO corpora VALUES ('default', '{}', 1.0)")
        connection.execute("PRAGMA user_version = 1")
    connection.close()

    database = Database(tmp_path)
    with database.reading() as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        assert connection.execute("SELECT count(*) FROM bundles").fetchone()[0] == 0
        assert connection.execute("SELECT name FROM corpora").fetchone()[0] == "default"
    database.close()


def test_the_library_finds_and_sends_archives_and_exports(address: str, stub, tmp_path: Path):
    blog = tmp_path / "blog"
    blog.mkdir()
    (blog / "a.md").write_text("a post")
    (blog / "package.json").write_text('{"name": "x"}')
    (blog / "ghost.json").write_text(json.dumps({"posts": [{"title": "T", "slug": "t", "html": "<p>x</p>"}]}))
    with tarfile.open(blog / "old.tar.gz", "w:gz") as archive:
        archive.add(blog / "a.md", "old/b.md")
    with Nonesuch(CommonSettings(corpus_address=address)) as nonesuch:
        first = nonesuch.add_posts(blog, corpus="library", prune=True)
        again = nonesuch.add_posts(blog, corpus="library", prune=True)

    assert paths(stub, "library") == ["a.md", "ghost.json/t.html", "old.tar.gz/b.md"]
    assert counts(first)[0] == 2 and counts(again) == (0, 0, 2, 0)
    assert reasons(first) == reasons(again) == {"old.tar.gz/b.md": "DUPLICATE", "package.json": "UNKNOWN_KIND"}


def wxr_in_the_trash(post_id: str) -> bytes:
    return (
        f'<rss xmlns:wp="w"><channel><item><title>a</title><wp:post_id>{post_id}</wp:post_id>'
        "<wp:status>trash</wp:status><wp:post_type>post</wp:post_type></item></channel></rss>"
    ).encode()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("x.zip", zipped({"b" * 1500 + ".png": b"x"})),
        ("d" * 250 + "/x.zip", zipped({"../" + "b" * 900 + ".md": b"x"})),
        ("d" * 895 + ".zip", zipped({"abc/" + "b" * 200 + ".md": b"x", "z/q.txt": b"y"})),
        ("x.zip", zipped({"a.json": b'[{"title": "t", "content": "one", "slug": "s"}]', "a.json/s.md": b"two"})),
        ("x.xml", wxr_in_the_trash("../../x")),
        ("x.xml", wxr_in_the_trash("a\nb")),
    ],
)
def test_no_name_inside_a_bundle_ends_the_upload(stub, path: str, content: bytes):
    corpus = f"names-{hashlib.sha256(content).hexdigest()[:8]}"

    report = upload(stub, corpus, {path: content, "z.md": b"beside"})

    assert "z.md" in paths(stub, corpus)
    assert len(report.skipped) == 1


def test_a_broken_archive_keeps_its_posts_after_a_rollback_too(stub):
    upload(stub, "rolled", {"blog.zip": zipped(BLOG)})
    snapshot = stub.CreateSnapshot(pb.CreateSnapshotRequest(corpus="rolled")).snapshot.digest
    stub.RollbackCorpus(pb.RollbackCorpusRequest(corpus="rolled", snapshot=snapshot))

    upload(stub, "rolled", {"blog.zip": b"PK\x03\x04 cut off"}, prune=True)

    assert paths(stub, "rolled") == ["blog.zip/a.md", "blog.zip/b.md"]
    assert needed(stub, "rolled", {"blog.zip": zipped(BLOG)}) == ["blog.zip"]

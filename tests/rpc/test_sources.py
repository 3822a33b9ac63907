"""Archives, exports and watched folders: through the real corpus service, and through the command."""

from __future__ import annotations

import hashlib
import io
import json
import os
import queue
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from protos import corpus_pb2 as pb
from protos import corpus_pb2_grpc
from services.client import Nonesuch
from services.common import rpc
from services.common.settings import CommonSettings
from services.corpus.catalogue import Catalogue
from services.corpus.cleaners import Cleaners
from services.corpus.database import _FIRST, SCHEMA_VERSION, Database
from services.corpus.servicer import SERVICE_NAME, CorpusServicer
from services.corpus.settings import CorpusSettings
from services.corpus.sources import Sources

DEADLINE_S = 120
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpora")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    database = Database(folder)
    cleaners = Cleaners(2, processor_seconds=20.0)
    settings = CorpusSettings(
        max_upload_posts=300, max_upload_bytes=20 << 20, max_post_bytes=1 << 20, max_archive_bytes=8 << 20
    )
    servicer = CorpusServicer(Catalogue(database, Sources(folder / "posts")), cleaners, settings)
    server = rpc.start(
        "127.0.0.1:0",
        lambda started: corpus_pb2_grpc.add_CorpusServiceServicer_to_server(servicer, started),
        services=[SERVICE_NAME],
    )
    yield f"127.0.0.1:{server.port}"
    server.stop(0)
    cleaners.close()
    database.close()


@pytest.fixture
def stub(address: str) -> Iterator[corpus_pb2_grpc.CorpusServiceStub]:
    with rpc.channel(address) as channel:
        yield corpus_pb2_grpc.CorpusServiceStub(channel)


def zipped(posts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in posts.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def messages(files: dict[str, bytes], **header) -> Iterator[pb.UploadPostsRequest]:
    yield pb.UploadPostsRequest(header=pb.UploadHeader(**header))
    for path, content in files.items():
        yield pb.UploadPostsRequest(file=pb.UploadFile(path=path))
        for start in range(0, len(content), 1 << 20):
            yield pb.UploadPostsRequest(chunk=content[start : start + (1 << 20)])
    yield pb.UploadPostsRequest(end=pb.UploadEnd())


def upload(stub, corpus: str, files: dict[str, bytes], **header) -> pb.ImportReport:
    return stub.UploadPosts(messages(files, corpus=corpus, **header), timeout=DEADLINE_S).report


def needed(stub, corpus: str, files: dict[str, bytes]) -> list[str]:
    hashes = [pb.PostHash(path=path, sha256=hashlib.sha256(content).digest()) for path, content in files.items()]
    return list(stub.CheckPosts(pb.CheckPostsRequest(corpus=corpus, posts=hashes)).needed_paths)


def paths(stub, corpus: str) -> list[str]:
    return [post.path for post in stub.ListPosts(pb.ListPostsRequest(corpus=corpus, page_size=1000)).posts]


def reasons(report: pb.ImportReport) -> dict[str, str]:
    return {entry.path: pb.ReasonCode.Name(entry.reason.code).removeprefix("REASON_CODE_") for entry in report.skipped}


def counts(report: pb.ImportReport) -> tuple[int, int, int, int]:
    return report.num_added, report.num_changed, report.num_unchanged, report.num_removed


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
    upload(stub, "gone", {**archive, "x.md": b"stays"})

    assert counts(upload(stub, "gone", {"x.md": b"stays"}, prune=True)) == (0, 0, 1, 2)
    assert needed(stub, "gone", archive) == ["blog.zip"]
    assert counts(upload(stub, "gone", archive)) == (2, 0, 0, 0)


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


# the watch


class Watching:
    """`nonesuch posts add --watch` as a process of its own, and the lines that it prints."""

    def __init__(self, address: str, *arguments: object) -> None:
        environment = os.environ | {"NONESUCH_CORPUS_ADDRESS": address, "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "services.client", "posts", "add", "--watch", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: [self._lines.put(line) for line in self.process.stdout], daemon=True).start()

    def line(self, *words: str) -> str:
        """The next line that holds all the words."""
        deadline = time.monotonic() + DEADLINE_S
        seen = []
        while True:
            try:
                seen.append(self._lines.get(timeout=max(0.01, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"no line with {words} in {seen}") from None
            if all(word in seen[-1] for word in words):
                return seen[-1]

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE_S)


def place(path: Path, content: bytes) -> None:
    """Let a file appear whole: one that is being written may be told of twice."""
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(content)
    beside.replace(path)


def test_watching_tells_each_change_and_ends_with_ctrl_c(address: str, stub, tmp_path: Path):
    (tmp_path / "a.md").write_text("first")
    watching = Watching(address, tmp_path, "--corpus", "watched", "--prune")
    try:
        watching.line("watching")
        place(tmp_path / "b.md", b"second")
        assert "b.md: 1 added; 2 documents" in watching.line("b.md")
        place(tmp_path / "sub" / "old.zip", zipped({"c.md": b"third", "d.md": b""}))
        told = watching.line("old.zip")
        assert "1 added" in told and "left out: sub/old.zip/d.md: " in told
        (tmp_path / "a.md.part").write_text("first, changed")
        (tmp_path / "a.md.part").replace(tmp_path / "a.md")
        watching.line("a.md", "1 changed")
        (tmp_path / "b.md").unlink()
        watching.line("b.md", "1 removed")
        assert paths(stub, "watched") == ["a.md", "sub/old.zip/c.md", "sub/old.zip/d.md"]
    finally:
        status = watching.interrupt()
    assert status == 0


def test_watching_survives_a_service_that_is_away(folder: Path, tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    blog = tmp_path / "blog"
    blog.mkdir()
    (blog / "a.md").write_text("first")
    watching = Watching(f"127.0.0.1:{port}", blog / "a.md", blog)
    try:
        watching.line("trying again")
        environment = os.environ | {
            "NONESUCH_DATA": str(tmp_path / "data"),
            "NONESUCH_CORPUS_LISTEN": f"127.0.0.1:{port}",
            "NONESUCH_CORPUS_METRICS_LISTEN": "127.0.0.1:0",
        }
        service = subprocess.Popen([sys.executable, "-m", "services.corpus"], cwd=ROOT, env=environment)
        try:
            watching.line("watching")
        finally:
            service.send_signal(signal.SIGTERM)
            assert service.wait(DEADLINE_S) == 0
        place(blog / "b.md", b"second")
        watching.line("trying again")
        service = subprocess.Popen([sys.executable, "-m", "services.corpus"], cwd=ROOT, env=environment)
        try:
            watching.line("b.md", "1 added", "2 documents")
        finally:
            service.send_signal(signal.SIGTERM)
            assert service.wait(DEADLINE_S) == 0
    finally:
        status = watching.interrupt()
    assert status == 0


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

"""Clients that stall, vanish, come in crowds or at the wrong moment: the corpus stays whole, and others are served."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import grpc
import pytest

from protos import corpus_pb2 as pb
from tests.e2e.faults.service import CorpusProcess, health_watched
from tests.e2e.faults.uploads import END, Unfinished, parts, posts_of, refused, snapshot, upload
from tests.e2e.system import ROOT
from tests.waiting import wait_for

PATIENCE_S = 3.0
HEALTH_S = 1.0
LONG = b"Many words. " * 10_000


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    data = tmp_path_factory.mktemp("clients") / "data"
    with CorpusProcess(data, NONESUCH_CORPUS_UPLOAD_PATIENCE_SECONDS=str(PATIENCE_S)) as running:
        yield running


def holds_for(condition, what: str, seconds: float) -> None:
    """Poll: the condition is true, and stays so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), what


@contextlib.contextmanager
def standing_still(pids: list[int]):
    """Processes do nothing while the block runs."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("how", ["cancel", "disconnect"])
def test_half_an_upload_of_a_client_that_vanishes_changes_nothing(service, how):
    corpora = [f"{how}-{number}" for number in range(8)]
    for corpus in corpora:
        upload(service, {"a.md": b"one"}, corpus=corpus)

    for corpus in corpora:
        getattr(Unfinished(service, {"b.md": b"two", "c.md": b"three"}, corpus=corpus, prune=True), how)()

    def are_as_before() -> bool:
        return all(posts_of(service, corpus) == ["a.md"] for corpus in corpora)

    holds_for(are_as_before, "the half upload came in, and pruned the rest", 1.5)
    report = upload(service, {"b.md": b"two", "c.md": b"three"}, corpus=corpora[0], prune=True)
    assert (report.num_added, report.num_removed) == (2, 1)


def test_a_command_that_is_killed_in_mid_upload_changes_nothing(service, tmp_path):
    for number in range(250):
        (tmp_path / f"{number:03}.md").write_text(f"# Post {number}\n\n" + f"Words of {number}, *many*. " * 200)
    upload(service, {"000.md": b"the only one"}, corpus="command")
    command = [sys.executable, "-m", "services.client", "posts", "add", str(tmp_path), "--corpus", "command"]
    environ = {"NONESUCH_CORPUS_ADDRESS": service.address, "PATH": "/usr/bin:/bin"}

    with (
        standing_still(service.children()),  # so that the upload cannot be over before the command is killed
        subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as it,
    ):
        before = service.bytes_written()
        wait_for(lambda: service.bytes_written() > before + 100_000, "the upload is under way")
        it.kill()

    holds_for(lambda: posts_of(service, "command") == ["000.md"], "half an upload came in", 1.5)
    added = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert added.returncode == 0, added.stderr
    assert len(posts_of(service, "command")) == 250


def test_a_client_that_stalls_is_given_up_and_holds_nobody_back(service):
    with health_watched(service, HEALTH_S):
        started = time.monotonic()
        stalled = Unfinished(service, {"a.md": b"never whole"}, corpus="stalled")
        assert upload(service, {"a.md": b"one"}, corpus="swift").num_added == 1
        assert stalled.call.code() is grpc.StatusCode.CANCELLED  # waits for it
        assert PATIENCE_S <= time.monotonic() - started < PATIENCE_S + 60

    assert refused(service.stub.ListPosts, pb.ListPostsRequest(corpus="stalled")).code() is grpc.StatusCode.NOT_FOUND


def test_a_crowd_of_stalled_clients_leaves_room_for_others(tmp_path):
    with CorpusProcess(tmp_path / "data") as service:
        upload(service, {"a.md": b"one"}, corpus="calm")
        crowd = [Unfinished(service, {"a.md": b"x"}, corpus=f"crowd-{number}") for number in range(80)]
        try:
            with health_watched(service, HEALTH_S):
                wait_for(lambda: sum(each.call.done() for each in crowd) == 80 - 16, "all but 16 are refused")
                for _ in range(20):
                    assert posts_of(service, "calm") == ["a.md"]
            refusals = [each.call for each in crowd if each.call.done()]
            assert {call.code() for call in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert "16 uploads are under way" in refusals[0].details()
        finally:
            for each in crowd:
                each.disconnect()

        def is_taken() -> bool:
            with contextlib.suppress(grpc.RpcError):
                return upload(service, {"b.md": b"two"}, corpus="calm").num_documents == 2
            return False

        wait_for(is_taken, "their places are free again")


def test_a_post_of_200_megabytes_is_left_out_and_costs_no_memory(service, tmp_path):
    upload(service, {"a.md": b"x" * (8 << 20)}, corpus="large")
    before = service.memory_bytes()
    chunk = pb.UploadPostsRequest(chunk=b"x" * (1 << 20))

    def line():
        yield from parts({"a.md": b"one", "line.md": b""}, end=False, corpus="large")
        for _ in range(200):
            yield chunk
        yield from [pb.UploadPostsRequest(file=pb.UploadFile(path="b.md")), pb.UploadPostsRequest(chunk=b"two"), END]

    with health_watched(service, HEALTH_S):
        report = service.stub.UploadPosts(line(), timeout=60).report

    assert [(post.path, post.reason.code) for post in report.skipped] == [("line.md", pb.REASON_CODE_TOO_LARGE)]
    assert report.num_documents == 2
    assert service.memory_bytes() < before + (100 << 20)

    with (tmp_path / "line.md").open("wb") as file:
        file.truncate(200 << 20)
    (tmp_path / "b.md").write_text("two")
    with service.client() as client:
        report = client.add_posts(tmp_path, corpus="from-a-folder")
    assert [(post.path, post.reason.code) for post in report.skipped] == [("line.md", pb.REASON_CODE_TOO_LARGE)]
    assert report.num_documents == 1


def test_two_uploads_to_one_corpus_at_the_same_time_both_come_in(service):
    first = Unfinished(service, {"a.md": b"one", "both.md": b"of the first"}, corpus="shared")
    second = Unfinished(service, {"b.md": b"two", "both.md": b"of the second"}, corpus="shared")

    assert second.finish().num_documents == 2
    assert first.finish().num_documents == 3

    assert posts_of(service, "shared") == ["a.md", "b.md", "both.md"]
    last = service.stub.GetPost(pb.GetPostRequest(corpus="shared", path="both.md", include_source=True))
    assert (last.source, last.document.text) == (b"of the first", "of the first")


def test_an_upload_that_relies_on_what_another_one_changes_says_so_and_changes_nothing(service):
    upload(service, {"a.md": b"one", "b.md": b"two"}, corpus="relied-on")
    written = service.bytes_written()
    # The service takes a post in when the next one begins.
    new = {"c.md": LONG, "d.md": b"three"}
    relying = Unfinished(service, new, corpus="relied-on", unchanged_paths=["a.md"], prune=True)
    new = {"c.md": LONG + b"Other ones.", "d.md": b"four"}
    ruling = Unfinished(service, new, corpus="relied-on", rules=pb.CleaningRules(keep_code=False))
    # Each is written twice, once to keep and once to the process that cleans it.
    wait_for(lambda: service.bytes_written() > written + 4 * len(LONG), "both have begun")

    upload(service, {"a.md": b"one, later"}, corpus="relied-on")
    for late in (relying, ruling):
        with pytest.raises(grpc.RpcError) as caught:
            late.finish()
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "import again" in caught.value.details()

    assert posts_of(service, "relied-on") == ["a.md", "b.md"]


def test_a_snapshot_that_is_read_slowly_does_not_see_what_comes_meanwhile(service):
    posts = {f"{number:04}.md": b"Post %d as it was." % number for number in range(250)}
    upload(service, posts, corpus="frozen")
    digest = snapshot(service, "frozen")
    reading = service.stub.ListDocuments(pb.ListDocumentsRequest(corpus="frozen", snapshot=digest), timeout=60)
    seen = [next(reading)]

    upload(service, {path: b"Changed. " + content for path, content in posts.items()}, corpus="frozen")
    upload(service, {"0000.md": b"All others are gone."}, corpus="frozen", prune=True)
    service.stub.DeletePosts(pb.DeletePostsRequest(corpus="frozen", paths=["0000.md"]))
    seen += reading

    assert [(document.path, document.text.encode()) for document in seen] == list(posts.items())


def test_an_upload_during_rollbacks_leaves_one_or_the_other(service):
    upload(service, {"a.md": b"one", "b.md": b"two"}, corpus="back")
    old = snapshot(service, "back")
    upload(service, {"a.md": b"one, later", "b.md": b"two"}, corpus="back")
    ended = threading.Event()
    failures = []
    rounds = []

    def roll_back() -> None:
        while not ended.is_set():
            try:
                service.stub.RollbackCorpus(pb.RollbackCorpusRequest(corpus="back", snapshot=old))
                rounds.append(posts_of(service, "back"))
            except grpc.RpcError as error:
                failures.append(error)

    rolling = threading.Thread(target=roll_back)
    rolling.start()
    try:
        for number in range(30):
            try:
                upload(service, {"a.md": b"one, later", "c.md": b"three, %d" % number}, corpus="back", prune=True)
            except grpc.RpcError as error:  # it found `a.md` as it is, and then it was rolled back
                assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    finally:
        ended.set()
        rolling.join()

    assert not failures
    assert {tuple(paths) for paths in rounds} <= {("a.md", "b.md"), ("a.md", "c.md")}
    service.stub.RollbackCorpus(pb.RollbackCorpusRequest(corpus="back", snapshot=old))
    assert snapshot(service, "back") == old
    for path, content in {"a.md": b"one", "b.md": b"two"}.items():
        shown = service.stub.GetPost(pb.GetPostRequest(corpus="back", path=path, include_source=True))
        assert (shown.source, shown.document.text.encode()) == (content, content)

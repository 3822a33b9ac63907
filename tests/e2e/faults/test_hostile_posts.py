"""Posts that mean harm, through the rpcs of a real service: answered in bounded time, each with its reason."""

import resource
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protos import corpus_pb2 as pb
from tests.e2e.faults import hostile
from tests.e2e.faults.service import CorpusProcess, health_watched
from tests.e2e.faults.uploads import parts, posts_of, upload

CLEANING_S = 0.6
# A post waits for a process to be started and for a processor, beside the time that it may use of one.
POST_S = 120.0
HEALTH_S = 1.0
GOOD = {f"{number:03}-good.md": b"# Good\n\nSome words of post %d." % number for number in range(8)}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    data = tmp_path_factory.mktemp("posts") / "data"
    with CorpusProcess(data, NONESUCH_CORPUS_CLEANING_SECONDS=str(CLEANING_S)) as running:
        yield running


def is_valid(text: str) -> bool:
    """No half of a surrogate pair in it: protobuf would not carry it, and neither would anything after."""
    return text.encode(errors="replace").decode() == text


def check_documents(service: CorpusProcess, corpus: str) -> None:
    """Every document that a corpus has is valid Unicode."""
    for document in service.stub.ListDocuments(pb.ListDocumentsRequest(corpus=corpus)):
        assert all(map(is_valid, (document.text, document.title, document.date, *document.tags))), document.path


def test_hostile_posts_are_cleaned_or_left_out_and_the_others_come_in(service):
    posts = hostile.named()
    assert len(posts) > 40
    started = time.monotonic()
    with health_watched(service, HEALTH_S):
        report = upload(service, GOOD | posts, corpus="hostile")
    assert time.monotonic() - started < 10 + len(posts) * 4 * CLEANING_S

    skipped = {post.path: post.reason for post in report.skipped}
    assert not skipped.keys() & GOOD.keys()
    assert report.num_documents == len(GOOD) + len(posts) - len(skipped)
    assert posts_of(service, "hostile") == sorted(GOOD | posts)
    for path, reason in skipped.items():
        assert reason.code and reason.message, path
    failed = {reason.message for reason in skipped.values() if reason.code == pb.REASON_CODE_CLEANING_FAILED}
    assert f"its cleaning took more than {CLEANING_S:g} s of processor time" in failed
    check_documents(service, "hostile")
    assert len(service.children()) == 2
    # None of them is worth cleaning again, and the same upload costs a hash each.
    started = time.monotonic()
    again = upload(service, GOOD | posts, corpus="hostile")
    assert again.num_added == again.num_changed == 0
    assert [post.path for post in again.skipped] == sorted(skipped)


@pytest.mark.parametrize("name", ["20,000 open brackets", "300 nested lists", "billion laughs", "a surrogate in JSON"])
def test_a_hostile_post_is_previewed_in_bounded_time(service, name):
    with health_watched(service, HEALTH_S):
        shown = service.stub.PreviewPost(
            pb.PreviewPostRequest(path="a.md", content=hostile.POSTS[name]), timeout=POST_S
        )

    assert shown.HasField("document") or shown.reasons[0].message
    assert is_valid(shown.document.title)


def test_a_post_that_needs_more_memory_than_its_process_may_have_is_left_out(tmp_path):
    with CorpusProcess(tmp_path / "data", NONESUCH_CORPUS_CLEANING_PROCESSES="1") as service:
        upload(service, {"a.md": b"one"}, corpus="memory")
        (cleaning,) = service.children()
        size = int(Path(f"/proc/{cleaning}/statm").read_text().split()[0]) * resource.getpagesize()
        limit = size + (16 << 20)  # instead of the 2 GiB that it sets itself, which take long to fill
        resource.prlimit(cleaning, resource.RLIMIT_AS, (limit, limit))

        report = upload(
            service, {"b.md": b"two", "eats.html": b"<p>a</p>" * (1 << 20), "z.md": b"three"}, corpus="memory"
        )

    assert [(post.path, post.reason.code) for post in report.skipped] == [("eats.html", pb.REASON_CODE_CLEANING_FAILED)]
    assert report.num_documents == 3


def test_the_service_holds_no_more_memory_after_many_uploads_than_after_a_few(service):
    def bring(rounds: int) -> int:
        for number in range(rounds):
            posts = {f"{index}.md": b"Round %d, post %d. " % (number, index) * 4_000 for index in range(6)}
            upload(service, posts | {"zero.md": b"\0" * (4 << 20)}, corpus="memory", prune=True)
        return service.memory_bytes()

    after_some = bring(4)
    assert bring(12) < after_some + (24 << 20)


FRONT = st.sampled_from([b"", b"---\n", b"+++\n", b"{", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"title: x\n\n"])
PIECES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.text(max_size=20).map(lambda text: text.encode(errors="surrogatepass")),
        st.sampled_from(
            [
                b"[",
                b"](",
                b"<",
                b"<!--",
                b"</",
                b"{{<",
                b"{%",
                b"```\n",
                b"\n> ",
                b"\n- ",
                b"&#x",
                b"---\n",
                b"|",
                b"\\ud8",
            ]
        ),
    ),
    max_size=12,
)
POSTS = st.builds(lambda front, pieces, repeat: front + b"".join(pieces) * repeat, FRONT, PIECES, st.integers(1, 40))
SUFFIXES = st.sampled_from([".md", ".mdx", ".html", ".txt"])


@settings(max_examples=15, suppress_health_check=[*HealthCheck])
@given(st.lists(st.tuples(POSTS, SUFFIXES), min_size=60, max_size=100))
def test_any_bytes_are_taken_or_left_out_with_a_reason(service, batch):
    posts = {f"{index}{suffix}": content for index, (content, suffix) in enumerate(batch)}
    call = service.stub.UploadPosts.future(
        parts(posts | {"good.md": b"Good words."}, corpus="bytes", prune=True), timeout=30 + len(posts) * 2 * CLEANING_S
    )

    report = call.result().report

    assert report.num_documents + len(report.skipped) == len(posts) + 1
    assert all(post.reason.message and is_valid(post.reason.message) for post in report.skipped)
    twins = {path for path, content in posts.items() if content.strip() == b"Good words."}
    assert twins or "good.md" not in {post.path for post in report.skipped}
    check_documents(service, "bytes")

"""What comes in with an upload and what is left out, in the report; uploads that are refused."""

from __future__ import annotations

import hashlib

import grpc
import pytest

from protos import corpus_pb2 as pb
from tests.rpc.corpus.uploading import DEADLINE_S, END, failure, messages, messages_but_the_end, upload


def test_posts_come_in_and_documents_go_out(stub):
    report = upload(
        stub,
        "blog",
        {
            "2019/bees.md": b"---\ntitle: Bees\ntags: [a, b]\ndate: 2019-09-01\n---\nSome *bees*.",
            "empty.md": b"",
            "picture.md": b"\x89PNG\r\n\0\0",
            "style.css": b"p {}",
            "draft.md": b"---\ndraft: true\n---\nhush",
            "legacy.md": "café au lait".encode("cp1252"),
            "twin.md": "café au lait".encode(),
        },
    )

    assert (report.corpus, report.num_added, report.num_documents, report.num_words) == ("blog", 2, 2, 5)
    assert [(entry.path, entry.reason.code) for entry in report.skipped] == [
        ("draft.md", pb.REASON_CODE_DRAFT),
        ("empty.md", pb.REASON_CODE_EMPTY),
        ("picture.md", pb.REASON_CODE_NOT_TEXT),
        ("style.css", pb.REASON_CODE_UNKNOWN_KIND),
        ("twin.md", pb.REASON_CODE_DUPLICATE),
    ]
    assert [(entry.path, entry.reason.code) for entry in report.notes] == [
        ("legacy.md", pb.REASON_CODE_LEGACY_ENCODING)
    ]
    snapshot = stub.CreateSnapshot(pb.CreateSnapshotRequest(corpus="blog")).snapshot
    documents = list(stub.ListDocuments(pb.ListDocumentsRequest(corpus="blog", snapshot=snapshot.digest)))
    assert [document.id for document in documents] == ["blog/2019/bees.md", "blog/legacy.md"]
    bees = documents[0]
    assert (bees.title, list(bees.tags), bees.date, bees.text) == (
        "Bees",
        ["a", "b"],
        "2019-09-01",
        "Some bees.",
    )
    assert len(bees.content_hash) == 64
    assert list(stub.ListDocuments(pb.ListDocumentsRequest(corpus="blog"))) == documents
    assert (snapshot.num_documents, snapshot.num_words) == (2, 5)


def test_a_client_sends_only_what_is_needed(stub):
    upload(stub, "lean", {"a.md": b"one", "b.md": b"two", "c.md": b"three"})
    have = {"a.md": b"one", "b.md": b"changed", "d.md": b"new"}
    hashes = [pb.PostHash(path=path, sha256=hashlib.sha256(content).digest()) for path, content in have.items()]

    needed = stub.CheckPosts(pb.CheckPostsRequest(corpus="lean", posts=hashes)).needed_paths
    report = upload(stub, "lean", {path: have[path] for path in needed}, prune=True, unchanged_paths=["a.md"])

    assert needed == ["b.md", "d.md"]
    assert (report.num_added, report.num_changed, report.num_unchanged, report.num_removed) == (1, 1, 1, 1)
    assert stub.CheckPosts(pb.CheckPostsRequest(corpus="none", posts=hashes)).needed_paths == list(have)


def test_what_a_client_leaves_out_is_in_the_report(stub):
    skipped = pb.SkippedFile(path="l.md", reason=pb.Reason(code=pb.REASON_CODE_LINK_OUTSIDE, message="it leads to /"))
    parts = [
        *messages_but_the_end({"a.md": b"one"}, pb.UploadHeader(corpus="left")),
        pb.UploadPostsRequest(skipped=skipped),
        END,
    ]

    report = stub.UploadPosts(iter(parts), timeout=DEADLINE_S).report

    assert [(entry.path, entry.reason) for entry in report.skipped] == [("l.md", skipped.reason)]
    assert report.num_documents == 1


def test_a_post_above_the_limit_is_left_out(stub):
    report = upload(stub, "large", {"a.md": b"one", "b.md": b"x " * (2 << 20)})

    assert [(entry.path, entry.reason.code) for entry in report.skipped] == [("b.md", pb.REASON_CODE_TOO_LARGE)]
    assert report.num_documents == 1


def test_near_duplicates_languages_and_quality_are_told(stub):
    words = " ".join(f"The heron stood in the water for day {index} and nobody asked why." for index in range(60))
    report = upload(stub, "near", {"a.md": words.encode(), "b.md": f"{words} At last it left.".encode()})

    assert [(entry.path, entry.reason.code) for entry in report.notes] == [("b.md", pb.REASON_CODE_NEAR_DUPLICATE)]
    post = stub.ListPosts(pb.ListPostsRequest(corpus="near")).posts[0]
    assert post.language == "en"
    assert 0.9 < post.quality["prose"] <= 1


def test_imports_are_listed_newest_first(stub):
    for content in (b"one", b"two", b""):
        upload(stub, "reports", {"a.md": content})

    first = stub.ListImports(pb.ListImportsRequest(corpus="reports", page_size=2))
    rest = stub.ListImports(pb.ListImportsRequest(corpus="reports", page_size=2, page_token=first.next_page_token))

    assert [report.num_documents for report in [*first.imports, *rest.imports]] == [0, 1, 1]
    assert first.imports[0].skipped[0].reason.code == pb.REASON_CODE_EMPTY


HEADER = pb.UploadPostsRequest(header=pb.UploadHeader(corpus="bad"))
FILE = pb.UploadPostsRequest(file=pb.UploadFile(path="a.md"))


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        pytest.param([], "header", id="nothing"),
        pytest.param([FILE], "header", id="no header"),
        pytest.param([HEADER, HEADER], "part", id="two headers"),
        pytest.param([HEADER, pb.UploadPostsRequest()], "part", id="an empty message"),
        pytest.param([HEADER, pb.UploadPostsRequest(chunk=b"x")], "chunk", id="a chunk before its file"),
        pytest.param([HEADER, FILE, pb.UploadPostsRequest(chunk=b"x" * (1 << 20) + b"x")], "chunk", id="a large chunk"),
        pytest.param([HEADER, FILE, FILE, END], "file.path", id="a post twice"),
        pytest.param([HEADER, pb.UploadPostsRequest(file=pb.UploadFile(path="../a.md")), END], "path", id="a way out"),
        pytest.param(
            [HEADER, pb.UploadPostsRequest(file=pb.UploadFile(path="/a.md")), END], "path", id="from the root"
        ),
        pytest.param([HEADER, FILE], "end", id="no end"),
        pytest.param([HEADER], "end", id="nothing but a header"),
        pytest.param(
            [HEADER, pb.UploadPostsRequest(skipped=pb.SkippedFile(path="a.md"))],
            "skipped.reason",
            id="no reason",
        ),
        pytest.param(
            [pb.UploadPostsRequest(header=pb.UploadHeader(corpus="../x"))],
            "header.corpus",
            id="a corpus's name",
        ),
    ],
)
def test_an_upload_out_of_order_is_invalid_and_changes_nothing(stub, parts, field):
    code, _, offending = failure(stub.UploadPosts, iter(parts))

    assert (code, offending) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert failure(stub.GetCorpus, pb.GetCorpusRequest(corpus="bad"))[0] == grpc.StatusCode.NOT_FOUND


def test_uploads_above_the_limits_are_refused(stub):
    many = messages({f"{index}.md": b"x" for index in range(301)}, pb.UploadHeader(corpus="bad"))
    much = messages({f"{index}.css": b"x" * (1 << 20) for index in range(21)}, pb.UploadHeader(corpus="bad"))

    assert failure(stub.UploadPosts, many)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failure(stub.UploadPosts, much)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_unchanged_paths_may_come_in_messages_of_their_own(stub):
    upload(stub, "many", {"a.md": b"one", "b.md": b"two", "c.md": b"three", "d.md": b"four"})
    parts = [
        pb.UploadPostsRequest(header=pb.UploadHeader(corpus="many", prune=True, unchanged_paths=["a.md"])),
        pb.UploadPostsRequest(unchanged=pb.UnchangedPaths(paths=["b.md"])),
        pb.UploadPostsRequest(file=pb.UploadFile(path="d.md")),
        pb.UploadPostsRequest(chunk=b"other"),
        pb.UploadPostsRequest(unchanged=pb.UnchangedPaths(paths=["a.md", "c.md"])),
        pb.UploadPostsRequest(end=pb.UploadEnd()),
    ]

    report = stub.UploadPosts(iter(parts)).report

    assert (report.num_added, report.num_changed, report.num_unchanged, report.num_removed) == (0, 1, 3, 0)


def test_an_unchanged_path_that_is_not_there_is_a_failed_precondition(stub):
    code, message, _ = failure(
        stub.UploadPosts, messages({}, pb.UploadHeader(corpus="bad", unchanged_paths=["gone.md"]))
    )

    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "gone.md" in message

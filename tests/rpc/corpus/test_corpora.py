"""Corpora, their snapshots and reports; what does not exist, by name."""

from __future__ import annotations

import grpc
import pytest

from protos import corpus_pb2 as pb
from services.corpus.reasons import Code
from tests.rpc.corpus.uploading import DEADLINE_S, failure, upload


@pytest.mark.parametrize("letter", ["x", "é", "\N{OWL}"])
def test_an_error_about_a_very_long_value_arrives_with_its_status(stub, letter):
    long = letter * 100_000

    status, message, _ = failure(stub.DeletePosts, pb.DeletePostsRequest(corpus="default", paths=[long]))
    assert status is grpc.StatusCode.NOT_FOUND
    assert message.startswith("there is no corpus") or message.endswith("nothing was removed")

    request = pb.PreviewPostRequest(path=long, content=b"x")
    assert failure(stub.PreviewPost, request)[::2] == (grpc.StatusCode.INVALID_ARGUMENT, "path")
    status, message, _ = failure(stub.GetCorpus, pb.GetCorpusRequest(corpus=long))
    assert status is grpc.StatusCode.NOT_FOUND
    assert message.startswith("there is no corpus") and message.endswith("`nonesuch posts add`")


def test_corpora_are_listed_shown_and_deleted(stub):
    for name in ("list-a", "list-b", "list-c"):
        upload(stub, name, {"a.md": b"one two"}, rules=pb.CleaningRules(keep_code=False))

    names = []
    token = ""
    while True:
        page = stub.ListCorpora(pb.ListCorporaRequest(page_size=2, page_token=token))
        names += [corpus.name for corpus in page.corpora]
        token = page.next_page_token
        if not token:
            break
    shown = stub.GetCorpus(pb.GetCorpusRequest(corpus="list-a")).corpus
    stub.DeleteCorpus(pb.DeleteCorpusRequest(corpus="list-a"))

    assert names == sorted(names) and {"list-a", "list-b", "list-c"} <= set(names)
    assert (shown.num_posts, shown.num_documents, shown.num_words) == (1, 1, 2)
    assert (shown.rules.keep_code, shown.rules.keep_image_alt, shown.rules.form) == (
        False,
        True,
        pb.TEXT_FORM_TEXT,
    )
    assert failure(stub.GetCorpus, pb.GetCorpusRequest(corpus="list-a"))[0] == grpc.StatusCode.NOT_FOUND


def test_snapshots_are_listed_newest_first_deleted_and_rolled_back_to(stub):
    digests = []
    for content in (b"one", b"two", b"three"):
        upload(stub, "versions", {"a.md": content})
        digests.append(stub.CreateSnapshot(pb.CreateSnapshotRequest(corpus="versions")).snapshot.digest)
    first = stub.ListSnapshots(pb.ListSnapshotsRequest(corpus="versions", page_size=2))
    rest = stub.ListSnapshots(pb.ListSnapshotsRequest(corpus="versions", page_size=2, page_token=first.next_page_token))

    stub.RollbackCorpus(pb.RollbackCorpusRequest(corpus="versions", snapshot=digests[0]))
    stub.DeleteSnapshot(pb.DeleteSnapshotRequest(corpus="versions", snapshot=digests[1]))

    assert [snapshot.digest for snapshot in [*first.snapshots, *rest.snapshots]] == digests[::-1]
    assert stub.GetPost(pb.GetPostRequest(corpus="versions", path="a.md")).document.text == "one"
    left = stub.ListSnapshots(pb.ListSnapshotsRequest(corpus="versions")).snapshots
    assert [snapshot.digest for snapshot in left] == [digests[2], digests[0]]


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("ListPosts", pb.ListPostsRequest(corpus="no-such")),
        ("GetPost", pb.GetPostRequest(corpus="no-such", path="a.md")),
        ("DeletePosts", pb.DeletePostsRequest(corpus="no-such", paths=["a.md"])),
        ("OverridePosts", pb.OverridePostsRequest(corpus="no-such", paths=["a.md"])),
        ("GetCorpus", pb.GetCorpusRequest(corpus="no-such")),
        ("DeleteCorpus", pb.DeleteCorpusRequest(corpus="no-such")),
        ("RollbackCorpus", pb.RollbackCorpusRequest(corpus="no-such", snapshot="0" * 64)),
        ("CreateSnapshot", pb.CreateSnapshotRequest(corpus="no-such")),
        ("ListSnapshots", pb.ListSnapshotsRequest(corpus="no-such")),
        ("DeleteSnapshot", pb.DeleteSnapshotRequest(corpus="no-such", snapshot="0" * 64)),
        ("ListDocuments", pb.ListDocumentsRequest(corpus="no-such")),
        ("ListDocuments", pb.ListDocumentsRequest(corpus="no-such", snapshot="0" * 64)),
        ("ListImports", pb.ListImportsRequest(corpus="no-such")),
    ],
)
def test_an_unknown_corpus_is_not_found_by_name(stub, name, request_):
    code, message, _ = failure(getattr(stub, name), request_)

    assert code == grpc.StatusCode.NOT_FOUND
    assert "no-such" in message


def test_unknown_posts_and_snapshots_are_not_found_by_name(stub):
    upload(stub, "known", {"a.md": b"one"})

    for call, request, word in (
        (stub.GetPost, pb.GetPostRequest(corpus="known", path="z.md"), "z.md"),
        (stub.DeletePosts, pb.DeletePostsRequest(corpus="known", paths=["a.md", "z.md"]), "z.md"),
        (stub.RollbackCorpus, pb.RollbackCorpusRequest(corpus="known", snapshot="abc"), "abc"),
        (stub.DeleteSnapshot, pb.DeleteSnapshotRequest(corpus="known", snapshot="abc"), "abc"),
        (stub.ListDocuments, pb.ListDocumentsRequest(corpus="known", snapshot="abc"), "abc"),
    ):
        code, message, _ = failure(call, request)
        assert code == grpc.StatusCode.NOT_FOUND
        assert word in message
    assert stub.GetCorpus(pb.GetCorpusRequest(corpus="known")).corpus.num_posts == 1


def test_a_snapshot_of_no_document_is_a_failed_precondition(stub):
    upload(stub, "drafts", {"a.md": b"---\ndraft: true\n---\nx"})

    assert failure(stub.CreateSnapshot, pb.CreateSnapshotRequest(corpus="drafts"))[0] == (
        grpc.StatusCode.FAILED_PRECONDITION
    )


@pytest.mark.parametrize("token", ["%%%", "a", "====", "bm90IGEgbnVtYmVy"])
def test_a_foreign_page_token_is_invalid(stub, token):
    upload(stub, "tokens", {"a.md": b"one"})

    code, _, field = failure(stub.ListImports, pb.ListImportsRequest(corpus="tokens", page_token=token))

    assert (code, field) == (grpc.StatusCode.INVALID_ARGUMENT, "page_token")


def test_a_negative_page_size_is_invalid(stub):
    for call, request in (
        (stub.ListPosts, pb.ListPostsRequest(page_size=-1)),
        (stub.ListCorpora, pb.ListCorporaRequest(page_size=-1)),
        (stub.ListSnapshots, pb.ListSnapshotsRequest(page_size=-1)),
        (stub.ListImports, pb.ListImportsRequest(page_size=-1)),
    ):
        code, _, field = failure(call, request)
        assert (code, field) == (grpc.StatusCode.INVALID_ARGUMENT, "page_size")


def test_every_reason_has_a_code_on_the_wire():
    on_wire = {name.removeprefix("REASON_CODE_") for name, _ in pb.ReasonCode.items()} - {"UNSPECIFIED"}

    assert on_wire == set(Code.__members__)


def test_a_corpus_is_described(stub):
    upload(
        stub,
        "described",
        {
            "2019-03-01-a.md": b"two words",
            "b.txt": b"A <div> here.",
            "c.md": b"---\ndraft: true\n---\nlater",
        },
    )

    report = stub.GetCorpusReport(pb.GetCorpusReportRequest(corpus="described"), timeout=DEADLINE_S).report

    assert (report.corpus, report.num_posts, report.num_documents, report.num_words) == ("described", 3, 2, 5)
    assert (report.first_date, report.last_date, report.num_undated) == ("2019-03-01", "2019-03-01", 1)
    assert [(found.code, found.num_posts, list(found.examples)) for found in report.left_out] == [
        (pb.REASON_CODE_DRAFT, 1, ["c.md"])
    ]
    assert [(found.kind, found.example, found.path) for found in report.leftovers] == [("HTML tag", "<div>", "b.txt")]
    assert [(found.month, found.num_documents) for found in report.months] == [("2019-03", 1)]
    assert [post.path for post in report.longest] == ["b.txt", "2019-03-01-a.md"]


def test_an_unknown_corpus_has_no_report(stub):
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetCorpusReport(pb.GetCorpusReportRequest(corpus="nowhere"), timeout=DEADLINE_S)

    assert refused.value.code() == grpc.StatusCode.NOT_FOUND

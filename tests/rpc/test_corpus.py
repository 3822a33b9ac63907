"""The corpus service through its stub: a real server on a free port, real cleaning processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from protos import corpus_pb2 as pb
from protos import corpus_pb2_grpc
from services.common import rpc
from services.corpus.catalogue import Catalogue
from services.corpus.cleaners import Cleaners
from services.corpus.database import Database
from services.corpus.reasons import Code
from services.corpus.rules import CLEANING
from services.corpus.servicer import SERVICE_NAME, CorpusServicer
from services.corpus.settings import CorpusSettings
from services.corpus.sources import Sources

DEADLINE_S = 120


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[corpus_pb2_grpc.CorpusServiceStub]:
    folder = tmp_path_factory.mktemp("corpora")
    database = Database(folder)
    cleaners = Cleaners(2, processor_seconds=20.0)
    settings = CorpusSettings(max_upload_posts=300, max_upload_bytes=20 << 20, max_post_bytes=3 << 20)
    servicer = CorpusServicer(Catalogue(database, Sources(folder / "posts")), cleaners, settings)
    server = rpc.start(
        "127.0.0.1:0",
        lambda started: corpus_pb2_grpc.add_CorpusServiceServicer_to_server(servicer, started),
        services=[SERVICE_NAME],
    )
    with rpc.channel(f"127.0.0.1:{server.port}") as channel:
        yield corpus_pb2_grpc.CorpusServiceStub(channel)
    server.stop(0)
    cleaners.close()
    database.close()


END = pb.UploadPostsRequest(end=pb.UploadEnd())


def messages(posts: dict[str, bytes], header: pb.UploadHeader) -> Iterator[pb.UploadPostsRequest]:
    yield from messages_but_the_end(posts, header)
    yield END


def messages_but_the_end(posts: dict[str, bytes], header: pb.UploadHeader) -> Iterator[pb.UploadPostsRequest]:
    yield pb.UploadPostsRequest(header=header)
    for path, content in posts.items():
        yield pb.UploadPostsRequest(file=pb.UploadFile(path=path, modified_at=Timestamp(seconds=1_567_296_000)))
        for start in range(0, len(content), 1 << 20):
            yield pb.UploadPostsRequest(chunk=content[start : start + (1 << 20)])


def upload(stub, corpus: str, posts: dict[str, bytes], **header) -> pb.ImportReport:
    sent = messages(posts, pb.UploadHeader(corpus=corpus, **header))
    return stub.UploadPosts(sent, timeout=DEADLINE_S).report


def failure(call, *arguments) -> tuple[grpc.StatusCode, str, str]:
    """Status, message and offending field of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        answer = call(*arguments, timeout=DEADLINE_S)
        if not hasattr(answer, "DESCRIPTOR"):
            list(answer)
    status = rpc_status.from_call(caught.value)
    field = ""
    for detail in status.details if status else ():
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            field = bad.field_violations[0].field
    return caught.value.code(), caught.value.details(), field


def test_effects_tell_what_each_rule_does_to_a_post(stub):
    post = b"Words.\n\n```\ncode\n```\n\n> said"
    upload(stub, "effects", {"a.md": post}, rules=pb.CleaningRules(keep_quotations=False))

    stored = stub.GetPost(pb.GetPostRequest(corpus="effects", path="a.md", include_effects=True))
    shown = stub.PreviewPost(pb.PreviewPostRequest(path="a.md", content=post, include_effects=True))

    effects = {effect.rule: effect for effect in stored.effects}
    assert list(effects) == list(CLEANING)
    assert (effects["keep_code"].value, effects["keep_code"].other_value) == ("true", "false")
    assert effects["keep_code"].diff == "@@ -1 +1,3 @@\n Words.\n+\n+code"
    assert effects["keep_quotations"].diff == "@@ -1,5 +1,3 @@\n Words.\n \n code\n-\n-said"
    assert [
        effect.rule for effect in stored.effects if effect.problem or (effect.rule == "keep_tables" and effect.diff)
    ] == []
    assert {effect.rule: effect.value for effect in shown.effects}["keep_quotations"] == "true"
    assert not stub.GetPost(pb.GetPostRequest(corpus="effects", path="a.md")).effects


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


def test_posts_are_listed_page_by_page_with_their_reasons(stub):
    upload(stub, "pages", {f"{index}.md": f"text {index}".encode() for index in range(4)} | {"4.md": b"text 3"})

    first = stub.ListPosts(pb.ListPostsRequest(corpus="pages", page_size=3))
    second = stub.ListPosts(pb.ListPostsRequest(corpus="pages", page_size=3, page_token=first.next_page_token))

    assert [post.path for post in first.posts] == ["0.md", "1.md", "2.md"]
    assert [post.path for post in second.posts] == ["3.md", "4.md"]
    assert (first.total_size, second.next_page_token) == (5, "")
    assert (first.posts[0].title, first.posts[0].num_words, first.posts[0].included) == ("0", 2, True)
    assert not second.posts[1].included
    assert second.posts[1].reasons[0].message == "the same text as 3.md"


def test_a_post_is_shown_with_its_document_and_source(stub):
    upload(stub, "one", {"a.md": b"# T\n\n*one*", "d.md": b"---\ndraft: yes\n---\nx"})

    shown = stub.GetPost(pb.GetPostRequest(corpus="one", path="a.md", include_source=True))
    draft = stub.GetPost(pb.GetPostRequest(corpus="one", path="d.md"))

    assert (shown.post.title, shown.document.text, shown.source) == ("T", "one", b"# T\n\n*one*")
    assert (draft.HasField("document"), draft.source) == (False, b"")


def test_a_preview_stores_nothing(stub):
    shown = stub.PreviewPost(pb.PreviewPostRequest(path="a.md", content=b"---\ntitle: a: b\n---\nsome `code`"))
    nothing = stub.PreviewPost(pb.PreviewPostRequest(path="a.md", content=b" "))
    draft = pb.CleaningRules(include_drafts=True)

    assert (shown.document.title, shown.document.text) == ("a: b", "some code")
    assert [reason.code for reason in shown.reasons] == [pb.REASON_CODE_BROKEN_FRONT_MATTER]
    assert (nothing.HasField("document"), nothing.reasons[0].code) == (False, pb.REASON_CODE_EMPTY)
    assert stub.PreviewPost(
        pb.PreviewPostRequest(path="a.md", content=b"---\ndraft: true\n---\nx", rules=draft)
    ).HasField("document")


def test_rules_and_words_by_hand_choose_among_the_posts(stub):
    upload(
        stub,
        "chosen",
        {
            "a.md": b"---\ndate: 2019-01-02\ntags: [Birds]\n---\none",
            "b.md": b"---\ndraft: true\n---\ntwo",
            "c.md": b"---\nunlisted: true\n---\nthree",
            "d.md": b"---\ndate: 2999-01-01\n---\nfour",
            "e.md": b"five, with AKIA" + b"Z7QW3ERT5YUI2OPA",
        },
    )

    def reasons() -> dict[str, list[int]]:
        posts = stub.ListPosts(pb.ListPostsRequest(corpus="chosen")).posts
        return {post.path: [reason.code for reason in post.reasons] for post in posts if post.reasons}

    assert reasons() == {
        "b.md": [pb.REASON_CODE_DRAFT],
        "c.md": [pb.REASON_CODE_UNLISTED],
        "d.md": [pb.REASON_CODE_FUTURE],
        "e.md": [pb.REASON_CODE_SECRET],
    }
    corpus = stub.GetCorpus(pb.GetCorpusRequest(corpus="chosen")).corpus
    assert (corpus.num_documents, corpus.cutoff_date, corpus.rules.cutoff_date) == (2, "2019-01-02", "")

    rules = pb.CleaningRules(include_drafts=True, include_unlisted=True, include_future=True, exclude_tags=["birds"])
    rules.secrets = pb.SECRET_HANDLING_LEAVE_OUT
    report = upload(stub, "chosen", {}, rules=rules)
    assert report.num_documents == 3
    assert reasons() == {"a.md": [pb.REASON_CODE_EXCLUDED], "e.md": [pb.REASON_CODE_SECRET, pb.REASON_CODE_SECRET]}

    request = pb.OverridePostsRequest(corpus="chosen", paths=["e.md", "a.md"], override=pb.OVERRIDE_INCLUDE)
    posts = stub.OverridePosts(request).posts
    assert [(post.path, post.included, post.override) for post in posts] == [
        ("e.md", True, pb.OVERRIDE_INCLUDE),
        ("a.md", True, pb.OVERRIDE_INCLUDE),
    ]
    shown = stub.GetPost(pb.GetPostRequest(corpus="chosen", path="e.md"))
    assert shown.document.text == "five, with [AWS key]"
    request.override = pb.OVERRIDE_EXCLUDE
    assert [post.reasons[0].code for post in stub.OverridePosts(request).posts] == [pb.REASON_CODE_OVERRIDDEN] * 2


def test_near_duplicates_languages_and_quality_are_told(stub):
    words = " ".join(f"The heron stood in the water for day {index} and nobody asked why." for index in range(60))
    report = upload(stub, "near", {"a.md": words.encode(), "b.md": f"{words} At last it left.".encode()})

    assert [(entry.path, entry.reason.code) for entry in report.notes] == [("b.md", pb.REASON_CODE_NEAR_DUPLICATE)]
    post = stub.ListPosts(pb.ListPostsRequest(corpus="near")).posts[0]
    assert post.language == "en"
    assert 0.9 < post.quality["prose"] <= 1


def test_a_preview_is_chosen_by_its_rules(stub):
    request = pb.PreviewPostRequest(path="a.md", content=b"---\ntags: x\n---\none", rules={"exclude_tags": ["X"]})

    found = stub.PreviewPost(request)

    assert (found.HasField("document"), found.reasons[0].code) == (False, pb.REASON_CODE_EXCLUDED)


@pytest.mark.parametrize(
    ("field", "rules"),
    [
        ("rules.first_date", pb.CleaningRules(first_date="soon")),
        ("rules.near_duplicate_similarity", pb.CleaningRules(near_duplicate_similarity=2)),
        ("rules.include_paths", pb.CleaningRules(include_paths=["../a"])),
        ("rules.secrets", pb.CleaningRules(secrets=77)),
    ],
)
def test_rules_that_cannot_be_kept_are_invalid_and_change_nothing(stub, field, rules):
    parts = messages({"a.md": b"one"}, pb.UploadHeader(corpus="ruled", rules=rules))

    assert failure(stub.UploadPosts, parts)[::2] == (grpc.StatusCode.INVALID_ARGUMENT, field)
    request = pb.PreviewPostRequest(path="a.md", content=b"x", rules=rules)
    assert failure(stub.PreviewPost, request)[::2] == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert failure(stub.GetCorpus, pb.GetCorpusRequest(corpus="ruled"))[0] == grpc.StatusCode.NOT_FOUND


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


def test_imports_are_listed_newest_first(stub):
    for content in (b"one", b"two", b""):
        upload(stub, "reports", {"a.md": content})

    first = stub.ListImports(pb.ListImportsRequest(corpus="reports", page_size=2))
    rest = stub.ListImports(pb.ListImportsRequest(corpus="reports", page_size=2, page_token=first.next_page_token))

    assert [report.num_documents for report in [*first.imports, *rest.imports]] == [0, 1, 1]
    assert first.imports[0].skipped[0].reason.code == pb.REASON_CODE_EMPTY


def test_posts_are_deleted(stub):
    upload(stub, "gone", {"a.md": b"one", "b.md": b"two"})

    assert stub.DeletePosts(pb.DeletePostsRequest(corpus="gone", paths=["a.md"])).num_removed == 1
    assert stub.GetCorpus(pb.GetCorpusRequest(corpus="gone")).corpus.num_posts == 1


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


def test_a_preview_above_the_limit_and_a_deletion_without_a_name_are_invalid(stub):
    large = pb.PreviewPostRequest(path="a.md", content=b"x" * ((3 << 20) + 1))

    assert failure(stub.PreviewPost, large)[2] == "content"
    assert failure(stub.PreviewPost, pb.PreviewPostRequest(path="../a.md"))[2] == "path"
    assert failure(stub.DeleteCorpus, pb.DeleteCorpusRequest())[2] == "corpus"


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


def test_posts_are_listed_by_what_became_of_them(stub):
    upload(
        stub,
        "selected",
        {
            "a.md": b"a plain text",
            "b.md": b"---\ndraft: true\n---\nlater",
            "c.md": b'---\ntitle: a: b\ntags: ["a\n---\nmended',
            "d.md": b"",
        },
    )

    def listed(**which) -> tuple[list[str], int]:
        response = stub.ListPosts(pb.ListPostsRequest(corpus="selected", **which), timeout=DEADLINE_S)
        return [post.path for post in response.posts], response.total_size

    assert listed() == (["a.md", "b.md", "c.md", "d.md"], 4)
    assert listed(selection=pb.POST_SELECTION_INCLUDED) == (["a.md", "c.md"], 2)
    assert listed(selection=pb.POST_SELECTION_LEFT_OUT) == (["b.md", "d.md"], 2)
    assert listed(selection=pb.POST_SELECTION_NOTED) == (["c.md"], 1)
    assert listed(reason=pb.REASON_CODE_DRAFT) == (["b.md"], 1)
    assert listed(reason=pb.REASON_CODE_BROKEN_FRONT_MATTER) == (["c.md"], 1)
    assert listed(selection=pb.POST_SELECTION_LEFT_OUT, page_size=1) == (["b.md"], 2)
    assert listed(language="xx") == ([], 0)


@pytest.mark.parametrize(("field", "value"), [("selection", 99), ("reason", 999)])
def test_a_selection_that_is_none_is_refused(stub, field, value):
    upload(stub, "selected", {"a.md": b"a plain text"})

    code, message, named = failure(stub.ListPosts, pb.ListPostsRequest(corpus="selected", **{field: value}))

    assert (code, named) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert str(value) in message

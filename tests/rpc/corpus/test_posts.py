"""Posts: listed, shown, previewed, chosen by rules and by hand, deleted."""

from __future__ import annotations

import hashlib

import grpc
import pytest

from protos import corpus_pb2 as pb
from services.corpus.rules import CLEANING
from tests.rpc.corpus.uploading import DEADLINE_S, failure, messages, upload


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


def test_posts_are_deleted(stub):
    upload(stub, "gone", {"a.md": b"one", "b.md": b"two"})

    assert stub.DeletePosts(pb.DeletePostsRequest(corpus="gone", paths=["a.md"])).num_removed == 1
    assert stub.GetCorpus(pb.GetCorpusRequest(corpus="gone")).corpus.num_posts == 1


def test_a_preview_above_the_limit_and_a_deletion_without_a_name_are_invalid(stub):
    large = pb.PreviewPostRequest(path="a.md", content=b"x" * ((3 << 20) + 1))

    assert failure(stub.PreviewPost, large)[2] == "content"
    assert failure(stub.PreviewPost, pb.PreviewPostRequest(path="../a.md"))[2] == "path"
    assert failure(stub.DeleteCorpus, pb.DeleteCorpusRequest())[2] == "corpus"


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


def test_the_blogs_style_is_told_of_its_newest_posts(stub):
    old = b"---\ntitle: Old\ndate: 2001-02-03\n---\nolder words\n"
    new = b"+++\ntitle = 'New'\ndate = 2024-05-06\n[taxonomies]\ntags = ['tea']\n+++\n%d newer words\n"
    upload(stub, "style", {"2001/old.md": old, **{f"2024/new-{n}.md": new % n for n in range(2)}})
    snapshot = stub.CreateSnapshot(pb.CreateSnapshotRequest(corpus="style")).snapshot.digest

    style = stub.GetBlogStyle(pb.GetBlogStyleRequest(corpus="style")).style

    assert (style.format, style.path) == ("toml", "%Y/{slug}.md")
    assert [(field.name, field.role) for field in style.fields] == [
        *(("title", "title"), ("date", "date"), ("taxonomies.tags", "tags"))
    ]
    stub.DeletePosts(pb.DeletePostsRequest(corpus="style", paths=["2024/new-0.md", "2024/new-1.md"]))
    assert stub.GetBlogStyle(pb.GetBlogStyleRequest(corpus="style")).style.format == "yaml"
    assert stub.GetBlogStyle(pb.GetBlogStyleRequest(corpus="style", snapshot=snapshot)).style == style
    for name, wrong in ("style", "ab" * 32), ("nobody", ""):
        asked = pb.GetBlogStyleRequest(corpus=name, snapshot=wrong)
        assert failure(stub.GetBlogStyle, asked)[0] is grpc.StatusCode.NOT_FOUND


def test_a_damaged_post_has_no_part_in_the_style(stub, folder):
    posts = {f"{n}.md": b"+++\ntitle = 'A%d'\n+++\nsome words %d\n" % (n, n) for n in range(2)}
    upload(stub, "torn-style", {**posts, "a.md": b"---\ntitle: X\n---\nother words\n"})
    for content in posts.values():
        digest = hashlib.sha256(content).hexdigest()
        (folder / "posts" / digest[:2] / digest).write_bytes(b"torn")
    assert stub.GetBlogStyle(pb.GetBlogStyleRequest(corpus="torn-style")).style.format == "yaml"

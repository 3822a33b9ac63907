"""Whole posts over the wire: fields as given or invented, a file in the blog's style, nothing recited."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from protos import generator_pb2 as pb
from services.blog.style import TOML, Field, Role, Style
from services.tokens.header import compose_header
from tests.rpc.generator.serving import CONFIG, CREATIVE, Service, publish, refused
from tests.unit.generator.fakes import END
from tests.unit.tokens.brute_force import runs
from tests.waiting import PATIENCE_S

WIDE = replace(CONFIG, n_ctx=512)
STYLE = Style(
    TOML,
    (Field("title", Role.TITLE), Field("date", Role.DATE, "%Y-%m-%d"), Field("tags", Role.TAGS, "list")),
    "%Y/{slug}.md",
)
POSTS = [compose_header(f"Post {n}", ["a", "b"], f"2024-01-{n + 10}").encode() + b"Words of it. " * 9 for n in range(4)]
GIVEN = {"title": "The heron", "tags": ["water", "birds"], "date": "2024-05-06"}


@pytest.fixture(scope="module")
def blog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A generator whose model learned posts with headers."""
    folder = tmp_path_factory.mktemp("generator") / "models"
    publish(folder, "owl", 1, corpus=POSTS, style=STYLE, config=WIDE)
    service = Service(folder, max_new_tokens=300)
    yield service
    service.stop()


def write(service: Service, **fields: Any) -> pb.GeneratePostResponse:
    asked = pb.GeneratePostRequest(**({"sampling": CREATIVE, "seed": 4, "max_new_tokens": 50} | fields))
    return service.stub.GeneratePost(asked, timeout=PATIENCE_S)


def test_a_given_header_stands_in_all_three_forms(blog: Service) -> None:
    post = write(blog, **GIVEN, opening="It stood ")

    assert (post.title, list(post.tags), post.date) == ("The heron", ["water", "birds"], "2024-05-06")
    assert post.text.startswith("title: The heron\ntags: water, birds\ndate: 2024-05-06\n\nIt stood")
    assert post.body.startswith("It stood") and post.text.endswith(post.body)
    front = tomllib.loads(post.markdown.split("+++")[1])
    assert front["title"] == "The heron" and front["tags"] == ["water", "birds"]
    assert front["generated_by"] == "Nonesuch owl@1"
    assert post.path == "2024/the-heron.md"
    assert (post.style.format, [field.role for field in post.style.fields]) == ("toml", ["title", "date", "tags"])
    assert (post.model.name, post.model.version) == ("owl", 1)


def test_what_is_not_given_is_invented_and_the_same_for_the_same_seed(blog: Service) -> None:
    # Letters of the corpus are likely, and so are titles that begin behind a blank, as those of a trained model do.
    letters = pb.SamplingParameters(temperature=3, top_k=0, logit_bias={id_: 30.0 for id_ in b" \nabcdefgh"})
    posts = [write(blog, sampling=letters, seed=seed) for seed in range(8)]
    titled = [post for post in posts if post.title]

    assert titled and len({post.text for post in posts}) == len(posts)
    assert write(blog, sampling=letters, seed=3).markdown == posts[3].markdown
    for post in titled:
        assert post.text.startswith("title: ") and post.body.strip() in post.text
        assert post.usage.generated_tokens > 10
    for post in posts:
        assert tomllib.loads(post.markdown.split("+++")[1]).get("title", "") == post.title


def test_with_all_given_the_body_is_what_generate_writes(blog: Service) -> None:
    post = write(blog, **GIVEN, opening="It")
    header = compose_header(GIVEN["title"], GIVEN["tags"], GIVEN["date"])
    prompt = [END, *f"{header}It".encode()]
    (sample,) = blog.generate(prompt_ids=prompt, sampling=CREATIVE, seed=4, max_new_tokens=50).samples

    assert post.text == f"{header}It{sample.text}"
    assert post.finish_reason == sample.finish_reason
    assert post.usage.prompt_tokens == len(prompt) - 1
    assert post.effective.seed == 4 and post.effective.max_new_tokens == 50


def test_a_body_goes_on_past_the_context_to_the_most_tokens(blog: Service, own_service: Any) -> None:
    service = own_service(max_new_tokens=700)
    publish(service.folder, "owl", 1, corpus=POSTS, style=STYLE, config=replace(CONFIG, n_ctx=128))
    asked = {**GIVEN, "sampling": pb.SamplingParameters(temperature=2, top_k=0, logit_bias={END: -100})}
    post = write(service, **asked, max_new_tokens=400)

    assert post.finish_reason == pb.FINISH_REASON_LENGTH
    assert post.usage.generated_tokens == 400
    unset = service.stub.GeneratePost(pb.GeneratePostRequest(**asked, seed=1), timeout=PATIENCE_S)
    assert (unset.usage.generated_tokens, unset.effective.max_new_tokens) == (700, 700)


def test_an_opening_that_fits_goes_behind_any_header_that_is_invented(blog: Service) -> None:
    letters = pb.SamplingParameters(temperature=3, top_k=0, logit_bias={id_: 30.0 for id_ in b" \nabcdefgh"})
    opening = "It rained. " * 45
    posts = [write(blog, sampling=letters, opening=opening, seed=seed, max_new_tokens=5) for seed in range(6)]
    assert any(len(post.text.encode()) > WIDE.n_ctx for post in posts)
    assert all(post.body.startswith(opening.strip()) for post in posts)


@pytest.mark.parametrize("most", [1, 4, 12])
@pytest.mark.parametrize(
    "given", [{}, {"title": "Post 1"}, {"date": "2024-01-11", "opening": "Words of it. Words"}], ids=str
)
def test_what_the_model_writes_of_a_post_holds_no_longer_run(tmp_path: Path, most: int, given: dict[str, Any]) -> None:
    learned = [list(post) for post in POSTS]
    service = Service(tmp_path / "models", max_new_tokens=300)
    publish(tmp_path / "models", "owl", 1, corpus=POSTS, style=STYLE, config=WIDE)
    try:
        # Every letter of the corpus is likely, so that runs of it do come.
        bias = {id_: 30.0 for post in POSTS for id_ in post}
        asked = {"sampling": pb.SamplingParameters(temperature=3, top_k=0, logit_bias=bias)}
        post = write(service, **asked, **given, max_verbatim_tokens=most, originality=True)
        plain = write(service, **asked, **given, originality=True)
    finally:
        service.stop()
    own = post.text if not given else post.body.removeprefix(given.get("opening", ""))
    assert len(own) > 20
    fields = ("title: ", "tags: ", "date: ")
    for name in fields:
        own = own.replace(name, "\0")
    longest = max(length for _, length in runs(learned, list(own.encode())))
    assert longest <= most + (2 if not given else 0)  # the blank line that ends a header counts as a name
    if not given:
        assert post.originality.longest_run_tokens <= most
    assert plain.originality.longest_run_tokens >= 1


def test_originality_is_of_the_text_and_only_when_asked_for(blog: Service, service: Service) -> None:
    post = write(blog, title="A", opening=POSTS[0].decode().partition("\n\n")[2][:60], originality=True)
    (run,) = [run for run in post.originality.runs if run.num_tokens >= 60]
    assert post.text[run.start : run.end].strip().startswith("Words of it. Words")
    assert not write(blog, title="A").HasField("originality")
    code, message, details = refused(lambda: write(service, originality=True))
    assert code == grpc.StatusCode.FAILED_PRECONDITION and "owl/1 carries no index" in message
    assert any(isinstance(d, error_details_pb2.ErrorInfo) and d.reason == "NO_INDEX" for d in details)


def test_a_model_without_headers_writes_below_the_title(service: Service) -> None:
    post = write(service, title="Day", max_new_tokens=20)
    assert post.text.startswith("Day\n\n") and post.title == "Day" and not post.tags
    assert post.markdown.startswith("---\ntitle: Day\ngenerated_by: ")
    assert post.path == "day.md"


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({"title": "two\nlines"}, "INVALID_ARGUMENT", "title"),
        ({"tags": ["a,b"]}, "INVALID_ARGUMENT", "tags"),
        ({"date": "2024-02-30"}, "INVALID_ARGUMENT", "date"),
        ({"opening": "x" * 3000}, "INVALID_ARGUMENT", "opening"),
        ({"tags": ["x" * 290] * 20, "opening": "x"}, "INVALID_ARGUMENT", "tags"),
        ({"max_new_tokens": 0}, "INVALID_ARGUMENT", "max_new_tokens"),
        ({"max_new_tokens": 10_000}, "INVALID_ARGUMENT", "max_new_tokens"),
        ({"max_verbatim_tokens": 0}, "INVALID_ARGUMENT", "max_verbatim_tokens"),
        ({"sampling": pb.SamplingParameters(top_p=2)}, "INVALID_ARGUMENT", "top_p"),
        ({"model": "cuckoo"}, "NOT_FOUND", "cuckoo"),
        ({"version": 9}, "NOT_FOUND", "9"),
        ({"alias": "best"}, "NOT_FOUND", "best"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_written_is_refused(blog: Service, fields: dict[str, Any], code: str, named: str) -> None:
    told, message, _ = refused(lambda: write(blog, **fields))
    assert told.name == code and named in message


def test_a_damaged_style_is_named(tmp_path: Path) -> None:
    version = publish(tmp_path / "models", "owl", 1, corpus=POSTS, style=replace(STYLE, format="xml"))
    service = Service(tmp_path / "models")
    try:
        code, message, _ = refused(lambda: write(service))
        assert code == grpc.StatusCode.DATA_LOSS and str(version / "index" / "style.json") in message
    finally:
        service.stop()


def test_a_caller_who_leaves_frees_the_place(blog: Service) -> None:
    asked = pb.GeneratePostRequest(**GIVEN, seed=1, sampling=pb.SamplingParameters(logit_bias={END: -100}))
    with pytest.raises(grpc.RpcError) as failure:
        blog.stub.GeneratePost(asked, timeout=0.001)
    assert failure.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert write(blog, title="Next").title == "Next"

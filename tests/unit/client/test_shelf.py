"""Names for files of generated posts, and requests for more of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import generator_pb2, shelf_pb2
from services.client import post_writing
from services.client.shelf import SUFFIXES, file_name


def named(path):
    return file_name(shelf_pb2.ShelfPost(id=7, response=generator_pb2.GeneratePostResponse(path=path)))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("_posts/2019-09-01-the-heron.md", "2019-09-01-the-heron.md"),
        ("content/the-heron/index.md", "the-heron.md"),
        ("content/the-heron/_index.md", "the-heron.md"),
        ("index.md", "index.md"),
        ("Der Reiher & die Möwe.markdown", "Der Reiher  die Möwe.markdown"),
        ("the-heron", "the-heron.md"),
        ("run.sh", "run.sh.md"),
        ("", "post-7.md"),
        ("../../etc/passwd", "passwd.md"),
        ("..\\..\\boot.md", "boot.md"),
        ("../..", "post-7.md"),
        (".bashrc", "bashrc.md"),
        ("a/.md", "md.md"),
        ("nul\x00l\n\x1b[31m.md", "null31m.md"),
        ("C:\\x.md", "x.md"),
        ("-rf.md", "rf.md"),
        ("x" * 500 + ".md", "x" * 120 + ".md"),
    ],
)
def test_a_file_is_named_as_the_blog_would_name_it(path, name):
    assert named(path) == name


@given(st.text())
def test_no_path_names_a_file_elsewhere(path):
    name = named(path)
    assert name and not name.startswith(".") and not set(name) & set('/\\:\0\n"') and len(name) < 140
    assert name.lower().endswith(SUFFIXES)


WRITTEN = generator_pb2.GeneratePostResponse(
    title="Invented", tags=["invented"], model=generator_pb2.ModelReference(name="run2", version=3)
)


def test_a_request_is_made_of_plain_arguments():
    request = post_writing.make_post_request(
        model="run1@stable", tags=["a", "b"], title="T", temperature=0.5, seed=2**64 - 1, top_k=None, max_new_tokens=9
    )

    assert (request.model, request.alias, list(request.tags)) == ("run1", "stable", ["a", "b"])
    assert (request.title, request.seed, request.max_new_tokens) == ("T", 2**64 - 1, 9)
    assert request.sampling.temperature == 0.5 and not request.sampling.HasField("top_k")
    assert not request.HasField("date")


def test_again_is_the_same_request_with_a_new_seed():
    request = post_writing.make_post_request(title="Kept", opening="Once", min_p=0.1, seed=4)

    other = post_writing.again(request, WRITTEN)

    assert not other.HasField("seed") and other.model == "run2" and request.HasField("seed")
    other.seed, other.model = 4, ""
    assert other == request


def test_more_like_it_keeps_model_sampling_and_tags_and_invents_the_rest():
    request = post_writing.make_post_request(
        model="run2@3", title="T", date="2020-01-01", opening="Once", tags=["old"], top_p=0.9, seed=4,
        max_verbatim_tokens=12, max_new_tokens=50,
    )  # fmt: skip

    other = post_writing.more_like(request, WRITTEN)

    assert not any(other.HasField(field) for field in ("title", "date", "seed")) and not other.opening
    assert (other.model, other.version, list(other.tags)) == ("run2", 3, ["invented"])
    assert (other.sampling, other.max_verbatim_tokens, other.max_new_tokens) == (request.sampling, 12, 50)

"""The shelf through the library and the command."""

from __future__ import annotations

import json

import pytest

from protos import generator_pb2, shelf_pb2
from services.client import Nonesuch
from services.client.post_writing import make_post_request
from services.common.errors import Busy, FailedPrecondition, NotFound, Unavailable
from services.common.settings import CommonSettings
from tests.rpc.client.answers import DEAD, POST_TEXT


@pytest.fixture
def nonesuch(fakes):
    with Nonesuch(fakes.settings) as made:
        yield made


@pytest.fixture
def three(nonesuch):
    """Posts 1 to 3: run1's, run2's, run1's."""
    return [nonesuch.shelf.write(make_post_request(model=model)) for model in ("run1", "run2", "run1")]


def test_a_post_is_written_approved_and_released(nonesuch):
    post = nonesuch.shelf.write(make_post_request(model="run1@1", title="Tides", temperature=0.8))
    nonesuch.shelf.approve(post.id, note="good")
    (ready,) = nonesuch.shelf.approved()
    whole = nonesuch.shelf.get(ready.id)
    released = nonesuch.shelf.release(ready.id, "_posts/tides.md")

    assert (post.request.version, post.request.title, post.request.originality) == (1, "Tides", True)
    assert round(post.request.sampling.temperature, 5) == 0.8
    assert ready.response.markdown == "" and whole.response.markdown.startswith("---\n")
    assert (released.state, released.released_path) == (shelf_pb2.SHELF_STATE_RELEASED, "_posts/tides.md")
    assert list(nonesuch.shelf.approved()) == []


def test_approved_posts_come_oldest_first(nonesuch, three):
    for post in reversed(three):
        nonesuch.shelf.approve(post.id)

    assert [post.id for post in nonesuch.shelf.approved()] == [1, 2, 3]
    assert [post.id for post in nonesuch.shelf.approved(model="run1")] == [1, 3]
    assert [post.id for post in nonesuch.shelf.posts(bodies=True) if post.response.body] == [3, 2, 1]


def test_a_model_without_an_index_writes_without_originality(fakes, nonesuch):
    fakes.generator.has_index = False

    post = nonesuch.shelf.write(make_post_request())

    assert not post.response.HasField("originality") and not post.request.originality


def test_nothing_is_written_while_the_shelf_is_away(fakes):
    settings = CommonSettings(corpus_address=DEAD, generator_address=fakes.settings.generator_address)

    with Nonesuch(settings) as nonesuch, pytest.raises(Unavailable, match="the corpus does not answer"):
        nonesuch.shelf.write(make_post_request())

    assert fakes.generator.requests == []


def test_adding_waits_for_a_service_that_starts_and_not_for_a_full_shelf(fakes, nonesuch, monkeypatch):
    response = nonesuch.shelf.write(make_post_request()).response
    add, refusals = fakes.shelf.add, [Unavailable("starting", retry_after_s=0.01)] * 2

    def sometimes(post):
        if refusals:
            raise refusals.pop()
        return add(post)

    monkeypatch.setattr(fakes.shelf, "add", sometimes)
    added = nonesuch.shelf.add(generator_pb2.GeneratePostRequest(), response, note="kept")
    for _ in range(8):
        nonesuch.shelf.add(generator_pb2.GeneratePostRequest(), response)

    assert (added.id, added.note) == (2, "kept")
    with pytest.raises(Busy, match="the shelf holds 10 posts") as full:
        nonesuch.shelf.add(generator_pb2.GeneratePostRequest(), response)
    assert full.value.reason == "SHELF_FULL"
    with pytest.raises(Unavailable):
        refusals.append(Unavailable("starting", retry_after_s=5))
        nonesuch.shelf.add(generator_pb2.GeneratePostRequest(), response, patience_s=1)


def test_the_library_raises_what_the_shelf_refuses(nonesuch, three):
    with pytest.raises(NotFound):
        nonesuch.shelf.get(99)
    with pytest.raises(FailedPrecondition, match="approve it first"):
        nonesuch.shelf.release(1)


def test_the_list_is_a_table_and_json(run, nonesuch, three):
    nonesuch.shelf.reject(2)

    table = run("shelf", "list").stdout.splitlines()
    chosen = json.loads(run("shelf", "list", "--state", "rejected", "--state", "released", "--json").stdout)

    assert table[0].split() == ["ID", "STATE", "MODEL", "WORDS", "BORROWED", "WRITTEN", "TITLE"]
    assert [line.split()[:5] for line in table[1:]] == [
        ["3", "waiting", "run1@1", "9", "50%"],
        ["2", "rejected", "run2@1", "9", "50%"],
        ["1", "waiting", "run1@1", "9", "50%"],
    ]
    assert [(post["id"], post["state"]) for post in chosen] == [(2, "REJECTED")]
    assert len(run("shelf", "list", "--model", "run2").stdout.splitlines()) == 2


def test_posts_are_shown_decided_about_and_removed(run, nonesuch, three):
    shown = run("shelf", "show", 1)
    approved = run("shelf", "approve", 1, 2, "--note", "both good")
    rejected = json.loads(run("shelf", "reject", 3, "--json").stdout)
    reopened = run("shelf", "reopen", 2)
    removed = run("shelf", "remove", 1, 3)

    assert POST_TEXT in shown.stdout
    assert "50% stands word for word" in shown.stderr and "post 1, waiting, written by run1@1, seed 5" in shown.stderr
    assert approved.stdout.splitlines() == ["post 1 is approved: The heron", "post 2 is approved: The heron"]
    assert rejected[0]["state"] == "REJECTED"
    assert reopened.stdout == "post 2 is waiting: The heron\n"
    assert removed.stdout.splitlines() == ["post 1 removed", "post 3 removed"]
    assert [post.id for post in nonesuch.shelf.posts()] == [2]
    assert nonesuch.shelf.get(2).note == "both good"


def test_a_post_is_saved_under_the_name_that_the_blog_would_give_it(run, three, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    first = run("shelf", "save", 1)
    taken = run("shelf", "save", 1, status=1)
    forced = run("shelf", "save", 1, "--force")
    elsewhere = run("shelf", "save", 1, "--out", tmp_path / "a.md")
    printed = run("shelf", "save", 1, "--out", "-")
    nowhere = run("shelf", "save", 1, "--out", tmp_path / "no" / "a.md", status=1)

    assert first.stdout == forced.stdout == "2019-09-01-the-heron.md\n"
    assert "is there already" in taken.stderr and "--force" in taken.stderr
    assert elsewhere.stdout == f"{tmp_path}/a.md\n"
    assert printed.stdout == (tmp_path / "2019-09-01-the-heron.md").read_text() == (tmp_path / "a.md").read_text()
    assert "cannot write" in nowhere.stderr


@pytest.mark.parametrize("verb", ["show", "approve", "reject", "reopen", "remove", "save"])
def test_an_unknown_post_is_told(run, verb):
    assert "there is no post 7 on the shelf" in run("shelf", verb, 7, status=1).stderr


def test_an_id_is_a_number(run):
    assert "shelf show" in run("shelf", "show", "../x", status=2).stderr
    run("shelf", "approve", status=2)
    assert "save" in run("shelf", "--help").stdout

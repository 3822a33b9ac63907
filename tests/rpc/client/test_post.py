"""`nonesuch post`: onto the shelf, and from there into a blog once a person said so."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from datetime import date as Date
from datetime import timedelta
from pathlib import Path

import pytest

from protos import shelf_pb2
from services.client import Nonesuch
from services.client.commands import poster as command
from services.client.shelf import Shelf
from services.common.errors import InvalidRequest, Unavailable


@pytest.fixture
def nonesuch(fakes):
    with Nonesuch(fakes.settings) as made:
        yield made


@pytest.fixture
def blog(tmp_path):
    (tmp_path / "old.md").write_text(f"---\ntitle: Old\ndate: {Date.today()}\n---\nx\n")
    return tmp_path


@pytest.fixture
def looks(monkeypatch):
    """The pauses of the loop, which ends in the fourth."""
    pauses = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", sleep)
    return pauses


def files(blog):
    return sorted(path.relative_to(blog).as_posix() for path in blog.rglob("*.md"))


def test_a_post_is_written_onto_the_shelf_and_shown(run, fakes, nonesuch):
    told = run(
        "post", "--title", "Tides", "--tag", "a", "--tag", "b", "--temperature", 0.5, "--seed", 7, "--length", 90
    )

    (post,) = nonesuch.shelf.posts()
    asked = fakes.generator.requests[0]
    assert (asked.title, list(asked.tags), asked.seed, asked.max_new_tokens) == ("Tides", ["a", "b"], 7, 90)
    assert asked.originality and asked.sampling.temperature == 0.5
    assert "It stood" in told.stdout
    assert f"post {post.id} waits on the shelf" in told.stderr


def test_several_posts_have_seeds_of_their_own(run, fakes):
    lines = run("post", "-n", 3, "--seed", 5, "--json").stdout.splitlines()
    assert [json.loads(line)["response"]["effective"]["seed"] for line in lines] == [5, 6, 7]


def test_nothing_is_released_without_a_persons_word(run, blog, nonesuch):
    told = run("post", "--into", blog)
    again = run("post", "--into", blog)

    assert files(blog) == ["old.md"]
    assert "nonesuch shelf approve 1" in told.stderr and "nonesuch shelf approve 1" in again.stderr
    assert len(list(nonesuch.shelf.posts())) == 1  # the one that waits is enough


def test_the_oldest_approved_post_is_released_on_the_next_free_day(run, blog, nonesuch):
    run("post", "-n", 3)
    for number in (3, 2):
        run("shelf", "approve", number)
    told = run("post", "--into", blog)

    day = Date.today() + timedelta(days=1)
    assert told.stdout == f"{blog}/{day}-the-heron.md\n"
    assert files(blog) == [f"{day}-the-heron.md", "old.md"]
    post = nonesuch.shelf.get(2)
    assert post.state == shelf_pb2.SHELF_STATE_RELEASED and post.released_path == f"{day}-the-heron.md"
    assert "generated_by: " in (blog / post.released_path).read_text()
    assert json.loads(run("post", "--into", blog, "--json").stdout)["id"] == 3


def test_only_posts_of_the_model_asked_for_are_released(run, blog, nonesuch):
    for model in ("other", "run1"):
        run("post", "--model", model)
    run("post", "--into", blog, "--model", "run1", "--approve")
    assert [post.state for post in nonesuch.shelf.posts(oldest_first=True)] == [
        shelf_pb2.SHELF_STATE_WAITING,
        shelf_pb2.SHELF_STATE_RELEASED,
    ]
    run("shelf", "approve", 1)
    run("post", "--into", blog, "--model", "run1", "--approve")
    assert nonesuch.shelf.get(1).state == shelf_pb2.SHELF_STATE_APPROVED
    assert nonesuch.shelf.get(3).state == shelf_pb2.SHELF_STATE_RELEASED


def test_where_a_post_is_named_no_other_is_released(run, blog, nonesuch):
    run("post", "-n", 2)
    run("shelf", "approve", 1)
    named = ("post", "--into", blog, "--title", "My own", "--tag", "a", "--opening", "Once")
    told, again = run(*named), run(*named)
    run("shelf", "approve", 3)
    released = run(*named)

    assert "post 3 waits" in told.stderr and "post 3 waits" in again.stderr and "my-own" in released.stdout
    asked = nonesuch.shelf.get(3).request
    assert (asked.title, list(asked.tags), asked.opening) == ("My own", ["a"], "Once")
    assert [(post.id, post.state) for post in nonesuch.shelf.posts()] == [
        (3, shelf_pb2.SHELF_STATE_RELEASED),
        (2, shelf_pb2.SHELF_STATE_WAITING),
        (1, shelf_pb2.SHELF_STATE_APPROVED),
    ]


def test_where_a_version_is_named_no_post_of_another_is_released(run, blog, nonesuch):
    run("post", "--model", "run1")
    run("shelf", "approve", 1)
    for number, name in enumerate(("run1@2", "run1@best"), start=2):
        run("post", "--into", blog, "--model", name, "--approve")
        assert nonesuch.shelf.get(number).state == shelf_pb2.SHELF_STATE_RELEASED
    run("post", "--into", blog, "--model", "run1@1")
    assert nonesuch.shelf.get(1).state == shelf_pb2.SHELF_STATE_RELEASED


def test_how_to_write_is_told_not_to_be_used_for_a_post_that_is_there(run, blog, looks):
    run("post", "-n", 2)
    run("shelf", "approve", 1)
    how = ("--top-k", 5, "--seed", 7)
    assert (
        "post 1 is on the shelf already; not used for it: --top-k, --seed" in run("post", "--into", blog, *how).stderr
    )
    looped = run("post", "--into", blog, "--every", "day", *how, status=130)
    assert "not used" not in looped.stderr  # nothing is due
    run("shelf", "remove", 1)
    looks.clear()
    looped = run("post", "--into", blog, "--every", "day", *how, status=130)
    assert looped.stderr.count("post 2 is on the shelf already; not used for it") == 1
    run("shelf", "reject", 2)
    assert "not used" not in run("post", "--into", blog, *how).stderr


def test_with_approve_nobody_is_asked(run, blog):
    run("post", "--into", blog, "--approve")
    assert len(files(blog)) == 2


def test_a_post_that_was_written_into_the_blog_but_not_noted_is_noted(run, blog, nonesuch, monkeypatch):
    run("post", "--into", blog, "--approve")
    run("post")
    run("shelf", "approve", 2)

    def lost(*_: object) -> None:
        raise Unavailable("the answer got lost")

    with monkeypatch.context() as patch:
        patch.setattr("services.client.shelf.Shelf.release", lost)
        run("post", "--into", blog, status=1)
    before = files(blog)
    run("post", "--into", blog)
    assert files(blog) == before and len(before) == 3
    assert nonesuch.shelf.get(2).state == shelf_pb2.SHELF_STATE_RELEASED


@pytest.mark.parametrize("decide", ["reject", "remove"])
def test_a_post_that_is_decided_about_while_it_is_released_stays_out_of_the_blog(
    run, blog, nonesuch, monkeypatch, decide
):
    run("post")
    run("shelf", "approve", 1)
    write = command.release

    def slowly(*arguments: object) -> tuple[str, bool]:
        written = write(*arguments)
        getattr(nonesuch.shelf, decide)(1)
        return written

    monkeypatch.setattr(command, "release", slowly)
    told = run("post", "--into", blog, status=1)
    assert files(blog) == ["old.md"]
    assert "only approved posts are released" in told.stderr or "there is no post 1" in told.stderr


def test_every_second_day_a_post_is_released_over_restarts(run, fakes, blog, nonesuch, monkeypatch):
    today, looks = Date.today(), []

    class Day(Date):
        @classmethod
        def today(cls):
            return today + timedelta(days=len(looks) // 2)  # two looks a day

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "Date", Day)
    monkeypatch.setattr(command.time, "sleep", sleep)
    monkeypatch.setattr(fakes.shelf, "_now", lambda: time.mktime(Day.today().timetuple()))
    run("post", "--into", blog, "--approve")
    run("post", "--into", blog, "--every", "2 days", "--approve", status=130)

    # By hand on the first day, which is taken; then on the third and on the fifth.
    assert files(blog) == sorted(["old.md", *(f"{today + timedelta(days=days)}-the-heron.md" for days in (1, 2, 4))])
    assert set(looks) == {command.LOOK_S}


def test_with_a_seed_no_days_post_is_that_of_another(run, blog, nonesuch, monkeypatch):
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(command.Poster, "_is_due", lambda *_: True)
    monkeypatch.setattr(command.time, "sleep", sleep)
    run("post", "--into", blog, "--every", "day", "--approve", "--seed", 5, status=130)
    assert [post.request.seed for post in nonesuch.shelf.posts(oldest_first=True)] == [5, 6, 7]


def test_a_service_that_is_away_is_asked_again(run, blog, monkeypatch):
    looks = []

    def away(*_: object, **__: object) -> None:
        raise Unavailable("the corpus service does not answer")

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("services.client.shelf.Shelf.posts", away)
    monkeypatch.setattr(command.time, "sleep", sleep)
    told = run("post", "--into", blog, "--every", "day", status=130)

    assert looks == [2.0, 4.0, 8.0, 16.0]
    assert told.stderr.count("trying again until it works") == 1


@pytest.mark.parametrize("decide", ["reject", "remove"])
@pytest.mark.parametrize("before", ["get", "release"])
def test_a_post_that_is_decided_about_meanwhile_is_looked_away_from(
    run, blog, nonesuch, monkeypatch, looks, decide, before
):
    run("post", "-n", 2)
    run("shelf", "approve", 1, 2)
    call, decided = getattr(Shelf, before), []

    def late(shelf: Shelf, number: int, *rest: object) -> object:
        if not decided:
            decided.append(number)
            getattr(nonesuch.shelf, decide)(number)
        return call(shelf, number, *rest)

    monkeypatch.setattr(Shelf, before, late)
    told = run("post", "--into", blog, "--every", "day", status=130)
    assert len(files(blog)) == 2 and nonesuch.shelf.get(2).state == shelf_pb2.SHELF_STATE_RELEASED
    assert "looking for another" in told.stderr and set(looks) == {command.LOOK_S}


def test_a_disk_that_is_full_and_a_folder_that_is_away_are_waited_for(run, blog, tmp_path, monkeypatch, looks):
    run("post")
    run("shelf", "approve", 1)
    link, away = os.link, tmp_path.with_name("away")

    def no_room(*paths: Path) -> None:
        match len(looks):
            case 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            case 1:
                blog.rename(away)
                raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        link(*paths)

    def back(seconds: float, sleep: Callable[[float], None] = command.time.sleep) -> None:
        if len(looks) == 2:
            away.rename(blog)
        sleep(seconds)

    monkeypatch.setattr(os, "link", no_room)
    monkeypatch.setattr(command.time, "sleep", back)
    told = run("post", "--into", blog, "--every", "day", status=130)
    assert looks == [2.0, 4.0, 8.0, command.LOOK_S] and len(files(blog)) == 2
    assert "No space left on device" in told.stderr


def test_what_does_not_pass_by_itself_ends_the_loop(run, blog, tmp_path, monkeypatch, looks):
    def refused(*_: object, **__: object) -> None:
        raise InvalidRequest("top_p is 7; it is at most 1", field="sampling.top_p")

    monkeypatch.setattr(Shelf, "compose", refused)
    assert "top_p is 7" in run("post", "--into", blog, "--every", "day", "--top-p", 7, status=1).stderr
    assert "is no folder" in run("post", "--into", tmp_path / "none", "--every", "day", status=1).stderr
    assert looks == []


@pytest.mark.parametrize("into", [False, True])
def test_where_the_shelf_is_full_nothing_is_written_over_and_over(run, fakes, blog, monkeypatch, into):
    run("post", "-n", 10)
    run("shelf", "reject", *range(1, 11))
    monkeypatch.setattr("services.client.commands.post.MODEL_PATIENCE_S", 2.0)
    told = run("post", *(["--into", blog, "--every", "day"] if into else []), status=1)
    assert "the shelf is full" in told.stderr and "NONESUCH_CORPUS_MAX_SHELF_POSTS" in told.stderr
    assert len(fakes.generator.requests) == 10


@pytest.mark.parametrize("as_json", [False, True])
def test_a_post_that_the_shelf_refuses_after_all_is_not_lost(run, fakes, monkeypatch, as_json):
    monkeypatch.setattr(fakes.shelf, "room_left", lambda: 1)
    run("post", "-n", 10)
    told = run("post", *["--json"][:as_json], status=1)
    shown = json.loads(told.stdout)["markdown"] if as_json else told.stdout
    assert shown.strip().startswith("---\ntitle: The heron") and "Nobody asked it why." in shown
    assert "the shelf holds 10 posts" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--every", "day"], "belong to --into"),
        (["--approve"], "belong to --into"),
        (["--into", ".", "-n", 2], "leave -n out"),
        (["--into", ".", "--date", "2024-01-01"], "leave --date out"),
        (["--into", ".", "--every", "noon"], "expected day, week"),
        (["--into", ".", "--every", "0 days"], "expected day, week"),
        (["--seed", 2**64], "out of range: 18446744073709551616"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_told(run, arguments, message):
    assert message in run("post", *arguments, status=2).stderr


def test_a_folder_that_is_not_there_is_told_before_anything_is_written(run, fakes, tmp_path):
    assert "is no folder" in run("post", "--into", tmp_path / "none", status=1).stderr
    assert fakes.generator.requests == []

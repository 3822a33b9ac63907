"""The way from posts to a post that `make run` walks: names, and what is done again."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from services import __main__ as way

RUN_OF_ANOTHER_NAME = '[{"name": "voice", "versions": [{"model": "voice", "run": "blog", "dataset": "blog"}]}]'


def published(monkeypatch, answer, status=0):
    found = SimpleNamespace(returncode=status, stdout=answer)
    monkeypatch.setattr(way.subprocess, "run", lambda *arguments, **options: found)
    return way._is_published(SimpleNamespace(environ={}), "blog")


def test_a_corpus_has_the_name_of_its_folder():
    assert way.corpus_name(Path("/home/me/My Blog/_posts")) == "My-Blog"
    assert way.corpus_name(Path("/posts")) == "default"


def test_another_base_is_another_model_so_that_more_patience_trains_one():
    assert way.model_name("blog", "nano") == "blog"
    assert way.model_name("blog", "micro") == "blog-micro"


def test_a_model_is_published_when_one_has_that_name_and_not_when_something_else_has(monkeypatch):
    assert published(monkeypatch, '[{"name": "blog", "versions": []}]')
    assert not published(monkeypatch, RUN_OF_ANOTHER_NAME)
    with pytest.raises(way.ServiceError):
        published(monkeypatch, "", status=1)


def walked(monkeypatch, published, writes_long=True):
    """The verbs that a walk types, when the model is published or not at each look."""
    typed = []

    def nonesuch(supervisor, *arguments):
        typed.append(arguments)
        return int("--min-words" in arguments and not writes_long)

    monkeypatch.setattr(way, "_nonesuch", nonesuch)
    looks = iter(published)
    monkeypatch.setattr(way, "_is_published", lambda supervisor, model: next(looks))
    assert way.walk(SimpleNamespace(), Path("/blog"), "nano", []) == 0
    return [" ".join(arguments[:2]) if arguments[0] in ("posts", "models") else arguments[0] for arguments in typed]


def test_what_is_there_already_is_not_done_again(monkeypatch):
    assert walked(monkeypatch, [True]) == ["posts add", "generate"]
    assert walked(monkeypatch, [False, True]) == ["posts add", "train", "generate"]


def test_a_model_that_writes_short_posts_gives_a_short_one(monkeypatch):
    assert walked(monkeypatch, [True], writes_long=False) == ["posts add", "generate", "generate"]


def test_a_finished_run_whose_model_was_deleted_is_published_again(monkeypatch):
    assert walked(monkeypatch, [False, False]) == ["posts add", "train", "models publish", "generate"]


@pytest.mark.parametrize("options", [["--once"], ["--train", "--steps 5"], ["--posts", "~/no such folder"]])
def test_options_that_would_do_nothing_are_refused(options):
    ended = subprocess.run([sys.executable, "-m", "services", *options], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "--posts" in ended.stderr
    assert "~" not in ended.stderr

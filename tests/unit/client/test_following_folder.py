"""Folders that are watched: what is told, and that nothing is missed once a folder or file was replaced."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.client.following_folder import changes
from services.common.errors import NotFound

PATIENCE_S = 120


@pytest.fixture
def stopping() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def told(found: Iterator[list[str]]) -> list[str]:
    """The next changes that are told."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if names := next(found):
            return names
    raise AssertionError("nothing was told")


def replace(path: Path, text: str) -> None:
    """Save as editors do: beside it, then in its place."""
    beside = path.with_name(".beside")
    beside.write_text(text)
    beside.rename(path)


def test_what_changes_below_a_folder_is_told_by_its_path_and_hidden_files_are_not(tmp_path, stopping):
    (tmp_path / "sub").mkdir()
    found = changes([tmp_path], stopping)
    assert next(found) == []

    (tmp_path / ".hidden.md").write_text("a")
    (tmp_path / "sub" / "b.md").write_text("b")

    assert told(found) == ["sub/b.md"]


@pytest.mark.parametrize("with_folder", [False, True])
def test_a_file_that_is_replaced_again_and_again_is_told_each_time(tmp_path, stopping, with_folder):
    folder, post = tmp_path / "posts", tmp_path / "post.md"
    folder.mkdir()
    post.write_text("0")
    found = changes([folder, post] if with_folder else [post], stopping)
    assert next(found) == []

    for number in range(3):
        replace(post, f"{number + 1}")
        assert "post.md" in told(found)


def test_a_folder_that_was_taken_away_is_watched_again_when_it_is_back(tmp_path, stopping):
    folder = tmp_path / "posts"
    folder.mkdir()
    found = changes([folder], stopping)
    assert next(found) == []

    shutil.rmtree(folder)
    assert told(found) == ["posts"]
    (tmp_path / "other").mkdir()  # may take the number that the folder had
    folder.mkdir()
    assert told(found) == ["posts"]
    (folder / "a.md").write_text("a")
    assert "a.md" in told(found)


def test_what_is_not_there_is_named(tmp_path, stopping):
    with pytest.raises(NotFound, match="nowhere does not exist"):
        next(changes([tmp_path / "nowhere"], stopping))

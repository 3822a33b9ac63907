"""Released posts: the next free day, names that take nothing's place, and each post once."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import date as Date
from itertools import count
from pathlib import Path
from threading import Barrier

import pytest
import yaml
from google.protobuf import json_format

from protos import corpus_pb2, generator_pb2, shelf_pb2
from services.blog.style import DATE_FORMS, LIST, TOML, YAML, Field, Role, Style
from services.client import releasing
from services.client.releasing import free_day, take_back
from services.common.errors import NonesuchError, NotFound

TODAY = Date(2024, 5, 6)
FIELDS = (Field("title", Role.TITLE), Field("date", Role.DATE, "%Y-%m-%d 08:00"), Field("tags", Role.TAGS, LIST))


def post(number: int = 1, path: str = "_posts/%Y-%m-%d-{slug}.md", format_: str = YAML) -> shelf_pb2.ShelfPost:
    style = json_format.ParseDict(Style(format_, FIELDS, path).as_json(), corpus_pb2.BlogStyle())
    return shelf_pb2.ShelfPost(
        id=number,
        uuid=f"00000000-0000-4000-8000-{number:012}",
        response=generator_pb2.GeneratePostResponse(
            title="The Heron",
            tags=["water"],
            date="1999-01-01",
            body="It stood there.",
            style=style,
            model=generator_pb2.ModelReference(name="owl", version=3),
        ),
    )


def release(folder: Path, post: shelf_pb2.ShelfPost, day: Date) -> str:
    path, _ = releasing.release(folder, post, day)
    return path


def test_a_post_gets_its_day_and_says_what_wrote_it(tmp_path: Path) -> None:
    path = release(tmp_path, post(), TODAY)

    assert path == "_posts/2024-05-06-the-heron.md"
    _, front, body = (tmp_path / path).read_text().split("---\n")
    assert yaml.safe_load(front) == {
        "title": "The Heron",
        "date": "2024-05-06 08:00",
        "tags": ["water"],
        "generated_by": "Nonesuch owl@3",
        "generated_id": post().uuid,
    }
    assert body == "\nIt stood there.\n"
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["2024-05-06-the-heron.md"]


def test_a_release_that_was_cut_off_is_not_done_twice(tmp_path: Path) -> None:
    first, is_new = releasing.release(tmp_path, post(), TODAY)
    assert is_new and releasing.release(tmp_path, post(), Date(2024, 6, 1)) == (first, False)
    assert len(list(tmp_path.rglob("*.md"))) == 1


def test_two_that_release_a_post_at_once_write_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_posts").mkdir()
    (tmp_path / "_posts" / "2024-05-06-the-heron.md").write_text("another heron")
    with ThreadPoolExecutor(2) as pool:
        both_looked = Barrier(2)

        def look(*_: object) -> str:
            both_looked.wait(10)
            return ""

        monkeypatch.setattr(releasing, "_released", look)
        paths = list(pool.map(lambda _: release(tmp_path, post(), TODAY), range(2)))
    assert paths == ["_posts/2024-05-06-the-heron-2.md"] * 2
    assert len(list(tmp_path.rglob("*.md"))) == 2


@pytest.mark.parametrize("form", ["_posts/{slug}.md", "_posts/{slug}/index.md"])
def test_a_post_that_is_taken_back_leaves_nothing(tmp_path: Path, form: str) -> None:
    (tmp_path / "_posts").mkdir()
    take_back(tmp_path, release(tmp_path, post(path=form), TODAY))
    assert [path.name for path in tmp_path.rglob("*")] == ["_posts"]


def test_another_post_of_that_name_takes_nothings_place(tmp_path: Path) -> None:
    paths = [release(tmp_path, post(number), TODAY) for number in (1, 2, 3)]
    assert paths == [f"_posts/2024-05-06-the-heron{end}.md" for end in ("", "-2", "-3")]
    folders = [release(tmp_path, post(number, "content/{slug}/index.md"), TODAY) for number in (4, 5)]
    assert folders == ["content/the-heron/index.md", "content/the-heron-2/index.md"]


def test_a_folder_that_is_the_blogs_own_folder_of_posts_holds_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "blog" / "_posts"
    folder.mkdir(parents=True)
    assert release(folder, post(), TODAY) == "2024-05-06-the-heron.md"
    deep = tmp_path / "site" / "content" / "posts"
    deep.mkdir(parents=True)
    assert release(deep, post(2, "content/posts/%Y/{slug}.md"), TODAY) == "2024/the-heron.md"


def test_a_path_that_leads_out_of_the_folder_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "blog"
    folder.mkdir()
    for number, path in enumerate(("../../{slug}.md", "/etc/{slug}.md", "a/../../{slug}.md"), start=1):
        there = (folder / release(folder, post(number, path), TODAY)).resolve()
        assert there.is_relative_to(folder.resolve())


def test_a_long_title_in_any_script_fits_into_a_files_name(tmp_path: Path) -> None:
    numbers = count(1)
    for title in ("漢字" * 100, "𠮷" * 100, "долгий путь домой " * 20):
        for form in ("{slug}.markdown", "{slug}.markdown", "{slug}/index.md"):
            long = post(next(numbers), f"%Y-%m-%d-{form}")
            long.response.title = title
            assert (tmp_path / release(tmp_path, long, TODAY)).is_file()


def test_a_half_written_file_of_a_process_that_was_killed_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = tmp_path / "_posts"
    folder.mkdir()
    (folder / f".2024-05-06-the-heron.md.{os.getpid()}.partial").write_text("---")
    assert release(tmp_path, post(), TODAY) == "_posts/2024-05-06-the-heron.md"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links_takes_posts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(releasing.os, "link", link)
    paths = [release(tmp_path, post(which), TODAY) for which in (1, 2)]
    assert paths == ["_posts/2024-05-06-the-heron.md", "_posts/2024-05-06-the-heron-2.md"]
    assert all(post(which).uuid in (tmp_path / path).read_text() for which, path in enumerate(paths, start=1))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2


def test_the_next_free_day_is_one_that_no_post_has(tmp_path: Path) -> None:
    assert free_day(tmp_path, TODAY) == TODAY
    (tmp_path / "2024-05-06-a.md").write_text("x")
    (tmp_path / "b.md").write_text("---\ntitle: 2024-05-08\ndate: 2024-05-07 10:00\n---\n")
    (tmp_path / "2024-05-05-old.md").write_text("x")
    (tmp_path / "2024-05-08.png").write_text("no post")
    assert free_day(tmp_path, TODAY) == Date(2024, 5, 8)
    release(tmp_path, post(path="{slug}.md", format_=TOML), Date(2024, 5, 8))
    assert free_day(tmp_path, TODAY) == Date(2024, 5, 9)


@pytest.mark.parametrize("form", DATE_FORMS)
def test_a_day_is_taken_in_whatever_form_the_blog_writes_it(tmp_path: Path, form: str) -> None:
    ours = post(path="{slug}.md")
    ours.response.style.fields[1].form = f"{form} 08:00"
    release(tmp_path, ours, TODAY)
    assert free_day(tmp_path, TODAY) == Date(2024, 5, 7)


def test_a_day_is_taken_by_the_whole_number_with_or_without_a_nought(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\npublish_date: May 6, 2024\n---\n")
    (tmp_path / "b.md").write_text("---\ndate: 17 May 2024\n---\n")
    assert free_day(tmp_path, TODAY) == free_day(tmp_path, Date(2024, 5, 7)) == Date(2024, 5, 7)


def test_where_it_cannot_be_written_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is no folder"):
        free_day(tmp_path / "none", TODAY)
    with pytest.raises(NotFound, match="is no folder"):
        release(tmp_path / "none", post(), TODAY)
    (tmp_path / "_posts").write_text("a file")
    with pytest.raises(NonesuchError, match="cannot write"):
        release(tmp_path, post(), TODAY)
    assert (tmp_path / "_posts").read_text() == "a file"

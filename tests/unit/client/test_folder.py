from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.client.folder import MAX_POST_BYTES, find_posts
from services.common.errors import InvalidRequest, NotFound
from services.corpus.imports import check_path


def paths(findings):
    return [post.path for post in findings.posts]


def reasons(findings):
    return {entry.path: entry.code for entry in findings.left_out}


def test_posts_are_found_below_the_folder_in_order_of_path(tmp_path):
    for name in ("z.md", "a/b.MARKDOWN", "a/a.html", "c.txt", "a-b.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")

    found = find_posts([tmp_path])

    assert paths(found) == sorted(["z.md", "a/b.MARKDOWN", "a/a.html", "c.txt", "a-b.md"])
    assert found.posts[0].size_bytes == 1


def test_hidden_files_and_folders_are_ignored_without_a_word(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "readme.md").write_text("x")
    (tmp_path / ".draft.md").write_text("x")

    found = find_posts([tmp_path])

    assert not found.posts and not found.left_out


def test_files_of_another_kind_are_left_out(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")

    assert reasons(find_posts([tmp_path])) == {"a.png": "UNKNOWN_KIND"}


def test_links_that_leave_the_folder_are_left_out_and_others_are_followed(tmp_path):
    (tmp_path / "outside.md").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    blog = tmp_path / "blog"
    (blog / "sub").mkdir(parents=True)
    (blog / "real.md").write_text("x")
    (blog / "inside.md").symlink_to(blog / "real.md")
    (blog / "leaves.md").symlink_to(tmp_path / "outside.md")
    (blog / "folder").symlink_to(tmp_path / "elsewhere")
    (blog / "round").symlink_to(blog)
    (blog / "broken.md").symlink_to(blog / "gone.md")
    (blog / "self.md").symlink_to(blog / "self.md")

    found = find_posts([blog])

    assert paths(found) == ["inside.md", "real.md"]
    assert reasons(found) == {
        "leaves.md": "LINK_OUTSIDE",
        "folder": "LINK_OUTSIDE",
        "broken.md": "UNREADABLE",
        "self.md": "UNREADABLE",
    }


def test_a_folder_may_itself_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.md").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert paths(find_posts([tmp_path / "link"])) == ["a.md"]


def test_what_is_too_large_or_no_regular_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.md")
    with (tmp_path / "large.md").open("wb") as file:
        file.truncate(MAX_POST_BYTES + 1)
    with (tmp_path / "fits.md").open("wb") as file:
        file.truncate(MAX_POST_BYTES)

    found = find_posts([tmp_path])

    assert paths(found) == ["fits.md"]
    assert reasons(found) == {"pipe.md": "UNREADABLE", "large.md": "TOO_LARGE"}
    assert "8.0 MiB, and a post may have 8 MiB" in found.left_out[0].message


def test_a_name_that_is_not_utf8_is_left_out(tmp_path):
    name = os.fsdecode(b"caf\xe9.md")
    (tmp_path / name).write_text("x")
    (tmp_path / "blog").mkdir()
    (tmp_path / "blog" / "link.md").symlink_to(tmp_path / name)

    assert reasons(find_posts([tmp_path]))["caf\ufffd.md"] == "UNREADABLE"
    linked = find_posts([tmp_path / "blog"]).left_out[0]
    assert linked.code == "LINK_OUTSIDE"
    assert linked.message.encode()


def test_a_single_post_goes_by_its_name_and_may_be_a_link(tmp_path):
    (tmp_path / "a.md").write_text("x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "link.md").symlink_to(tmp_path / "a.md")

    found = find_posts([tmp_path / "a.md", tmp_path / "sub" / "link.md"])

    assert paths(found) == ["a.md", "link.md"]


def test_the_same_file_twice_is_one_post(tmp_path):
    (tmp_path / "a.md").write_text("x")

    assert paths(find_posts([tmp_path, tmp_path])) == ["a.md"]
    assert paths(find_posts([tmp_path, tmp_path / "a.md"])) == ["a.md"]


def test_two_files_that_would_be_one_post_are_refused(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.md").write_text(name)

    with pytest.raises(InvalidRequest, match=r"both be the post 'index\.md'"):
        find_posts([tmp_path / "one", tmp_path / "two"])


def test_a_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(NotFound, match="nowhere does not exist"):
        find_posts([tmp_path / "nowhere"])


def test_names_that_no_post_can_have_are_left_out_and_told_apart(tmp_path):
    for name in (b"a\\b.md", b"a\nb.md", b"a\xff.md", b"a\xfe.md"):
        (tmp_path / os.fsdecode(name)).write_text("x")
    deep = tmp_path.joinpath(*["d" * 200] * 5)
    deep.mkdir(parents=True)
    (deep / "long.md").write_text("x")
    (tmp_path / "good.md").write_text("x")

    found = find_posts([tmp_path])

    assert paths(found) == ["good.md"]
    assert {"a\ufffdb.md", "a\ufffdb.md (2)", "a\ufffd.md", "a\ufffd.md (2)"} < set(reasons(found))
    assert len(found.left_out) == len(reasons(found)) == 5
    for entry in found.left_out:
        check_path(entry.path)


def test_two_folders_may_leave_out_files_of_the_same_name(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cover.png").write_bytes(b"x")
    (tmp_path / "one" / "a.md").write_text("x")
    with (tmp_path / "two" / "a.md").open("wb") as file:
        file.truncate(MAX_POST_BYTES + 1)

    found = find_posts([tmp_path / "one", tmp_path / "two", tmp_path / "two"])

    assert paths(found) == ["a.md"]
    assert reasons(found) == {"cover.png": "UNKNOWN_KIND", "cover.png (2)": "UNKNOWN_KIND", "a.md (2)": "TOO_LARGE"}


def test_a_post_given_by_a_relative_path_is_the_one_in_its_folder(tmp_path, monkeypatch):
    (tmp_path / "a.md").write_text("x")
    monkeypatch.chdir(tmp_path)

    assert paths(find_posts([Path(), Path("a.md")])) == ["a.md"]


def test_a_folder_that_cannot_be_read_is_told_and_not_passed_over(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "open.md").write_text("x")
    scandir = os.scandir

    def refuse(folder):  # root may read everything, so permissions alone would test nothing
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)

    found = find_posts([tmp_path])

    assert paths(found) == ["open.md"]
    assert reasons(found) == {"closed": "UNREADABLE"}
    with pytest.raises(NotFound, match="closed cannot be read"):
        find_posts([tmp_path / "closed"])


def test_a_path_that_cannot_be_reached_is_named(tmp_path, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)

    with pytest.raises(NotFound, match=r"private cannot be read \(Permission denied\)"):
        find_posts([tmp_path / "private"])


def test_archives_and_exports_are_found_and_other_json_is_left_out(tmp_path):
    for name, content in {
        "old.zip": b"PK",
        "Blog.TAR.GZ": b"",
        "ghost.json": b'{"db": [{"data": {"posts": []}}]}',
        "wp.xml": b'<rss xmlns:wp="http://wordpress.org/export/1.2/">',
        "package.json": b'{"name": "blog"}',
        "sitemap.xml": b"<urlset/>",
        "a.gz": b"",
        "article.rst": b"x",
    }.items():
        (tmp_path / name).write_bytes(content)

    found = find_posts([tmp_path])

    assert paths(found) == ["Blog.TAR.GZ", "article.rst", "ghost.json", "old.zip", "wp.xml"]
    assert [post.path for post in found.posts if not post.is_bundle] == ["article.rst"]
    assert reasons(found) == {name: "UNKNOWN_KIND" for name in ("a.gz", "package.json", "sitemap.xml")}
    assert paths(find_posts([tmp_path / "package.json"])) == ["package.json"]


def test_an_archive_may_be_larger_than_a_post(tmp_path):
    for name in ("large.zip", "large.md"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(MAX_POST_BYTES + 1)

    assert paths(find_posts([tmp_path])) == ["large.zip"]


def test_the_service_knows_the_same_kinds():
    from services.client import folder
    from services.corpus import kinds

    assert set(folder.POST_SUFFIXES) == kinds.POSTS
    assert (folder.ARCHIVE_SUFFIXES, folder.EXPORT_SUFFIXES) == (kinds.ARCHIVES, kinds.EXPORTS)

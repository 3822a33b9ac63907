"""Archives and exports opened by the process that may be killed."""

from __future__ import annotations

import io
import json
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from services.corpus.opening.opener import Found, OpeningLimits, opened
from services.corpus.reasons import Code, Reason

LIMITS = OpeningLimits(
    max_posts=100, max_bytes=30 << 20, max_post_bytes=1 << 20, max_archive_bytes=20 << 20, processor_seconds=20.0
)


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def open_all(tmp_path: Path, path: str, content: bytes, limits: OpeningLimits = LIMITS) -> list[Found] | Reason:
    file = tmp_path / "bundle"
    file.write_bytes(content)
    with file.open("rb+") as bundle, opened(bundle, path, limits, tmp_path) as found:
        result = found if isinstance(found, Reason) else list(found)
    assert list(tmp_path.iterdir()) == [file]
    return result


def by_path(found: list[Found] | Reason) -> dict[str, bytes | Code]:
    assert isinstance(found, list), found
    assert len({entry.path for entry in found}) == len(found)
    return {entry.path: entry.content if entry.left_out is None else entry.left_out.code for entry in found}


def test_the_folder_that_all_members_share_is_no_part_of_their_paths(tmp_path: Path):
    shared = {
        "blog-main/a.md": b"one",
        "blog-main/2019/b.md": b"two",
        "blog-main/logo.png": b"x",
        "blog-main/.git/c.md": b"",
    }

    assert by_path(open_all(tmp_path, "x/blog.zip", zipped(**shared))) == {
        "x/blog.zip/a.md": b"one",
        "x/blog.zip/2019/b.md": b"two",
        "x/blog.zip/logo.png": Code.UNKNOWN_KIND,
    }
    assert "x/blog.zip/blog-main/a.md" in by_path(open_all(tmp_path, "x/blog.zip", zipped(**shared, **{"b.md": b"x"})))
    assert list(by_path(open_all(tmp_path, "d.zip", zipped(**{"_drafts/a.md": b"x"})))) == ["d.zip/_drafts/a.md"]


def test_what_is_refused_has_a_path_of_its_own(tmp_path: Path):
    found = by_path(
        open_all(
            tmp_path,
            "a.zip",
            zipped(
                **{
                    "/etc/passwd.md": b"x",
                    "../etc/passwd.md": b"x",
                    "etc/passwd.md": b"fine",
                    "inner.zip": zipped(**{"a.md": b"x"}),
                    "large.md": b"x" * (2 << 20),
                    "deep/" * 240 + "a.md": b"x",
                }
            ),
        )
    )

    assert found.pop("a.zip/etc/passwd.md") == b"fine"
    assert found.pop("a.zip/inner.zip") is Code.BAD_MEMBER
    assert found.pop("a.zip/large.md") is Code.TOO_LARGE
    assert set(found.values()) == {Code.BAD_MEMBER} and len(found) == 3
    assert {"a.zip/etc/passwd.md (refused)", "a.zip/(parent)/etc/passwd.md (refused)"} < set(found)


def test_exports_in_an_archive_are_opened_and_other_json_is_told(tmp_path: Path):
    export = json.dumps({"posts": [{"title": "T", "slug": "t", "html": "<p>x</p>", "published_at": "2019-01-02"}]})
    cut_off = json.dumps([{"title": str(number), "content": "x" * 1000} for number in range(90)])[:-300]
    members = {"site/ghost.json": export.encode(), "package.json": b"{}", "cut.json": cut_off.encode(), "a.md": b"x"}

    found = by_path(open_all(tmp_path, "all.zip", zipped(**members)))

    assert found.pop("all.zip/site/ghost.json/2019-01-02-t.html").endswith(b"---\n\n<p>x</p>\n")
    assert found == {
        "all.zip/package.json": Code.UNKNOWN_KIND,
        "all.zip/cut.json": Code.BAD_ARCHIVE,
        "all.zip/a.md": b"x",
    }


@pytest.mark.parametrize(
    ("path", "content", "code", "words"),
    [
        ("a.zip", b"no zip", Code.BAD_ARCHIVE, "not a zip file"),
        ("a.zip", zipped(), Code.EMPTY, "no post in it"),
        ("a.zip", zipped(**{f"{n}.md": b"" for n in range(101)}), Code.BAD_ARCHIVE, "more than 100 files"),
        ("a.json", json.dumps([{"title": "", "content": "x"}] * 101).encode(), Code.BAD_ARCHIVE, "more than 100 posts"),
        ("a.json", b"{}", Code.UNKNOWN_KIND, "Ghost export"),
        ("a.json", b"[" * 1_000_000, Code.BAD_ARCHIVE, ""),
        ("a.xml", b"<x>", Code.UNKNOWN_KIND, "WordPress export"),
    ],
)
def test_a_bad_bundle_is_refused_whole_with_a_reason(tmp_path: Path, path: str, content: bytes, code: Code, words: str):
    reason = open_all(tmp_path, path, content)

    assert isinstance(reason, Reason)
    assert reason.code is code and words in reason.message


def test_nothing_of_an_archive_that_turns_out_to_be_cut_off_is_taken(tmp_path: Path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for number in range(50):
            info = tarfile.TarInfo(f"{number}.md")
            info.size = 5000
            archive.addfile(info, io.BytesIO(bytes(range(250)) * 20))

    reason = open_all(tmp_path, "a.tgz", buffer.getvalue()[:-20])

    assert isinstance(reason, Reason) and reason.code is Code.BAD_ARCHIVE


def test_opening_that_takes_too_long_is_killed(tmp_path: Path):
    impatient = OpeningLimits(100, 1 << 30, 1 << 20, 1 << 30, processor_seconds=0.1)

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2") as archive:
        info = tarfile.TarInfo("a.png")
        info.size = 12 << 20
        archive.addfile(info, io.BytesIO(random.Random(1).randbytes(6 << 20).hex().encode()))
    reason = open_all(tmp_path, "a.tar.bz2", buffer.getvalue(), impatient)

    assert isinstance(reason, Reason) and "0.1 s of processor time" in reason.message


def test_an_element_of_many_megabytes_in_xml_ends_with_a_reason(tmp_path: Path):
    head = b"<rss><channel><item><wp:post_type>post</wp:post_type><title a='"

    reason = open_all(tmp_path, "a.xml", head + b"x" * (50 << 20))

    assert isinstance(reason, Reason) and reason.code is Code.BAD_ARCHIVE

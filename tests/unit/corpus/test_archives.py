"""Archives, most of them made by somebody who means harm."""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable

import pytest

from services.corpus.imports import check_path
from services.corpus.opening.archives import BadMember, Limits, danger, read_members, shown
from services.corpus.reasons import Code, LeftOut, Reason

TARS = ("w", "w:gz", "w:bz2", "w:xz")


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # duplicates are meant
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(*members: tuple[str, bytes, dict], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as archive:
        for name, content, values in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in values.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def read(content: bytes, name: str, files: int = 1000, total_bytes: int = 100 << 20) -> dict[str, bytes | str]:
    """Content by path, or in words why there is none."""
    found: dict[str, bytes | str] = {}
    for member in read_members(io.BytesIO(content), name, Limits(files, total_bytes)):
        key = member.path if member.path not in found else f"{member.path} again"
        if member.content is None:
            assert member.refused.code is Code.BAD_MEMBER
            found[key] = member.refused.message
            continue
        try:
            pieces = []
            while piece := member.content.read(1 << 16):
                pieces.append(piece)
            found[key] = b"".join(pieces)
        except BadMember as error:
            found[key] = str(error)
    return found


def refusal(content: bytes, name: str, **limits: int) -> Reason:
    with pytest.raises(LeftOut) as caught:
        read(content, name, **limits)
    assert caught.value.reason.code is Code.BAD_ARCHIVE
    return caught.value.reason


@pytest.mark.parametrize("mode", TARS)
def test_a_tar_gives_its_posts_and_refuses_what_leaves_it(mode: str):
    content = tarred(
        ("./blog/a.md", b"one", {}),
        ("blog", b"", {"type": tarfile.DIRTYPE}),
        ("../slip.md", b"x", {}),
        ("blog/../../slip.md", b"x", {}),
        ("/etc/cron.d/x.md", b"x", {}),
        ("C:/x.md", b"x", {}),
        ("a\\b.md", b"x", {}),
        ("link.md", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("hard.md", b"", {"type": tarfile.LNKTYPE, "linkname": "../../etc/passwd"}),
        ("null.md", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
        ("disk.md", b"", {"type": tarfile.BLKTYPE}),
        ("pipe.md", b"", {"type": tarfile.FIFOTYPE}),
        ("blog/a.md", b"two", {}),
        (".git/config.md", b"x", {}),
        ("Grüße/日本語.md", b"three", {}),
        ("long/" + "n" * 300 + ".md", b"four", {}),
        mode=mode,
    )

    assert read(content, "blog.tar.gz") == {
        "blog/a.md": b"one",
        "../slip.md": "its path leaves the archive",
        "blog/../../slip.md": "its path leaves the archive",
        "/etc/cron.d/x.md": "its path is absolute",
        "C:/x.md": "its path is absolute",
        "a\\b.md": "its path holds a backslash",
        "link.md": "it is a link",
        "hard.md": "it is a link",
        "null.md": "it is a device or another special file",
        "disk.md": "it is a device or another special file",
        "pipe.md": "it is a device or another special file",
        "blog/a.md again": "another file before it has the same path",
        "Grüße/日本語.md": b"three",
        "long/" + "n" * 300 + ".md": b"four",
    }


def test_a_zip_gives_its_posts_and_refuses_what_leaves_it():
    link = zipfile.ZipInfo("link.md")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    pipe = zipfile.ZipInfo("pipe.md")
    pipe.external_attr = (stat.S_IFIFO | 0o777) << 16
    content = zipped(
        ("blog/a.md", b"one"),
        ("blog/", b""),
        ("../slip.md", b"x"),
        ("/abs.md", b"x"),
        ("c:\\x.md", b"x"),
        (link, b"/etc/passwd"),
        (pipe, b""),
        ("./blog//a.md", b"two"),
        ("blog/a.md", b"three"),
        ("__MACOSX/blog/._a.md", b"x"),
        ("blog/.draft.md", b"x"),
        ("Grüße.md", b"four"),
    )

    assert read(content, "blog.ZIP") == {
        "blog/a.md": b"one",
        "../slip.md": "its path leaves the archive",
        "/abs.md": "its path is absolute",
        "c:\\x.md": "its path holds a backslash",
        "link.md": "it is a link",
        "pipe.md": "it is a device or another special file",
        "./blog//a.md": "another file before it has the same path",
        "blog/a.md again": "another file before it has the same path",
        "Grüße.md": b"four",
    }


def test_names_in_utf8_that_do_not_say_so_are_read_as_they_were_meant():
    content = zipped(("Grüße.md", b"x")).replace(struct.pack("<H", 0x800), struct.pack("<H", 0))

    assert read(content, "a.zip") == {"Grüße.md": b"x"}


def test_an_encrypted_member_and_an_unknown_compression_are_refused_and_the_rest_goes_on():
    content = bytearray(zipped(("a.md", b"one"), ("b.md", b"two"), ("c.md", b"three")))
    directory = content.find(b"PK\x01\x02")
    content[directory + 8] |= 1  # encrypted
    directory = content.find(b"PK\x01\x02", directory + 4)
    content[directory + 10] = 99  # AES, to zipfile an unknown compression

    found = read(bytes(content), "a.zip")

    assert found["a.md"] == "it is encrypted"
    assert found["b.md"].startswith("it cannot be read: ")
    assert found["c.md"] == b"three"


def test_a_wrong_checksum_refuses_one_member_of_a_zip():
    content = bytearray(zipped(("a.md", b"one" * 100), ("b.md", b"two"), compression=zipfile.ZIP_STORED))
    content[content.find(b"oneone") + 5] ^= 1

    found = read(bytes(content), "a.zip")

    assert found == {"a.md": "Bad CRC-32 for file 'a.md'", "b.md": b"two"}


def test_a_zip_behind_other_bytes_is_read():
    assert read(b"#!/bin/sh\n" * 100 + zipped(("a.md", b"one")), "a.zip") == {"a.md": b"one"}


@pytest.mark.parametrize("pack", [lambda content: zipped(("a.md", content)), *(
    lambda content, mode=mode: tarred(("a.md", content, {}), mode=mode) for mode in TARS[1:]
)])  # fmt: skip
def test_a_bomb_is_refused_by_its_ratio(pack: Callable[[bytes], bytes]):
    bomb = pack(bytes(40 << 20))

    assert len(bomb) < 100_000
    assert "more than 200 times as many" in refusal(bomb, "a.zip" if bomb[:2] == b"PK" else "a.tar").message


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_an_archive_that_unpacks_to_too_much_is_refused(name: str):
    parts = [(f"{index}.md", bytes(range(256)) * 400) for index in range(20)]
    content = zipped(*parts) if name == "a.zip" else tarred(*((*part, {}) for part in parts))

    assert "more than 1,000,000 bytes" in refusal(content, name, total_bytes=1_000_000).message


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_an_archive_of_too_many_files_is_refused(name: str):
    parts = [(f"{index}.md", b"") for index in range(101)]
    content = zipped(*parts) if name == "a.zip" else tarred(*((*part, {}) for part in parts))

    assert "more than 100 files" in refusal(content, name, files=100).message
    assert len(read(content, name, files=101)) == 101


def test_many_names_for_the_same_bytes_are_no_way_around_the_limits():
    """Members that overlap, as in zips of 10 MB that unpack to petabytes."""
    content = zipped(("a.md", bytes(range(256)) * 4000))
    start = content.find(b"PK\x01\x02")
    end = content.find(b"PK\x05\x06")
    entry, tail = content[start:end], bytearray(content[end:])
    directory = b"".join(entry.replace(b"a.md", f"{index:04}".encode()) for index in range(1000))
    tail[8:12] = struct.pack("<HH", 1000, 1000)
    tail[12:16] = struct.pack("<I", len(directory))
    crafted = content[:start] + directory + bytes(tail)

    try:
        found = read(crafted, "a.zip", total_bytes=3_000_000)
    except LeftOut as error:
        assert error.reason.code is Code.BAD_ARCHIVE
    else:
        assert sum(len(part) for part in found.values() if isinstance(part, bytes)) <= 3_000_000


def test_a_member_that_claims_less_than_it_holds_gives_no_more_than_it_claims():
    content = bytearray(zipped(("a.md", b"x" * 5_000_000)))
    start = content.find(b"PK\x01\x02")
    content[start + 24 : start + 28] = struct.pack("<I", 10)

    assert "CRC" in read(bytes(content), "a.zip")["a.md"]


def test_a_size_claimed_in_zip64_is_no_more_than_a_claim():
    info = zipfile.ZipInfo("a.md")
    content = bytearray(zipped((info, b"one")))
    start = content.find(b"PK\x01\x02")
    content[start + 24 : start + 28] = b"\xff\xff\xff\xff"
    extra = struct.pack("<HHQ", 1, 8, 1 << 60)
    content[start + 30 : start + 32] = struct.pack("<H", len(extra))
    at = start + 46 + 4
    crafted = bytes(content[:at]) + extra + bytes(content[at:])
    end = crafted.find(b"PK\x05\x06")
    size = struct.unpack("<I", crafted[end + 12 : end + 16])[0] + len(extra)
    crafted = crafted[: end + 12] + struct.pack("<I", size) + crafted[end + 16 :]

    members = list(read_members(io.BytesIO(crafted), "a.zip", Limits(10, 1000)))
    assert members[0].size_bytes == 1 << 60
    assert "a.md" in read(crafted, "a.zip", total_bytes=1000)


@pytest.mark.parametrize("mode", TARS)
def test_a_tar_that_is_cut_off_is_refused(mode: str):
    content = tarred(*((f"{index}.md", bytes(range(256)) * 30, {}) for index in range(20)), mode=mode)

    assert "cut off" in refusal(content[: len(content) // 2 + 100], "a.tar").message


def test_a_zip_that_is_cut_off_is_refused():
    content = zipped(*((f"{index}.md", b"x" * 1000) for index in range(20)))

    assert "not a zip file" in refusal(content[:-10], "a.zip").message


def test_a_damaged_header_in_the_middle_of_a_tar_is_not_taken_for_its_end():
    content = bytearray(tarred(("a.md", b"one", {}), ("b.md", b"two", {})))
    content[content.find(b"b.md")] = ord("c")

    assert "bad checksum" in refusal(bytes(content), "a.tar").message


def test_a_sparse_file_is_refused():
    """One in GNU's format that claims a terabyte of zeros."""
    info = tarfile.TarInfo("a.md")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")  # the real size
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()

    assert read(bytes(header) + bytes(1024), "a.tar") == {"a.md": "it is a sparse file"}


def test_a_header_that_claims_gigabytes_for_a_name_is_refused():
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 1 << 33

    assert refusal(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096), "a.tar").code is Code.BAD_ARCHIVE


def test_headers_that_nest_without_end_are_refused():
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 5
    header = info.tobuf(tarfile.GNU_FORMAT) + b"a.md\0".ljust(512, b"\0")

    assert refusal(header * 5000, "a.tar").code is Code.BAD_ARCHIVE


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04" + b"x" * 500, b"\x1f\x8b" + b"x" * 500, b"BZh9xxxxxxxx"]
)
def test_what_is_no_archive_is_refused(name: str, content: bytes):
    assert refusal(content, name).message.startswith("it is damaged or cut off: ")


def test_every_byte_of_a_zip_and_a_tar_may_be_wrong():
    """Whatever is changed, the posts come whole or a reason does."""
    parts = [("a/b.md", b"one" * 50), ("c.md", b"two")]
    for name, content in (
        ("a.zip", zipped(*parts)),
        ("a.tar.gz", tarred(*((*part, {}) for part in parts), mode="w:gz")),
    ):
        for index in range(len(content)):
            for flip in (0x01, 0x80, 0xFF):
                broken = bytearray(content)
                broken[index] ^= flip
                try:
                    found = read(bytes(broken), name, total_bytes=1 << 20)
                except LeftOut as error:
                    assert error.reason.message
                else:
                    assert all(isinstance(value, (bytes, str)) for value in found.values())


@pytest.mark.parametrize(
    "path", ["../a", "/a/b", "a\\b", "c:/x", "a\nb", "\udcff.md", "..", "", "x" * 5000, "a/./b", "//x"]
)
def test_what_is_shown_of_a_path_can_stand_in_a_report(path: str):
    check_path(f"blog.zip/{shown(path)}")


@pytest.mark.parametrize("path", ["a/b.md", "a..b/c...md", "Größe.md", "a/b c (1).md", "c.md:x"])
def test_harmless_paths_are_no_danger(path: str):
    assert danger(path) is None

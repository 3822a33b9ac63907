"""Archives: zip and tar files read member by member; nothing is ever written to a member's path.

In: an open file whose content nobody vouches for. Out: its members with their content as streams, or why a member is
refused. Absolute and parent paths, links, devices, sparse and encrypted members and duplicates are refused one by one;
an archive that is broken or beyond a limit is refused whole. What a member holds is another module's business.

Formats: APPNOTE.TXT 6.3.10 (zip) and POSIX.1-2001 pax (tar), as Python's zipfile and tarfile read them.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Self, cast

from services.corpus.reasons import Code, LeftOut, Reason

MAX_RATIO = 200  # of unpacked to packed bytes; a blog reaches 5, a tar of tiny equal posts 40
RATIO_FROM_BYTES = 8 << 20  # less than this is no bomb, however well it packs

_DRIVE = re.compile(r"^[A-Za-z]:")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
# What the standard library raises about archives that somebody made by hand.
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,  # UnicodeError included
    RuntimeError,  # a password is wanted
    NotImplementedError,  # an unknown compression
    OverflowError,
    LookupError,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold.

    Args:
        files: in it, those that are no posts included; folders and hidden files are not counted.
        total_bytes: that come out of unpacking.
    """

    files: int
    total_bytes: int


class BadMember(Exception):
    """A member turned out to be damaged while it was read; the others may be whole."""


class Content:
    """The bytes of a member, to be read before the next member is asked for.

    Raises:
        BadMember: while reading: it is damaged.
        LeftOut: while reading: BAD_ARCHIVE, the archive is beyond its limits, or damaged from here on.
    """

    def __init__(self, stream: IO[bytes], seen: _Seen, *, is_tar: bool) -> None:
        self._stream = stream
        self._seen = seen
        self._is_tar = is_tar

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        try:
            piece = self._stream.read(size)
        except _BROKEN as error:
            if self._is_tar:  # what comes behind cannot be found
                raise _damaged(error) from None
            raise BadMember(_words(error)) from None
        if not self._is_tar:
            self._seen.unpacked(len(piece))
        return piece


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Args:
        path: as in the archive, `/` between parts; where it is not refused, it is safe as a post's path.
        size_bytes: as the archive says; the content never has more.
        modified_at: seconds since 1970; None if unknown.
        content: its bytes; None if it is refused.
        refused: why it must not be read.
    """

    path: str
    size_bytes: int
    modified_at: float | None
    content: Content | None
    refused: Reason | None = None


def read_members(file: IO[bytes], name: str, limits: Limits) -> Iterator[Member]:
    """Yield the members of an archive, folders and hidden files apart.

    Args:
        file: seekable.
        name: of the archive; says whether it is a zip or a tar. What a tar is packed with is seen from its bytes.

    Raises:
        LeftOut: BAD_ARCHIVE: it is broken, or beyond the limits.
    """
    try:
        seen = _Seen(limits, file.seek(0, io.SEEK_END))
        file.seek(0)
        yield from _read_zip(file, seen) if name.lower().endswith(".zip") else _read_tar(file, seen)
    except _BROKEN as error:
        raise _damaged(error) from None
    except RecursionError:
        raise LeftOut(Code.BAD_ARCHIVE, "its headers are nested too deeply") from None
    except MemoryError:
        raise LeftOut(Code.BAD_ARCHIVE, "reading it takes more memory than an archive may have") from None


def danger(path: str) -> str | None:
    """What is wrong with a member's path, in words; None if it is harmless."""
    if any("\ud800" <= character <= "\udfff" for character in path):
        return "its path is not UTF-8"
    if _CONTROLS.search(path):
        return "its path holds a control character"
    if "\\" in path:
        return "its path holds a backslash"
    if path.startswith("/") or _DRIVE.match(path):
        return "its path is absolute"
    if ".." in path.split("/"):
        return "its path leaves the archive"
    return None


def shown(path: str) -> str:
    """A path that can stand in a report, whatever the member calls itself."""
    text = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", path.encode(errors="replace").decode())
    parts = ["(parent)" if part == ".." else part for part in _parts(text.replace("\\", "/"))]
    return "/".join(parts)[:800] or "(no name)"


def is_hidden(path: str) -> bool:
    """Whether a file is one that is ignored in folders too, or one that macOS adds to archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in _parts(path))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


class _Seen:
    """What came so far: how much, and under which paths."""

    def __init__(self, limits: Limits, packed_bytes: int) -> None:
        self._limits = limits
        self._packed_bytes = packed_bytes
        self._paths: set[str] = set()
        self._num_files = 0
        self._total_bytes = 0

    def refusal(self, path: str, problem: str | None) -> str | None:
        """Count a file; what is wrong with it, in words, or None."""
        self._num_files += 1
        if self._num_files > self._limits.files:
            raise LeftOut(Code.BAD_ARCHIVE, f"it has more than {self._limits.files:,} files")
        problem = danger(path) or problem
        if problem is None and path in self._paths:
            return "another file before it has the same path"
        self._paths.add(path)
        return problem

    def unpacked(self, num_bytes: int) -> None:
        """Count bytes that came out of unpacking."""
        self._total_bytes += num_bytes
        if self._total_bytes > self._limits.total_bytes:
            raise LeftOut(Code.BAD_ARCHIVE, f"it unpacks to more than {self._limits.total_bytes:,} bytes")
        if self._total_bytes > max(RATIO_FROM_BYTES, MAX_RATIO * self._packed_bytes):
            message = (
                f"its {self._packed_bytes:,} bytes unpack to more than {MAX_RATIO} times as many; no posts do that"
            )
            raise LeftOut(Code.BAD_ARCHIVE, message)


def _read_zip(file: IO[bytes], seen: _Seen) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            path = _name_in_zip(info)
            if info.is_dir() or (is_hidden(path) and not danger(path)):
                continue
            problem = seen.refusal(path if danger(path) else "/".join(_parts(path)), _problem_in_zip(info))
            modified_at = _time_in_zip(info)
            if problem is None:
                try:
                    with archive.open(info) as stream:
                        content = Content(stream, seen, is_tar=False)
                        yield Member("/".join(_parts(path)), info.file_size, modified_at, content)
                    continue
                except _BROKEN as error:
                    problem = f"it cannot be read: {_words(error)}"
            yield Member(path, info.file_size, modified_at, None, Reason(Code.BAD_MEMBER, problem))


def _name_in_zip(info: zipfile.ZipInfo) -> str:
    """The name as it was meant: many programs write UTF-8 without saying so, and it is read as cp437."""
    name = info.orig_filename
    if info.flag_bits & 0x800 or name.isascii():
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _problem_in_zip(info: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "it is a link"
    if kind not in (0, stat.S_IFREG):
        return "it is a device or another special file"
    if info.flag_bits & 0x1:
        return "it is encrypted"
    return None


def _time_in_zip(info: zipfile.ZipInfo) -> float | None:
    try:
        return datetime(*info.date_time, tzinfo=UTC).timestamp()
    except ValueError:
        return None


class _Unpacking:
    """A tar's bytes as they come out of decompression, counted."""

    def __init__(self, stream: IO[bytes], seen: _Seen) -> None:
        self._stream = stream
        self._seen = seen

    def read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        self._seen.unpacked(len(piece))
        return piece


class _Header(tarfile.TarInfo):
    """A tar's header. tarfile takes a damaged one for the end of the archive; here it is an error."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)  # type: ignore[no-any-return]
        except (tarfile.EmptyHeaderError, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise LeftOut(Code.BAD_ARCHIVE, f"it is damaged or cut off: {error}") from None


def _read_tar(file: IO[bytes], seen: _Seen) -> Iterator[Member]:
    unpacking = _Unpacking(_decompressed(file), seen)
    stream = cast(IO[bytes], unpacking)  # all that tarfile asks of it is to be read
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header, encoding="utf-8") as archive:
        while (info := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
            path = info.name
            if info.isdir() or (is_hidden(path) and not danger(path)):
                continue
            problem = seen.refusal(path if danger(path) else "/".join(_parts(path)), _problem_in_tar(info))
            if problem is not None:
                yield Member(path, info.size, info.mtime, None, Reason(Code.BAD_MEMBER, problem))
                continue
            content = archive.extractfile(info)
            assert content is not None  # it is a regular file
            yield Member("/".join(_parts(path)), info.size, info.mtime, Content(content, seen, is_tar=True))


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(file)
    return file


def _problem_in_tar(info: tarfile.TarInfo) -> str | None:
    if info.islnk() or info.issym():
        return "it is a link"
    if info.issparse():
        return "it is a sparse file"
    if not info.isreg():
        return "it is a device or another special file"
    if info.size < 0:
        return "its size is below zero"
    return None


def _damaged(error: Exception) -> LeftOut:
    return LeftOut(Code.BAD_ARCHIVE, f"it is damaged or cut off: {_words(error)}")


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

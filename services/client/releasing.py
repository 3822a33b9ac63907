"""Releases generated posts into a blog's folder: the next free day, a file name and front matter in the blog's habit.

In: an approved post of the shelf, and the folder. Out: a file that was not there before. The file names the post's
UUID, so that a release that was cut off is finished, and not done twice.
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date as Date
from datetime import timedelta
from pathlib import Path, PurePosixPath

from google.protobuf import json_format

from protos import shelf_pb2
from services.blog.composing import Post, compose, path_of
from services.blog.style import DATE_FORMS, PLAIN, Style, is_named_by_folder, read_style
from services.client.folder import POST_SUFFIXES
from services.common.errors import Corrupt, NonesuchError, NotFound
from services.common.files import sync_folder

WRITTEN_BY, UUID = "generated_by", "generated_id"  # fields of front matter
FOLDER_AWAY = "FOLDER_AWAY"  # reason of what may pass: the folder is not there, cannot be read, or has no room
HEAD_BYTES = 8192  # of a file, in which its front matter stands
_LINKLESS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}  # of file systems without hard links: exFAT
_DATE_LINE = re.compile(
    r"""^\s*["']?(?:date|published|pubdate|publish_?date|created)\w*["']?\s*[:=](.*)$""", re.I | re.M
)


def free_day(folder: Path, first: Date) -> Date:
    """The first day from `first` on that no post of this blog has.

    Raises:
        NotFound: the folder is not there.
        NonesuchError: it cannot be read.
    """
    with _explained("read", folder):
        dated = "\n".join(text for path in _posts(folder) for text in _dated_texts(path, folder))
    day = first
    while _any_form(day).search(dated):
        day += timedelta(days=1)
    return day


def release(folder: Path, post: shelf_pb2.ShelfPost, day: Date) -> tuple[str, bool]:
    """Write a post into the folder, unless it is there already; return its path in it, and whether this wrote it.

    Raises:
        NotFound: the folder is not there.
        NonesuchError: it cannot be read, or written to.
    """
    with _explained("read", folder):
        there = _released(folder, post.uuid)
    if there:
        return there, False
    answer = post.response
    style = _style(answer.style)
    file = Post(answer.title, tuple(answer.tags), day.isoformat(), answer.body)
    written_by = f"Nonesuch {answer.model.name}@{answer.model.version}"
    text = compose(style, file, {WRITTEN_BY: written_by, UUID: post.uuid})
    for path in _names(_within(folder, path_of(style, file))):
        with _explained("write", folder / path):
            if _write_new(folder / path, text):
                return path, True
            if post.uuid in _head(folder / path):  # another process wrote it since: the command by hand and by clock
                return path, False
    raise AssertionError("names do not end")


def take_back(folder: Path, path: str) -> None:
    """Delete a post that this process released, with the folder that holds nothing else.

    Raises:
        NonesuchError: it cannot be deleted.
    """
    file = folder / path
    with _explained("delete", file):
        file.unlink(missing_ok=True)
    if is_named_by_folder(file.stem) and file.parent != folder:
        with suppress(OSError):  # pictures may have come to it
            file.parent.rmdir()


@contextmanager
def _explained(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"cannot {verb} {path}: {error.strerror or error}; mend that, or give another --into"
        raise NonesuchError(message, reason=FOLDER_AWAY) from error


def _style(message: object) -> Style:
    values = json_format.MessageToDict(message, preserving_proto_field_name=True)  # type: ignore[arg-type]
    if not values:
        return PLAIN
    try:
        return read_style(values)
    except ValueError as error:
        raise Corrupt(f"the post's style is damaged: {error}; have another written") from None


def _within(folder: Path, path: str) -> str:
    """The path below the folder: a folder that is the blog's `_posts` itself holds no other."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("..", ".", "/")]
    for size in range(len(parts) - 1, 0, -1):
        if folder.resolve().parts[-size:] == tuple(parts[:size]):
            return "/".join(parts[size:])
    return "/".join(parts)


def _names(path: str) -> Iterator[str]:
    """The path, then others for where it is taken: of a post in a folder of its own that folder's."""
    yield path
    *folders, name = path.split("/")
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    for number in range(2, 10_000):
        if folders and is_named_by_folder(stem):
            yield "/".join([*folders[:-1], f"{folders[-1]}-{number}", name])
        else:
            yield "/".join([*folders, f"{stem}-{number}{suffix}"])


def _write_new(path: Path, text: str) -> bool:
    """Write a file, which appears whole; return False where one is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        _fill(partial, text)
        try:
            os.link(partial, path)  # unlike a renaming, this replaces nothing
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _LINKLESS:
                raise
            return _write_in_place(path, text)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
    return True


def _write_in_place(path: Path, text: str) -> bool:
    """As `_write_new`, where a file cannot appear whole."""
    try:
        _fill(path, text)
    except FileExistsError:
        return False
    return True


def _fill(path: Path, text: str) -> None:
    """Write a file that is not there; of one that cannot be written whole nothing stays."""
    with path.open("x", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _released(folder: Path, identity: str) -> str:
    """The path of a post that is there already; "" where it is not."""
    for path in _posts(folder):
        if identity in _head(path):
            return path.relative_to(folder).as_posix()
    return ""


def _posts(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise NotFound(f"{folder} is no folder; give the blog's folder of posts", reason=FOLDER_AWAY)
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in POST_SUFFIXES and not hidden and path.is_file():
            yield path


def _dated_texts(path: Path, folder: Path) -> list[str]:
    """Where a post may name its day: its path, and lines of its front matter."""
    return [path.relative_to(folder).as_posix(), *_DATE_LINE.findall(_head(path))]


def _any_form(day: Date) -> re.Pattern[str]:
    """Matches a day in any of DATE_FORMS and with `_`, its numbers with noughts ahead or without."""
    texts = (re.escape(day.strftime(form)) for form in ("%Y_%m_%d", *DATE_FORMS))
    forms = "|".join(re.sub(r"(?<!\d)0", "0?", text) for text in texts)
    return re.compile(rf"(?<!\d)(?:{forms})(?!\d)")


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES).decode("utf-8", "replace")

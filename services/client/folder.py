"""A folder of posts on the caller's disk: which files are posts, and why the others are not.

In: paths of folders and files. Out: posts in order of path, and what was left out with the reason. Hidden files
and folders are ignored without a word. Nothing outside a given folder is ever read, and only regular files are opened.
Knows nothing of what a post means; the corpus service decides that.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from services.common.errors import InvalidRequest, NotFound

POST_SUFFIXES = (".md", ".markdown", ".mdown", ".mkd", ".mdx", ".txt", ".text", ".html", ".htm")
MAX_POST_BYTES = 8 << 20  # the corpus service's limit per post


@dataclass(frozen=True, slots=True)
class PostFile:
    """A file to send: its path relative to the folder with `/` between parts, where it lies, size, time of change."""

    path: str
    file: Path
    size_bytes: int
    modified_s: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file not to send. `code` is a name of ReasonCode without its prefix, such as TOO_LARGE."""

    path: str
    code: str
    message: str


@dataclass(slots=True)
class Findings:
    """What was found, both in order of path."""

    posts: list[PostFile] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def find_posts(paths: Iterable[Path]) -> Findings:
    """Find the posts in folders and files.

    A post's path is relative to the folder that was given; of a single file it is the file's name.

    Raises:
        NotFound: a path does not exist.
        InvalidRequest: two files would be the same post.
    """
    found = Findings()
    origins: dict[str, Path] = {}
    for given in paths:
        if given.is_dir():
            entries = _files_below(given.resolve())
        elif given.exists():
            entries = iter([(given.name, given)])
        else:
            raise NotFound(f"{given} does not exist; give a folder of posts, or posts")
        root = given.resolve() if given.is_dir() else given.resolve().parent
        for path, file in entries:
            entry = _examine(path, file, root, is_asked_for=file is given)
            if entry is None:
                continue
            if isinstance(entry, LeftOut):
                found.left_out.append(entry)
                continue
            other = origins.setdefault(entry.path, entry.file)
            if other != entry.file:
                raise InvalidRequest(
                    f"{other} and {entry.file} would both be the post {entry.path!r}; "
                    "give the one folder that holds both, or add them to two corpora",
                    field="path",
                )
            found.posts.append(entry)
    found.posts = sorted({post.path: post for post in found.posts}.values(), key=lambda post: post.path)
    found.left_out.sort(key=lambda entry: entry.path)
    return found


def _files_below(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file that is not hidden, and every link to a folder, with its path relative to `root`."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in [*files, *links]:
            if not name.startswith("."):
                file = Path(folder, name)
                yield file.relative_to(root).as_posix(), file


def _examine(path: str, file: Path, root: Path, *, is_asked_for: bool) -> PostFile | LeftOut | None:
    """Decide about one file. One that was asked for by name may be a link to anywhere.

    None: a link to a folder inside `root`, whose posts are found at their own place.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="replace")
        return LeftOut(shown, "UNREADABLE", "its name is not UTF-8; rename it")
    try:
        if file.is_symlink() and not is_asked_for and not file.resolve().is_relative_to(root):
            return LeftOut(path, "LINK_OUTSIDE", f"a link to {file.resolve()}, which is outside the folder")
        status = file.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        return LeftOut(path, "UNREADABLE", _words(error))
    if stat.S_ISDIR(status.st_mode):
        return None
    if file.suffix.lower() not in POST_SUFFIXES:
        return LeftOut(path, "UNKNOWN_KIND", f"not one of {' '.join(POST_SUFFIXES)}")
    if not stat.S_ISREG(status.st_mode):
        return LeftOut(path, "UNREADABLE", "not a regular file")
    if status.st_size > MAX_POST_BYTES:
        size = f"{status.st_size / (1 << 20):.1f} MiB"
        return LeftOut(path, "TOO_LARGE", f"{size}, and a post may have {MAX_POST_BYTES >> 20} MiB")
    if not os.access(file, os.R_OK):
        return LeftOut(path, "UNREADABLE", "permission denied")
    return PostFile(path, file, status.st_size, status.st_mtime)


def _words(error: BaseException) -> str:
    """An error of the operating system in its own words, without the path."""
    return getattr(error, "strerror", None) or str(error)

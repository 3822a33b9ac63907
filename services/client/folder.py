"""A folder of posts on the caller's disk: which files are posts, and why the others are not.

In: paths of folders and files. Out: posts in order of path, and what was left out with the reason. Hidden
files and folders are ignored without a word. Nothing outside a given folder is ever read, and only regular
files are opened. Knows nothing of what a post means; the corpus service decides that.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from services.common.errors import InvalidRequest, NotFound

POST_SUFFIXES = (".md", ".markdown", ".mdown", ".mkd", ".mdx", ".rst", ".rest", ".txt", ".text", ".html", ".htm")
# Files that hold many posts: the service opens them.
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
EXPORT_SUFFIXES = (".json", ".xml")  # of Ghost and WordPress
BUNDLE_SUFFIXES = (*ARCHIVE_SUFFIXES, *EXPORT_SUFFIXES)
MAX_POST_BYTES = 8 << 20  # the corpus service's limit per post
MAX_ARCHIVE_BYTES = 2 << 30  # and per archive or export
MAX_PATH_LENGTH = 1000  # and that of a post's path
_SHOWN_LENGTH = 900  # of a path that no post can have; room for a number
# In the first bytes of an export, and hardly in those of the other JSON and XML files that lie beside posts.
EXPORT_START_BYTES = 64 << 10
_EXPORT_MARKS = re.compile(
    rb'wordpress\.org/export/|"(?:posts|posts_tags|mobiledoc|lexical|rendered|html|markdown|content)"\s*:'
)
_NOT_IN_PATHS = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True)
class PostFile:
    """A file to send. `path` is relative to the folder, with `/` between parts; `file` is where it lies."""

    path: str
    file: Path
    size_bytes: int
    modified_s: float  # seconds since 1970

    @property
    def is_bundle(self) -> bool:
        """Whether it is an archive or an export, which may be too large for memory."""
        return _is_bundle(self.path)


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

    A post's path is relative to the folder that was given; of a single file it is the file's name. No two
    entries have the same path: of files left out, the second and further are numbered.

    Raises:
        NotFound: a path does not exist or cannot be reached.
        InvalidRequest: two files would be the same post.
    """
    found = Findings()
    origins: dict[str, Path] = {}
    left_out: dict[Path, LeftOut] = {}
    for given in paths:
        is_folder = _is_folder(given)
        # Its folder is resolved, the name is not: a single post may be a link to anywhere.
        root = given.resolve() if is_folder else given.parent.resolve()
        for path, file in _files_below(root) if is_folder else [(given.name, root / given.name)]:
            entry = _examine(path, file, root, is_asked_for=not is_folder)
            if entry is None:
                continue
            if isinstance(entry, LeftOut):
                left_out[file] = entry
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
    found.left_out = _apart(left_out.values(), {post.path for post in found.posts})
    return found


def _is_folder(given: Path) -> bool:
    """Whether a path leads to a folder and not to a file; NotFound if it leads nowhere."""
    try:
        return stat.S_ISDIR(given.stat().st_mode)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in it
        words = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({_words(error)})"
        raise NotFound(f"{given} {words}; give a folder of posts, or posts") from None


def _apart(left_out: Iterable[LeftOut], taken: set[str]) -> list[LeftOut]:
    """The entries in order of path, none with a path that another entry or a post has."""
    apart = []
    for entry in sorted(left_out, key=lambda entry: entry.path):
        path = next(path for number in count(1) if (path := _numbered(entry.path, number)) not in taken)
        taken.add(path)
        apart.append(replace(entry, path=path))
    return apart


def _numbered(path: str, number: int) -> str:
    return path if number == 1 else f"{path} ({number})"


def _files_below(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file that is not hidden, every link to a folder and every folder that cannot be read.

    Each comes with its path relative to `root`.
    """
    unreadable: list[Path] = []
    for folder, folders, files in os.walk(root, onerror=lambda error: unreadable.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in [*files, *links]:
            if not name.startswith("."):
                file = Path(folder, name)
                yield file.relative_to(root).as_posix(), file
    for file in unreadable:
        if file == root:
            raise NotFound(f"{root} cannot be read; give a folder of posts, or posts")
        yield file.relative_to(root).as_posix(), file


def _examine(path: str, file: Path, root: Path, *, is_asked_for: bool) -> PostFile | LeftOut | None:
    """Decide about one file. One that was asked for by name may be a link to anywhere.

    None: a link to a folder inside `root`, whose posts are found at their own place.
    """
    shown = _NOT_IN_PATHS.sub("\N{REPLACEMENT CHARACTER}", _shown(path))
    if shown != path:
        return LeftOut(
            shown[:_SHOWN_LENGTH], "UNREADABLE", "its name is not UTF-8, or holds what no path may; rename it"
        )
    if len(path) > MAX_PATH_LENGTH:
        return LeftOut(path[:_SHOWN_LENGTH], "UNREADABLE", f"its path has more than {MAX_PATH_LENGTH} characters")
    try:
        if file.is_symlink() and not is_asked_for and not file.resolve().is_relative_to(root):
            return LeftOut(path, "LINK_OUTSIDE", f"a link to {_shown(file.resolve())}, which is outside the folder")
        status = file.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        return LeftOut(path, "UNREADABLE", _words(error))
    if stat.S_ISDIR(status.st_mode):
        return None if file.is_symlink() else LeftOut(path, "UNREADABLE", "a folder that cannot be read")
    if file.suffix.lower() not in POST_SUFFIXES and not _is_bundle(path):
        return LeftOut(path, "UNKNOWN_KIND", f"not one of {' '.join(POST_SUFFIXES)}")
    if not stat.S_ISREG(status.st_mode):
        return LeftOut(path, "UNREADABLE", "not a regular file")
    most, word = (MAX_ARCHIVE_BYTES, "an archive") if _is_bundle(path) else (MAX_POST_BYTES, "a post")
    if status.st_size > most:
        size = f"{status.st_size / (1 << 20):.1f} MiB"
        return LeftOut(path, "TOO_LARGE", f"{size}, and {word} may have {most >> 20} MiB")
    if not os.access(file, os.R_OK):
        return LeftOut(path, "UNREADABLE", "permission denied")
    if path.lower().endswith(EXPORT_SUFFIXES) and not is_asked_for and not _may_be_export(file):
        return LeftOut(path, "UNKNOWN_KIND", "no export of Ghost or WordPress by its first lines")
    return PostFile(path, file, status.st_size, status.st_mtime)


def _is_bundle(path: str) -> bool:
    return path.lower().endswith(BUNDLE_SUFFIXES)


def _may_be_export(file: Path) -> bool:
    """Whether the service should look at a JSON or XML file that lies among the posts."""
    try:
        with file.open("rb") as opened:
            return _EXPORT_MARKS.search(opened.read(EXPORT_START_BYTES)) is not None
    except OSError:
        return True  # it will be told why


def _shown(path: str | Path) -> str:
    """A path as valid Unicode."""
    return os.fsencode(path).decode(errors="replace")


def _words(error: BaseException) -> str:
    """An error of the operating system in its own words, without the path."""
    return getattr(error, "strerror", None) or str(error)

"""Kinds of files by their names: posts, archives and exports. services/client/folder.py has the same lists."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

MARKDOWN = frozenset({".md", ".markdown", ".mdown", ".mkd", ".mdx"})
HTML = frozenset({".html", ".htm"})
TEXT = frozenset({".txt", ".text"})
RST = frozenset({".rst", ".rest"})
POSTS = MARKDOWN | HTML | TEXT | RST
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
EXPORTS = (".json", ".xml")


def is_archive(name: str) -> bool:
    """Whether a file is a zip or a tar by its name."""
    return name.lower().endswith(ARCHIVES)


def is_bundle(name: str) -> bool:
    """Whether a file may hold many posts by its name: an archive or an export."""
    return name.lower().endswith((*ARCHIVES, *EXPORTS))


def outside_bundles(parts: Iterable[str]) -> str:
    """A post's path without the names of bundles: the day of a backup is not that of the posts in it."""
    return "/".join(part for part in parts if not is_bundle(part))


def unknown_kind(path: str) -> str:
    """Say that a file's suffix is none that posts have."""
    suffix = PurePosixPath(path).suffix
    known = ", ".join(sorted(POSTS))
    return f"its suffix {suffix} is none of {known}" if suffix else f"it has no suffix; posts have one of {known}"

"""Folders that are watched: what changes in them, once it has come to rest.

In: the folders and files that were given to `posts add`. Out: the paths that changed, as `posts list` shows them.
The operating system tells of changes through watchfiles. What the changes mean is the command's business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from watchfiles import Change, watch

from services.common.errors import NotFound, Unavailable

REST_MS = 400  # without a further change, before what happened is told
AT_MOST_MS = 3000  # that changes are gathered, while they go on
LOOK_MS = 500  # how often it is told that nothing happened


def changes(paths: Iterable[Path], stopping: threading.Event) -> Iterator[list[str]]:
    """Yield what changed, in order of path; an empty list where nothing did for a while.

    The first answer comes when everything from then on is noticed. Hidden files are not told. A folder that is taken
    away may come back.

    Args:
        paths: folders, and single files.
        stopping: when set, this ends.

    Raises:
        NotFound: a path does not exist.
        Unavailable: the operating system watches no more folders.
    """
    folders: list[Path] = []
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise NotFound(f"{path} does not exist; give a folder of posts, or posts")
        if path.is_dir():
            folders.append(path.resolve())
        else:
            files.append(path.parent.resolve() / path.name)
    # A file is replaced when it is saved, so its folder is watched; that folder may hold far more than it.
    roots = [*folders, *({file.parent for file in files} if not folders else files)]

    def shown(change: Change, path: str) -> bool:
        return any(_relative(Path(path), folder) for folder in folders) or Path(path) in files

    try:
        lost: list[str] = []  # what was replaced, so that its changes were not told
        while not stopping.is_set():
            seen = {root: _identity(root) for root in roots}
            watched = [root for root, identity in seen.items() if identity]
            with closing(_watch(watched, shown, stopping, recursive=bool(folders))) as happenings:
                for happened in happenings:
                    changed = [Path(path) for _, path in happened]
                    names = {path.name for path in changed if path in files}
                    names |= {name for path in changed for folder in folders if (name := _relative(path, folder))}
                    yield sorted(names.union(lost))
                    lost = [root.name for root, identity in seen.items() if _identity(root) != identity]
                    if lost:
                        break
    except (OSError, RuntimeError) as error:
        raise Unavailable(
            f"the folder cannot be watched ({error}); set WATCHFILES_FORCE_POLLING=true to look at it again and again"
        ) from None


def _watch(
    roots: Sequence[Path], shown: Callable[[Change, str], bool], stopping: threading.Event, *, recursive: bool
) -> Generator[set[tuple[Change, str]]]:
    """What happens below the roots, nothing where nothing did for a while; of no roots nothing, as often."""
    if not roots:
        while not stopping.wait(LOOK_MS / 1000):
            yield set()
        return
    yield from watch(
        *roots,
        watch_filter=shown,
        debounce=AT_MOST_MS,
        step=REST_MS,
        rust_timeout=LOOK_MS,
        yield_on_timeout=True,
        stop_event=stopping,
        raise_interrupt=True,
        recursive=recursive,
    )


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file or folder from another at its place; None if nothing is there.

    The operating system watches the thing, not the place: one that was put there later goes unnoticed.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _relative(path: Path, folder: Path) -> str:
    """A path within a folder; "" if it is elsewhere, or hidden."""
    if not path.is_relative_to(folder):
        return ""
    parts = path.relative_to(folder).parts
    return "" if any(part.startswith(".") for part in parts) else "/".join(parts)

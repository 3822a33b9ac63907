"""Files that others read: written whole or not at all, checked by SHA-256, under names that stay in their folder.

A writer writes beside, fsyncs and renames; a half-written anything is invisible to readers.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt, InvalidRequest

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
MAX_NAME_LENGTH = 100
_FEW_FILES = 8  # up to which each by itself waits for less than the whole file system
PARTIAL_PREFIX = ".partial-"  # readers skip names that begin with a dot


def check_name(name: str, *, field: str, kind: str) -> str:
    """Return `name` if it can be a folder's name; raise InvalidRequest naming the field if not.

    Args:
        name: 1 to 100 letters, digits, `.`, `_` or `-`, not beginning with a dot or a dash.
        field: the request field that held it.
        kind: what it names, for the message ("run", "corpus").
    """
    if not name or len(name) > MAX_NAME_LENGTH or name[0] in ".-" or not _NAME_CHARACTERS.issuperset(name):
        raise InvalidRequest(
            f"{name!r} is not a {kind} name: use 1 to {MAX_NAME_LENGTH} letters, digits, '.', '_' or '-', "
            "beginning with a letter, a digit or '_'",
            field=field,
        )
    return name


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable (fsync of the directory itself)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_contents(files: Sequence[Path]) -> None:
    """Make the content of files in one file system durable; many at a time take little longer than one."""
    if not files:
        return
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)  # Linux
    if syncfs is None or len(files) < _FEW_FILES:
        for path in files:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        return
    with files[0].open("rb") as file:
        if syncfs(file.fileno()) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(files[0].parent))


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `content`: a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f"{PARTIAL_PREFIX}{uuid.uuid4().hex}"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any, *, mode: int = 0o644) -> None:
    """Replace `path` by `value` as indented JSON, atomically."""
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(), mode=mode)


def read_json(path: Path) -> Any:
    """Parse a JSON file of ours; raise Corrupt naming it when it is missing or is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise Corrupt(f"{path} is missing", metadata={"file": str(path)}) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Corrupt(f"{path} is not valid JSON ({error})", metadata={"file": str(path)}) from None


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends, and vanishes if it raises.

    Raises:
        FileExistsError: `path` is there already when the block ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f"{PARTIAL_PREFIX}{path.name}-{uuid.uuid4().hex[:8]}"
    partial.mkdir()
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
            elif file.is_dir():
                sync_folder(file)
        sync_folder(partial)
        if path.exists():
            raise FileExistsError(path)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Delete a folder so that readers never see half of it: renamed out of sight first."""
    doomed = path.parent / f"{PARTIAL_PREFIX}deleted-{path.name}-{uuid.uuid4().hex[:8]}"
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def remove_partials(folder: Path, *, files: bool = True) -> None:
    """Delete what a killed writer left behind. Only the folder's one writer may call this, at its start.

    Args:
        files: also single files; False where someone else may be writing one just now.
    """
    for leftover in folder.glob(f"{PARTIAL_PREFIX}*") if folder.is_dir() else ():
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        elif files:
            leftover.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content as 64 hex digits, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def sha256_files(folder: Path, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """SHA-256 of every file below `folder` by relative path, manifest.json apart: what a manifest records.

    Args:
        known: digests that the writer has computed from what it wrote, by relative path; those files are not read.
    """
    names = sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"
    )
    return {name: (known or {}).get(name) or sha256_file(folder / name) for name in names}


def verify_files(folder: Path, digests: dict[str, str]) -> None:
    """Raise Corrupt naming the first file that is missing or whose SHA-256 is not the recorded one."""
    for relative, expected in digests.items():
        path = folder / relative
        if not path.is_file():
            raise Corrupt(f"{path} is missing", metadata={"file": str(path)})
        if sha256_file(path) != expected:
            raise Corrupt(
                f"{path} is damaged: its SHA-256 is not that of manifest.json; restore it or make it again",
                metadata={"file": str(path)},
            )

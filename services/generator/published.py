"""What is published on the volume: model versions, by their manifests.

In: the folder `models`, which the trainer alone writes. Out: what stands in it, the damaged versions too.
Reads manifests only; whether the files are what they should be is checked when a version is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt
from services.common.files import read_json
from services.tokens.header import HEADER_V1

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A version of a model."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A version that stands on the volume.

    Attributes:
        folder: its files.
        signature: changes when any of its files does, by size and time: says whether to try it again.
        error: why its manifest cannot be used; empty: it can.
        created_at: when it was published, UTC.
        digests: SHA-256 by relative path.
        vocabulary_digest: of the vocabulary that it must carry.
        has_headers: whether the posts that it learned have a header.
        run, step, num_parameters: for people.
    """

    key: Key
    folder: Path
    signature: tuple[tuple[str, int, int], ...]
    error: str = ""
    created_at: datetime = datetime.min.replace(tzinfo=UTC)
    digests: dict[str, str]
    vocabulary_digest: str = ""
    has_headers: bool = False
    run: str = ""
    step: int = 0
    num_parameters: int = 0


def scan(folder: Path) -> dict[Key, Published]:
    """Return all versions below `folder`, which need not exist.

    A version is a folder `<name>/<number>` with a manifest.json; without one it does not exist (yet). Numbers
    are from 1 and written in one way, so that no two folders are one version.
    """
    found: dict[Key, Published] = {}
    for model in _folders(folder):
        for version in _folders(model):
            if _NUMBER.fullmatch(version.name) and (version / "manifest.json").is_file():
                published = _read(Key(model.name, int(version.name)), version)
                found[published.key] = published
    return found


def read_aliases(folder: Path) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Return, by model, the version that each alias means, and of those whose file is damaged what is wrong."""
    found: dict[str, dict[str, int]] = {}
    wrong: dict[str, str] = {}
    for model in _folders(folder):
        path = model / ".aliases.json"
        try:
            if path.exists():
                found[model.name] = {str(alias): int(version) for alias, version in read_json(path).items()}
        except (Corrupt, AttributeError, TypeError, ValueError, OverflowError) as error:
            wrong[model.name] = f"{path} does not hold aliases: {error}"
    return found, wrong


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except FileNotFoundError:
        return []


def _read(key: Key, folder: Path) -> Published:
    signature = _signature(folder)
    try:
        manifest = read_json(folder / "manifest.json")
        return Published(key=key, folder=folder, signature=signature, **_facts(manifest, key, folder))
    except Corrupt as error:
        return Published(key=key, folder=folder, signature=signature, error=error.message, digests={})


def _facts(manifest: Any, key: Key, folder: Path) -> dict[str, Any]:
    """The fields of Published that a manifest states; Corrupt when it is not a model's manifest."""
    try:
        if (manifest["kind"], manifest["name"], int(manifest["version"])) != ("model", key.name, key.version):
            raise Corrupt(f"{folder / 'manifest.json'} is not the manifest of model {key}")
        created_at = datetime.fromisoformat(manifest["created_at"])
        return {
            "created_at": created_at if created_at.tzinfo else created_at.replace(tzinfo=UTC),
            "digests": {str(path): str(digest) for path, digest in manifest["files"].items()},
            "vocabulary_digest": str(manifest["vocabulary_digest"]),
            "has_headers": manifest.get("header_format") == HEADER_V1,
            "run": str(manifest.get("run") or ""),
            "step": int(manifest.get("step") or 0),
            "num_parameters": int(manifest.get("num_parameters") or 0),
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Corrupt(f"{folder / 'manifest.json'} is not a model's manifest ({error!r})") from None


def _signature(folder: Path) -> tuple[tuple[str, int, int], ...]:
    entries = []
    for path in sorted(folder.rglob("*")):
        try:
            state = path.stat()
        except FileNotFoundError:
            continue  # deleted meanwhile; the next look sees it gone
        entries.append((str(path.relative_to(folder)), state.st_size, state.st_mtime_ns))
    return tuple(entries)

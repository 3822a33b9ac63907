"""Where things are on the shared volume, and how its folders are read while others change them.

The trainer writes base/, checkpoint/, samples/ and models/.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt
from services.common.files import read_json


@dataclass(frozen=True, slots=True)
class Volume:
    """The shared volume, by its root folder (NONESUCH_DATA)."""

    root: Path

    @property
    def datasets(self) -> Path:
        """The tokenizer's datasets."""
        return self.root / "datasets"

    @property
    def bases(self) -> Path:
        """Base models in OpenAI's layout."""
        return self.root / "base"

    @property
    def runs(self) -> Path:
        """A folder per run."""
        return self.root / "checkpoint"

    @property
    def samples(self) -> Path:
        """A folder of samples per run."""
        return self.root / "samples"

    @property
    def models(self) -> Path:
        """Published models: a folder per name, in it one per version."""
        return self.root / "models"


def is_foreign(run_folder: Path) -> bool:
    """Whether a folder of checkpoint/ was written by another program: weights and what points at them, no run.json."""
    return (
        (run_folder / "checkpoint").is_file()
        and not (run_folder / "run.json").exists()
        and any(run_folder.glob("*.index"))
    )


def read_manifest(folder: Path, *fields: str) -> dict[str, Any]:
    """Read a folder's manifest.json; Corrupt names it when it is missing, damaged, or lacks a field.

    Args:
        fields: that it must have, besides `files`.
    """
    path = folder / "manifest.json"
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise Corrupt(f"{path} is not a manifest: it lists no files", metadata={"file": str(path)})
    absent = [field for field in fields if field not in manifest]
    if absent:
        raise Corrupt(f"{path} is damaged: it does not say {', '.join(absent)}", metadata={"file": str(path)})
    return manifest


def size_of(folder: Path) -> int:
    """Bytes in all files below a folder; what is deleted meanwhile does not count."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total

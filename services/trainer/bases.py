"""Base models: the sizes that start from fresh weights, and the folders of base/ in OpenAI's layout.

A folder is read whole once, in a process of its own (TensorFlow stays out of the service); what was found,
with the files' digests, becomes its manifest.json, against which it is checked from then on.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.errors import AlreadyExists, Corrupt, InvalidRequest, NotFound
from services.common.files import (
    check_name,
    new_folder,
    read_json,
    remove_folder,
    remove_partials,
    sha256_files,
    verify_files,
    write_json,
)
from services.gpt2.config import FRESH, GPT2Config
from services.tokens.vocabulary import Vocabulary
from services.trainer.events import now
from services.trainer.volume import read_manifest

_LAYOUT = re.compile(
    r"checkpoint|counter|hparams\.json|encoder\.json|vocab\.bpe|[\w.-]+\.(index|meta|data-\d{5}-of-\d{5})"
)


@dataclass(frozen=True, slots=True)
class Base:
    """A base model in a folder."""

    name: str
    folder: Path
    config: GPT2Config
    prefix: str
    """Of its weights' files."""
    vocabulary_digest: str


class Bases:
    """The base models of a volume."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> None:
        """Remove what a killed import left. At the start of the service."""
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_partials(self._folder)

    def names(self) -> list[str]:
        """The folders of base/, in order."""
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if path.is_dir() and not path.name.startswith("."))

    def describe(self, name: str) -> Base:
        """Read what a base is, without its weights; Corrupt names a file that is missing or damaged."""
        folder = self._folder / name
        config = GPT2Config.from_hparams(read_json(folder / "hparams.json"), source=str(folder / "hparams.json"))
        manifest = read_manifest(folder, "prefix") if (folder / "manifest.json").exists() else {"prefix": ""}
        return Base(name, folder, config, str(manifest["prefix"]), Vocabulary.load(folder).digest)

    def get(self, name: str) -> Base:
        """Return a base whose every file is sound.

        Raises:
            NotFound: there is no such folder; names what there is.
            Corrupt: a file is missing, truncated or of the wrong shape; names it.
        """
        folder = self._folder / name
        if name.startswith(".") or name not in self.names():
            known = ", ".join([*FRESH, *self.names()])
            raise NotFound(
                f"there is no base {name!r}; known are {known}. Put it into {self._folder} or import it",
                reason="BASE_NOT_FOUND",
                metadata={"base": name},
            )
        if (folder / "manifest.json").exists():
            verify_files(folder, read_manifest(folder)["files"])
        else:
            write_json(folder / "manifest.json", inspect(folder, name))
        return self.describe(name)

    def import_files(self, name: str, files: Iterable[tuple[str, Iterable[bytes]]]) -> Base:
        """Write a base from its files' content; it appears whole and sound, or not at all.

        Args:
            files: for each its name and its content in pieces.

        Raises:
            AlreadyExists: the name is taken. InvalidRequest: a file does not belong to the layout.
            Corrupt: what arrived is not a model; names the file.
        """
        check_name(name, field="name", kind="base")
        if name in FRESH or (self._folder / name).exists():
            raise AlreadyExists(
                f"base {name!r} is there already; delete it or choose another name", metadata={"base": name}
            )
        try:
            with new_folder(self._folder / name) as partial:
                for file_name, pieces in files:
                    _write(partial, file_name, pieces)
                write_json(partial / "manifest.json", inspect(partial, name))
        except FileExistsError:
            raise AlreadyExists(f"base {name!r} was made meanwhile", metadata={"base": name}) from None
        return self.describe(name)

    def delete(self, name: str) -> None:
        """Delete an imported base; NotFound when there is none of that name."""
        if name not in self.names():
            raise NotFound(f"there is no base {name!r} to delete", reason="BASE_NOT_FOUND", metadata={"base": name})
        remove_folder(self._folder / name)


def _write(folder: Path, name: str, pieces: Iterable[bytes]) -> None:
    if not _LAYOUT.fullmatch(name):
        raise InvalidRequest(
            f"file {name!r} does not belong to a model in OpenAI's layout: send checkpoint, hparams.json, "
            "encoder.json, vocab.bpe and one checkpoint's .index, .data-* and .meta",
            field="file",
        )
    with (folder / name).open("wb") as file:
        for piece in pieces:
            file.write(piece)


def inspect(folder: Path, name: str) -> dict[str, Any]:
    """Read a folder whole, in a process of its own, and return its manifest; Corrupt names what is damaged."""
    vocabulary = Vocabulary.load(folder)
    command = [sys.executable, "-m", "services.trainer.training.inspect", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        words = ended.stderr.strip().splitlines()[-1:] or [f"status {ended.returncode}"]
        raise Corrupt(f"{folder} could not be read: {words[0]}", metadata={"file": str(folder)}) from None
    if "error" in found:
        raise Corrupt(found["error"], metadata={"file": found["file"]})
    config = GPT2Config.from_hparams(found["config"])
    if vocabulary.size != config.n_vocab:
        raise Corrupt(
            f"{folder / 'encoder.json'} has {vocabulary.size} entries; hparams.json says {config.n_vocab}",
            metadata={"file": str(folder / "encoder.json")},
        )
    return {
        "kind": "base",
        "name": name,
        "created_at": now(),
        "config": config.to_hparams(),
        "prefix": found["prefix"],
        "num_parameters": config.num_parameters,
        "vocabulary_digest": vocabulary.digest,
        "vocabulary_size": vocabulary.size,
        "files": sha256_files(folder),
    }

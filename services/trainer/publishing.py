"""Published models: numbered, immutable versions under a name, complete on the volume or absent.

In: a checkpoint of a run, or a base model. Out: `models/<name>/<n>/` in OpenAI's layout, with vocabulary, manifest, the
engine file that the generator runs, and the index of the corpus that it learned. Numbers are never used again, also
after a deletion, so that a name and a number mean one model for ever. Copies files; loads no weights.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Corrupt, FailedPrecondition, InvalidRequest, NotFound
from services.common.files import (
    new_folder,
    read_json,
    remove_folder,
    remove_partials,
    sha256_files,
    verify_files,
    write_json,
)
from services.gpt2.config import GPT2Config
from services.gpt2.pointer import write_pointer
from services.litert.stored import ENGINE, REPORT, find_engine, weights_digest
from services.tokens.dataset import Dataset
from services.tokens.index_files import INDEX_FOLDER, copy_index
from services.tokens.vocabulary import Vocabulary
from services.trainer.bases import Base
from services.trainer.checkpoints import Checkpoint
from services.trainer.converting import Convert
from services.trainer.events import now
from services.trainer.volume import read_manifest, size_of

log = logging.getLogger(__name__)
_NUMBERS_FILE = ".numbers.json"  # the last number given to each name, kept when the name is deleted
_MARKS_FILE = ".marks.json"  # by name the versions that are kept whatever a run's `keep_versions` says
_ALIASES_FILE = ".aliases.json"  # in a model's folder: the version that each alias means; the generator reads it
_FACTS = (
    *("name", "version", "run", "step", "dataset", "created_at", "num_parameters", "vocabulary_digest"),
    *("validation_loss", "bits_per_byte", "validation_step"),
)
CARRIED = ("hparams.json", "encoder.json", "vocab.bpe")


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version as its manifest tells it."""

    folder: Path
    manifest: dict[str, Any]
    marked: bool = False
    """Whether it is kept whatever `keep_versions` says."""
    aliases: tuple[str, ...] = ()
    """Names that mean it."""

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.manifest["name"])

    @property
    def version(self) -> int:
        """Its number, from 1."""
        return int(self.manifest["version"])

    @property
    def size_bytes(self) -> int:
        """Size of all its files."""
        return size_of(self.folder)


class Models:
    """The models of a volume. Safe to share between threads.

    Args:
        convert: adds the engine file to a version's folder; None: versions come without.
    """

    def __init__(self, folder: Path, convert: Convert | None = None) -> None:
        self._folder, self._convert = folder, convert
        self._lock = threading.RLock()
        self._publishing: Counter[str] = Counter()  # versions under way by name

    def load(self) -> None:
        """Remove what a killed publication left. At the start of the service."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for folder in (self._folder, *(path for path in self._folder.iterdir() if path.is_dir())):
            remove_partials(folder)

    def publish_checkpoint(
        self,
        name: str,
        checkpoint: Checkpoint,
        *,
        dataset: dict[str, Any],
        corpus: Dataset | None = None,
        held_out: NDArray[np.int32] | None = None,
    ) -> ModelVersion:
        """Publish a run's checkpoint as the next version of `name`.

        Args:
            dataset: what is known of the dataset that the run learned from, as RunRecord.dataset_facts has it.
            corpus: the dataset, whose index goes with the version; None: it goes without.
            held_out: int32 [R, T], text that the engine file is verified on; None: what the model writes itself.

        Raises:
            Corrupt: a file of the checkpoint or of the run is damaged; names it.
        """
        prefix = f"model-{checkpoint.step}"
        verify_files(
            checkpoint.folder,
            {file: digest for file, digest in checkpoint.manifest["files"].items() if file.startswith(f"{prefix}.")},
        )
        validation, originality = checkpoint.validation or {}, checkpoint.originality or {}
        return self._publish(
            name,
            source=checkpoint.folder,
            prefix=prefix,
            carried=checkpoint.folder.parent,
            vocabulary_digest=dataset["vocabulary_digest"],
            step=checkpoint.step,
            corpus=corpus,
            held_out=held_out,
            facts={
                "run": checkpoint.run,
                "dataset": dataset["id"],
                "corpus": dataset["corpus"],
                "header_format": dataset["header_format"],
                "validation_loss": validation.get("loss"),
                "bits_per_byte": validation.get("bits_per_byte"),
                "token_accuracy": validation.get("token_accuracy"),
                "validation_step": validation.get("step"),
                "verbatim_share": originality.get("verbatim_share"),
            },
        )

    def publish_base(self, name: str, base: Base) -> ModelVersion:
        """Publish a base model as it is; `base` has been verified."""
        return self._publish(
            name,
            source=base.folder,
            prefix=base.prefix,
            carried=base.folder,
            vocabulary_digest=base.vocabulary_digest,
            step=0,
            facts={
                "run": "",
                "dataset": "",
                "corpus": "",
                "header_format": "none",
                "validation_loss": None,
                "bits_per_byte": None,
                "validation_step": None,
            },
        )

    def has(self, name: str, checkpoint: Checkpoint) -> bool:
        """Whether some version of `name` holds this checkpoint's very weights."""
        file = f"model-{checkpoint.step}.data-00000-of-00001"
        digest = checkpoint.manifest["files"].get(file)
        return any(version.manifest["files"].get(file) == digest for version in self._versions(name))

    def all(self) -> list[list[ModelVersion]]:
        """The versions of each model, newest first, models in order of name."""
        if not self._folder.is_dir():
            return []
        names = sorted(path.name for path in self._folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        return [versions for name in names if (versions := self._versions(name))]

    def versions(self, name: str) -> list[ModelVersion]:
        """The versions of a model, newest first; NotFound names a model that has none."""
        versions = self._versions(name)
        if not versions:
            raise NotFound(f"there is no model {name!r}", reason="MODEL_NOT_FOUND", metadata={"model": name})
        return versions

    def get(self, name: str, version: int | None) -> ModelVersion:
        """One version of a model, the newest for None; NotFound names what there is."""
        versions = self.versions(name)
        if version is None:
            return versions[0]
        for found in versions:
            if found.version == version:
                return found
        present = ", ".join(str(found.version) for found in versions)
        raise NotFound(
            f"model {name!r} has no version {version}; it has {present}",
            reason="VERSION_NOT_FOUND",
            metadata={"model": name, "version": str(version)},
        )

    def mark(self, name: str, version: int, marked: bool) -> ModelVersion:
        """Let a version be kept whatever `keep_versions` says, or no longer; NotFound when it is not there."""
        with self._lock:
            self.get(name, version)
            marks = self._marks()
            versions = {*marks.get(name, ())} - {version}
            marks[name] = sorted(versions | {version} if marked else versions)
            write_json(self._folder / _MARKS_FILE, {name: found for name, found in marks.items() if found})
            return self.get(name, version)

    def set_alias(self, name: str, alias: str, version: int | None) -> ModelVersion | None:
        """Let an alias mean a version, or nothing for None; return that version.

        Raises:
            InvalidRequest: `latest` or a number, which mean something already.
            NotFound: there is no such version.
        """
        if alias == "latest" or alias.isdigit():
            raise InvalidRequest(
                f"{alias!r} cannot be an alias: 'latest' is the newest version, and a number that version; "
                "take another word, such as 'stable'",
                field="alias",
            )
        with self._lock:
            self.get(name, version)
            aliases = self._aliases(name)
            aliases.pop(alias, None)
            self._write_aliases(name, aliases if version is None else aliases | {alias: version})
            return None if version is None else self.get(name, version)

    def prune(self, name: str, keep: int) -> list[int]:
        """Delete all but the newest `keep` versions and those with a mark or alias; return the numbers of what went.

        Args:
            keep: at least 1: the newest, which the generator may be loading, stays in any case.
        """
        with self._lock:
            old = [v for v in self._versions(name)[keep:] if not v.marked and not v.aliases]
            for version in old:
                remove_folder(version.folder)
            if old:
                log.info("model %s: versions %s deleted", name, ", ".join(str(v.version) for v in old))
            return sorted(version.version for version in old)

    def rollback(self, name: str) -> ModelVersion:
        """Delete the newest version and return the one before, which takes over its aliases.

        Raises:
            FailedPrecondition: there is no other.
        """
        with self._lock:
            newest, *earlier = self.versions(name)
            if not earlier:
                raise FailedPrecondition(
                    f"model {name!r} has version {newest.version} only: delete the model instead",
                    reason="ONLY_VERSION",
                    metadata={"model": name},
                )
            aliases = self._aliases(name)
            self._write_aliases(name, aliases | dict.fromkeys(newest.aliases, earlier[0].version))
            remove_folder(newest.folder)
            return self.get(name, earlier[0].version)

    def delete(self, name: str, version: int | None) -> None:
        """Delete one version, or the model with all of them.

        Raises:
            NotFound: it is not there.
            FailedPrecondition: the whole model, while a version of it is being published.
        """
        with self._lock:
            found = self.get(name, version)
            if version is None and self._publishing[name]:
                raise FailedPrecondition(
                    f"a version of model {name!r} is being published: delete the model when that is done",
                    reason="PUBLISHING",
                    metadata={"model": name},
                )
            if version is not None:
                left = {alias: v for alias, v in self._aliases(name).items() if v != version}
                self._write_aliases(name, left)
            remove_folder(self._folder / name if version is None else found.folder)

    def _versions(self, name: str) -> list[ModelVersion]:
        found = []
        marks = self._marks().get(name, [])
        aliases = self._aliases(name)
        for folder in (self._folder / name).glob("[1-9]*"):
            try:
                manifest = read_manifest(folder, *_FACTS)
                names = tuple(sorted(alias for alias, version in aliases.items() if version == manifest["version"]))
                found.append(ModelVersion(folder, manifest, manifest["version"] in marks, names))
            except Corrupt as error:
                log.warning("a model version is left out: %s", error.message)
        return sorted(found, key=lambda version: version.version, reverse=True)

    def _aliases(self, name: str) -> dict[str, int]:
        """The version that each alias means. Corrupt names the file: nothing is deleted while nobody knows."""
        path = self._folder / name / _ALIASES_FILE
        aliases = read_json(path) if path.exists() else {}
        if not isinstance(aliases, dict) or not all(isinstance(version, int) for version in aliases.values()):
            raise Corrupt(f"{path} does not hold aliases; delete it and set them again", metadata={"file": str(path)})
        return aliases

    def _write_aliases(self, name: str, aliases: dict[str, int]) -> None:
        if aliases != self._aliases(name):
            write_json(self._folder / name / _ALIASES_FILE, aliases)

    def _marks(self) -> dict[str, list[int]]:
        """The marked versions by name. Corrupt names the file: nothing is deleted while nobody knows what to keep."""
        path = self._folder / _MARKS_FILE
        marks = read_json(path) if path.exists() else {}
        if not isinstance(marks, dict) or not all(isinstance(versions, list) for versions in marks.values()):
            raise Corrupt(f"{path} does not hold marks; delete it and mark again", metadata={"file": str(path)})
        return marks

    def _publish(
        self,
        name: str,
        *,
        source: Path,
        prefix: str,
        carried: Path,
        vocabulary_digest: str,
        step: int,
        facts: dict[str, Any],
        corpus: Dataset | None = None,
        held_out: NDArray[np.int32] | None = None,
    ) -> ModelVersion:
        with self._new_version(name) as (number, partial):
            try:
                _copy_weights(source, prefix, partial, f"model-{step}")
                for file in CARRIED:
                    shutil.copyfile(carried / file, partial / file)
            except FileNotFoundError as error:
                raise Corrupt(f"{error.filename} is missing", metadata={"file": str(error.filename)}) from None
            write_pointer(partial, f"model-{step}")
            vocabulary = Vocabulary.load(carried)  # named by its own path when it is damaged
            if vocabulary.digest != vocabulary_digest:
                path = carried / "encoder.json"
                raise Corrupt(
                    f"{path} and vocab.bpe are not the vocabulary that the weights were trained with",
                    metadata={"file": str(path)},
                )
            config = GPT2Config.from_hparams(read_json(partial / "hparams.json"), source=str(carried / "hparams.json"))
            if corpus is not None:
                try:
                    copy_index(corpus, partial / INDEX_FOLDER)
                except Corrupt as error:  # replaced or deleted meanwhile: the weights are sound all the same
                    log.warning("model %s: version %d goes without a corpus index: %s", name, number, error)
            if self._convert and not self._copy_engine(name, partial):
                self._convert(partial, held_out)
            manifest = {
                "kind": "model",
                "name": name,
                "version": number,
                "step": step,
                "created_at": now(),
                "vocabulary_digest": vocabulary.digest,
                "num_parameters": config.num_parameters,
                **facts,
                "files": sha256_files(partial),
            }
            write_json(partial / "manifest.json", manifest)
        return ModelVersion(self._folder / name / str(number), manifest)

    def _copy_engine(self, name: str, partial: Path) -> bool:
        """Take the engine file of another version with the very same weights, if there is one."""
        digest = weights_digest(sha256_files(partial))
        for version in self._versions(name):
            if find_engine(version.folder, digest):
                for file in (ENGINE, REPORT):
                    shutil.copyfile(version.folder / file, partial / file)
                return True
        return False

    @contextmanager
    def _new_version(self, name: str) -> Iterator[tuple[int, Path]]:
        """A number and the folder to fill; the version is there when the block ends well.

        The lock is not held meanwhile: a conversion may take a minute.
        """
        with self._lock:
            number = self._take_number(name)
            self._publishing[name] += 1
        try:
            with new_folder(self._folder / name / str(number)) as partial:
                yield number, partial
        finally:
            with self._lock:
                self._publishing[name] -= 1

    def _take_number(self, name: str) -> int:
        path = self._folder / _NUMBERS_FILE
        numbers: dict[str, int] = read_json(path) if path.exists() else {}
        present = [version.version for version in self._versions(name)]
        numbers[name] = max(numbers.get(name, 0), *present, 0) + 1
        write_json(path, numbers)
        return numbers[name]


def _copy_weights(source: Path, prefix: str, target: Path, new_prefix: str) -> None:
    """Copy a checkpoint's files under another prefix; TensorFlow finds the data by the index's name."""
    shutil.copyfile(source / f"{prefix}.index", target / f"{new_prefix}.index")
    for data in sorted((source / prefix).parent.glob(f"{Path(prefix).name}.data-*")):
        shutil.copyfile(data, target / f"{new_prefix}{data.name.removeprefix(Path(prefix).name)}")

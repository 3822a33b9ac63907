"""The vocabularies on the volume: those trained here, and those that base models, runs and published models bring.

    vocabularies/<id>/       encoder.json vocab.bpe manifest.json    written here alone
    base/<name>/             encoder.json vocab.bpe ...              read only; the trainer writes it, and these:
    checkpoint/<run>/        by the name runs/<run>, whatever step follows it
    models/<name>/<number>/  by the name models/<name>, or models/<name>@<number>

A plain name is looked up in that order. Opened codecs are kept, a few at a time, as long as their files stay as
they were.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt, NotFound
from services.common.files import (
    check_name,
    new_folder,
    read_json,
    remove_folder,
    remove_partials,
    sha256_files,
    write_json,
)
from services.tokenizer.training import TrainedVocabulary
from services.tokens.codec import Codec
from services.tokens.vocabulary import ENCODER_FILE, MERGES_FILE, Vocabulary, digest_of

log = logging.getLogger(__name__)

MANIFEST_FILE = "manifest.json"
CODECS_KEPT = 8  # GPT-2's takes about 20 MB
LONGEST_PREFIX = 60  # characters of a corpus's name in an id


@dataclass(frozen=True, slots=True)
class VocabularyFacts:
    """What is told of a vocabulary. `bytes_per_token` is None where it was not trained here."""

    id: str
    folder: Path
    size: int
    end_of_text_id: int
    digest: str
    created_at: datetime
    bytes_per_token: float | None = None
    from_base: bool = False


@dataclass(frozen=True, slots=True)
class _Opened:
    stamp: tuple[int, ...]
    codec: Codec


class Vocabularies:
    """Finds, adds and deletes vocabularies. Safe to share between threads."""

    def __init__(self, data: Path) -> None:
        self._own = data / "vocabularies"
        self._bases, self._runs, self._models = data / "base", data / "checkpoint", data / "models"
        self._opened: OrderedDict[Path, _Opened] = OrderedDict()
        self._lock = threading.Lock()
        self._own.mkdir(parents=True, exist_ok=True)
        remove_partials(self._own)

    def folder(self, name: str, *, field: str = "vocabulary") -> Path:
        """Where the files of a vocabulary, base model, run or published model are; NotFound if there is none."""
        kind, slash, rest = name.partition("/")
        if slash and kind in ("runs", "models"):
            return self._learned(name, kind, rest, field)
        check_name(name, field=field, kind="vocabulary")
        if (self._own / name / MANIFEST_FILE).is_file():
            return self._own / name
        if (self._bases / name / ENCODER_FILE).is_file():
            return self._bases / name
        raise NotFound(
            f"no vocabulary or base model {name!r}; train a vocabulary, or import the base model first",
            metadata={"vocabulary": name},
        )

    def _learned(self, name: str, kind: str, rest: str, field: str) -> Path:
        """The folder of a run or a published model: what goes on from it speaks its vocabulary."""
        plain, _, at = rest.partition("@")
        check_name(plain, field=field, kind=kind.removesuffix("s"))
        if kind == "runs":
            folder: Path | None = self._runs / plain
        elif at:
            folder = self._models / plain / at if at.isascii() and at.isdigit() else None
        else:
            numbers = [path.parent.name for path in (self._models / plain).glob(f"*/{ENCODER_FILE}")]
            newest = max((int(number) for number in numbers if number.isdigit()), default=None)
            folder = self._models / plain / str(newest) if newest is not None else None
        if (
            kind == "runs"
            and folder is not None
            and any(folder.glob("*.index"))
            and not (folder / ENCODER_FILE).exists()
        ):
            raise NotFound(
                f"{folder} holds weights without a vocabulary; copy {ENCODER_FILE}, {MERGES_FILE} and hparams.json of "
                "the model that they began with into it",
                metadata={"vocabulary": name},
            )
        if folder is None or not (folder / ENCODER_FILE).is_file():
            raise NotFound(f"{name!r} is not there: no such {kind[:-1]}", metadata={"vocabulary": name})
        return folder

    def codec(self, name: str, *, field: str = "vocabulary") -> Codec:
        """The codec of a vocabulary or base model; NotFound if there is none, Corrupt if it is damaged."""
        folder = self.folder(name, field=field)
        try:
            stamps = [(folder / file).stat() for file in (ENCODER_FILE, MERGES_FILE)]
        except FileNotFoundError as error:
            raise Corrupt(f"{error.filename} is missing", metadata={"file": error.filename}) from None
        stamp = tuple(number for stat in stamps for number in (stat.st_mtime_ns, stat.st_size, stat.st_ino))
        with self._lock:
            opened = self._opened.get(folder)
            if opened is None or opened.stamp != stamp:
                opened = _Opened(stamp, Codec(self._load(folder)))
                self._opened[folder] = opened
            self._opened.move_to_end(folder)
            while len(self._opened) > CODECS_KEPT:
                self._opened.popitem(last=False)
        return opened.codec

    def _load(self, folder: Path) -> Vocabulary:
        vocabulary = Vocabulary.load(folder)
        if folder.parent == self._own and _manifest(folder)["digest"] != vocabulary.digest:
            raise Corrupt(
                f"{folder}: its files are not those of its manifest.json; delete it and train it again",
                metadata={"file": str(folder)},
            )
        return vocabulary

    def facts(self, name: str) -> VocabularyFacts:
        """What is told of one vocabulary; NotFound and Corrupt as for `codec`."""
        folder = self.folder(name)
        if folder.parent == self._own:
            manifest = _manifest(folder)
            return VocabularyFacts(
                id=name,
                folder=folder,
                size=manifest["size"],
                end_of_text_id=manifest["end_of_text_id"],
                digest=manifest["digest"],
                created_at=datetime.fromisoformat(manifest["created_at"]),
                bytes_per_token=manifest["bytes_per_token"],
            )
        vocabulary = self.codec(name).vocabulary
        return VocabularyFacts(
            id=name,
            folder=folder,
            size=vocabulary.size,
            end_of_text_id=vocabulary.end_of_text_id,
            digest=vocabulary.digest,
            created_at=datetime.fromtimestamp((folder / ENCODER_FILE).stat().st_mtime, UTC),
            from_base=True,
        )

    def all(self) -> list[VocabularyFacts]:
        """All vocabularies by id, those of bases included; one that is damaged is left out and logged."""
        names = {path.parent.name for path in self._own.glob(f"*/{MANIFEST_FILE}")}
        names |= {path.parent.name for path in self._bases.glob(f"*/{ENCODER_FILE}")}
        found: list[VocabularyFacts] = []
        for name in sorted(name for name in names if not name.startswith(".")):
            try:
                found.append(self.facts(name))
            except (Corrupt, NotFound) as error:
                log.warning("vocabulary %s is left out of the list: %s", name, error)
        return found

    def find_trained(self, source: dict[str, Any]) -> VocabularyFacts | None:
        """The vocabulary that was trained on exactly this source, if it is there and whole."""
        for path in sorted(self._own.glob(f"*/{MANIFEST_FILE}")):
            try:
                if not path.parent.name.startswith(".") and _manifest(path.parent).get("source") == source:
                    self.codec(path.parent.name)  # raises if the files are damaged
                    return self.facts(path.parent.name)
            except (Corrupt, NotFound) as error:
                log.warning("vocabulary %s is not used again: %s", path.parent.name, error)
        return None

    def add(self, trained: TrainedVocabulary, source: dict[str, Any], bytes_per_token: float) -> VocabularyFacts:
        """Store a trained vocabulary under `<corpus>-<size>-<first 8 of its digest>` and return its facts.

        Args:
            source: what it was trained on; its `corpus` begins the id.
            bytes_per_token: UTF-8 bytes per token on that text.
        """
        digest = digest_of(trained.encoder, trained.merges)
        name = f"{source['corpus'][:LONGEST_PREFIX]}-{trained.size}-{digest[:8]}"
        if (self._own / name).exists():
            remove_folder(self._own / name)  # the same files, or a damaged copy of them
        with new_folder(self._own / name) as partial:
            (partial / ENCODER_FILE).write_bytes(trained.encoder)
            (partial / MERGES_FILE).write_bytes(trained.merges)
            manifest = {
                "kind": "vocabulary",
                "id": name,
                "digest": digest,
                "size": trained.size,
                "end_of_text_id": trained.size - 1,
                "source": source,
                "bytes_per_token": bytes_per_token,
                "created_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "files": sha256_files(partial),
            }
            write_json(partial / MANIFEST_FILE, manifest)
        return self.facts(name)

    def delete(self, name: str) -> None:
        """Delete a vocabulary trained here; NotFound if there is none, or if it is a base model's."""
        folder = self.folder(name)
        if folder.parent != self._own:
            raise NotFound(
                f"{name!r} is not one of vocabularies/: it goes with the base model, run or model that brings it",
                metadata={"vocabulary": name},
            )
        remove_folder(folder)
        with self._lock:
            self._opened.pop(folder, None)


def _manifest(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / MANIFEST_FILE)
    if not isinstance(manifest, dict) or manifest.get("kind") != "vocabulary":
        path = folder / MANIFEST_FILE
        raise Corrupt(f"{path} does not describe a vocabulary", metadata={"file": str(path)})
    return manifest

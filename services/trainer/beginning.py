"""What a run begins with: its source found on the volume, and the source's weights taken into the run's folder.

A run may wait for hours. So the weights are linked into `start/` of its folder when it is made (a second name of the
same file, which costs no space; copied where the file system has no links): what becomes of the base, the run or the
model afterwards does not matter to it, and it can be repeated when they are gone.
In: the volume and a word as of sources.py. Out: shape, vocabulary, exact word; files. Loads no weights.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from services.common.errors import Corrupt, FailedPrecondition, NotFound
from services.common.files import read_json, verify_files, write_json
from services.gpt2.config import GPT2Config
from services.gpt2.pointer import write_pointer
from services.tokens.vocabulary import Vocabulary
from services.trainer.bases import Bases
from services.trainer.checkpoints import Checkpoint, best, get_checkpoint, list_checkpoints
from services.trainer.fetching.names import KNOWN
from services.trainer.publishing import Models
from services.trainer.run_record import RECORD_FILE
from services.trainer.sources import BEST, Source, SourceKind, fresh_config, parse
from services.trainer.volume import Volume, read_manifest

START_FOLDER = "start"
_PREFIX = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """A source that is there.

    Attributes:
        word: names it exactly, with step or version.
        config: its shape; of a fresh one n_vocab is what it asks for.
        vocabulary_digest: of the vocabulary that it speaks; empty for a fresh one, which takes the dataset's.
        folder, prefix: where its weights are; None for a fresh one.
        digests: SHA-256 of the files of its weights, by name, that are still to be compared.
        step: how many steps the run counts as done already; 0 but for a run that another program began.
        fetch_bytes: what must be fetched before a run can begin; 0 where the source is here.
    """

    word: str
    config: GPT2Config
    vocabulary_digest: str = ""
    folder: Path | None = None
    prefix: str = ""
    digests: dict[str, str] = field(default_factory=dict)
    step: int = 0
    fetch_bytes: int = 0

    @property
    def fresh(self) -> bool:
        """Whether it starts from random weights."""
        return self.folder is None and not self.fetch_bytes

    def carry_into(self, run_folder: Path) -> None:
        """Take the weights into a run's new folder, and check every byte of them there.

        Raises:
            NotFound: they were deleted meanwhile. Corrupt: a file is damaged; names the source's.
        """
        if self.folder is None:
            return
        start = run_folder / START_FOLDER
        if start.exists():  # in a folder that another program made, of an attempt that was killed
            shutil.rmtree(start)
        start.mkdir()
        files = [self.folder / f"{self.prefix}.index", *sorted(self.folder.glob(f"{self.prefix}.data-*"))]
        digests = {}
        try:
            for file in files:
                name = _PREFIX + file.name.removeprefix(Path(self.prefix).name)
                _link(file, start / name)
                recorded = self.digests.get(str(file.relative_to(self.folder)))
                if recorded:
                    digests[name] = recorded
        except FileNotFoundError as error:
            raise NotFound(
                f"{self.word} was deleted meanwhile ({error.filename} is gone); start the run again",
                reason="SOURCE_NOT_FOUND",
                metadata={"base": self.word},
            ) from None
        try:
            verify_files(start, digests)
        except Corrupt:
            verify_files(self.folder, self.digests)  # names the file by its own place
            raise
        write_json(start / "hparams.json", self.config.to_hparams())
        write_pointer(start, _PREFIX)
        write_json(start / "manifest.json", {"kind": "start", "source": self.word, "step": self.step, "files": digests})


def find(volume: Volume, bases: Bases, word: str) -> Beginning:
    """Find what a run is to start from.

    Raises:
        InvalidRequest: the word is none. NotFound: there is no such base, run, checkpoint, model or version.
        FailedPrecondition: the run has no checkpoint yet, or none that was validated.
        Corrupt: a file is damaged; names it.
    """
    source = parse(word)
    match source.kind:
        case SourceKind.FRESH:
            return Beginning(word=source.word, config=fresh_config(source))
        case SourceKind.BASE:
            base = bases.get(source.name)
            return Beginning(
                word=base.name,
                config=base.config,
                vocabulary_digest=base.vocabulary_digest,
                folder=base.folder,
                prefix=base.prefix,
                digests=_weights_of(read_manifest(base.folder)["files"], base.prefix),
            )
        case SourceKind.RUN:
            return _of_run(volume.runs / source.name, source)
        case SourceKind.MODEL:
            return _of_model(Models(volume.models), source)


def foresee(volume: Volume, bases: Bases, word: str) -> Beginning:
    """What a run could start from, for a plan: as `find`, and a base that is not here but known by name by its shape.

    Raises:
        As `find`.
    """
    known = next((known for known in KNOWN if known.name == word), None)
    if known is None or word in bases.names():
        return find(volume, bases, word)
    return Beginning(word=word, config=known.config, fetch_bytes=known.download_bytes)


def _of_run(folder: Path, source: Source) -> Beginning:
    if not (folder / RECORD_FILE).is_file():
        raise NotFound(
            f"there is no run {source.name!r} to start from", reason="RUN_NOT_FOUND", metadata={"run": source.name}
        )
    checkpoint = _checkpoint(folder, source)
    prefix = f"model-{checkpoint.step}"
    return Beginning(
        word=source.pinned(checkpoint.step).word,
        config=_config(folder),
        vocabulary_digest=Vocabulary.load(folder).digest,
        folder=checkpoint.folder,
        prefix=prefix,
        digests=_weights_of(checkpoint.manifest["files"], prefix),
    )


def _checkpoint(folder: Path, source: Source) -> Checkpoint:
    if source.at not in ("", BEST):
        return get_checkpoint(folder, int(source.at))
    checkpoints = list_checkpoints(folder)
    if not checkpoints:
        raise FailedPrecondition(
            f"run {source.name!r} has no checkpoint yet; wait for its first, or start from something else",
            reason="NO_CHECKPOINT",
            metadata={"run": source.name},
        )
    if source.at != BEST:
        return checkpoints[-1]
    found = best(checkpoints)
    if found is None:
        steps = ", ".join(str(checkpoint.step) for checkpoint in checkpoints)
        raise FailedPrecondition(
            f"no checkpoint of run {source.name!r} was validated itself, so none is best; name one of steps {steps}",
            reason="NOT_VALIDATED",
            metadata={"run": source.name},
        )
    return found


def _of_model(models: Models, source: Source) -> Beginning:
    version = models.get(source.name, int(source.at) if source.at else None)
    prefix = f"model-{version.manifest['step']}"
    return Beginning(
        word=source.pinned(version.version).word,
        config=_config(version.folder),
        vocabulary_digest=str(version.manifest["vocabulary_digest"]),
        folder=version.folder,
        prefix=prefix,
        digests=_weights_of(version.manifest["files"], prefix),
    )


def of_start(run_folder: Path, word: str) -> Beginning:
    """What an earlier run began with, from its own folder: for one that repeats it.

    Raises:
        Corrupt: the folder `start/` is missing or damaged; names it.
    """
    source = parse(word)
    if source.kind == SourceKind.FRESH:
        return Beginning(word=word, config=_config(run_folder))
    start = run_folder / START_FOLDER
    manifest = read_manifest(start)
    return Beginning(
        word=word,
        config=_config(start),
        vocabulary_digest=Vocabulary.load(run_folder).digest,
        folder=start,
        prefix=_PREFIX,
        digests=_weights_of(manifest["files"], _PREFIX),
        step=int(manifest.get("step", 0)),
    )


def _config(folder: Path) -> GPT2Config:
    return GPT2Config.from_hparams(read_json(folder / "hparams.json"), source=str(folder / "hparams.json"))


def _weights_of(digests: dict[str, str], prefix: str) -> dict[str, str]:
    return {name: digest for name, digest in digests.items() if name.startswith(f"{prefix}.")}


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)

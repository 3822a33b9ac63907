"""What must be true before a run begins: the dataset and the base are there, sound, and speak one vocabulary.

In: the choices of a request, or an earlier run. Out: the run's settings, its architecture, what is known of its
dataset, and how its folder is filled.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt, FailedPrecondition, InvalidRequest, NotFound
from services.common.files import check_name, write_json
from services.gpt2.config import GPT2Config
from services.tokens.dataset import STYLE_FILE, Dataset
from services.tokens.index_files import MOST_INDEXED_TOKENS, SUFFIXES_FILE
from services.trainer import beginning
from services.trainer.bases import Bases
from services.trainer.beginning import Beginning
from services.trainer.run_record import RunRecord
from services.trainer.run_settings import RunSettings, resolve
from services.trainer.volume import Volume

VOCABULARY_FILES = ("encoder.json", "vocab.bpe")


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can begin."""

    settings: RunSettings
    config: GPT2Config
    dataset: Dataset
    beginning: Beginning

    @property
    def remarks(self) -> list[str]:
        """What is to be known of a base that is only known by name, a sentence each."""
        base, size = self.beginning, int(self.dataset.manifest["vocabulary_size"])
        if not base.fetch_bytes:
            return []
        words = [f"{base.word} is not here: it is fetched when the run is started, {base.fetch_bytes / 1e9:.1f} GB"]
        if size != self.config.n_vocab:
            words.append(
                f"the tokens are those of a vocabulary of {size:,}; with that of {base.word}, {self.config.n_vocab:,}, "
                "the posts have fewer, and steps and time are at most these"
            )
        return words

    @property
    def dataset_facts(self) -> dict[str, Any]:
        """What is to be known of the dataset when it is gone."""
        return facts_of(self.dataset)

    def fill(self, folder: Path) -> None:
        """Write what the run is made of into its new folder, which then explains itself.

        Architecture, vocabulary, and the weights that it starts from; NotFound and Corrupt as
        Beginning.carry_into.
        """
        self.beginning.carry_into(folder)
        write_json(folder / "hparams.json", self.config.to_hparams())
        for name in VOCABULARY_FILES:
            shutil.copyfile(self.dataset.folder / name, folder / name)


def plan(
    volume: Volume,
    bases: Bases,
    choices: dict[str, Any],
    begin: Beginning | None = None,
    *,
    find: Callable[[Volume, Bases, str], Beginning] = beginning.find,
) -> Plan:
    """Check the choices of a new run against the volume.

    Args:
        begin: what it begins with; None: what the choices name.
        find: finds that.

    Raises:
        NotFound: no such dataset, base, run, checkpoint or model. Corrupt: a file of theirs is damaged.
        FailedPrecondition: the vocabularies differ (both are named), the corpus is too small, the run to start
        from has no such checkpoint yet, or as check_index.
        InvalidRequest: a setting is out of its range, or the base is no word for one.
    """
    dataset = open_dataset(volume, choices.get("dataset", ""))
    dataset.verify()
    begin = begin or find(volume, bases, choices.get("base", "nano"))
    config = begin.config
    if begin.fresh:
        config = replace(config, n_vocab=int(dataset.manifest["vocabulary_size"]))
    elif not begin.fetch_bytes:
        _check_vocabulary(dataset.manifest, begin)
    settings = resolve(
        choices | {"base": begin.word},
        config=config,
        fresh=begin.fresh,
        num_train_tokens=len(dataset.train),
        num_validation_tokens=len(dataset.validation),
        document_lengths=document_lengths(dataset),
    )
    check_index(dataset, settings)
    if begin.fresh:
        config = replace(config, n_ctx=settings.context)  # positions that are never trained would only mislead
    return Plan(settings, config, dataset, begin)


def document_lengths(dataset: Dataset) -> Sequence[int]:
    """Tokens of each train document."""
    documents = dataset.train.documents
    lengths: Sequence[int] = (documents["end"] - documents["start"]).tolist()
    return lengths


def plan_again(volume: Volume, record: RunRecord) -> Plan:
    """Check that a run can be repeated: the same settings, dataset and first weights.

    Raises:
        NotFound: its dataset is gone. FailedPrecondition: the dataset is not what it was, or as check_index.
        Corrupt: a file of the dataset or of the run's first weights is damaged.
    """
    run_folder = volume.runs / record.name
    dataset = check_dataset(volume, record)
    dataset.verify()
    begin = beginning.of_start(run_folder, record.settings.base)
    return Plan(record.settings, begin.config, dataset, begin)


def check_dataset(volume: Volume, record: RunRecord) -> Dataset:
    """Open the dataset that a run began with.

    Raises:
        NotFound: it is gone; says how to make it again. FailedPrecondition: another has its name, or as check_index.
        Corrupt: it is damaged.
    """
    name, known = record.settings.dataset, record.dataset_facts
    try:
        dataset = open_dataset(volume, name)
    except NotFound:
        raise NotFound(
            f"there is no dataset {name!r} any more, and run {record.name!r} needs it; build it again as it was, or "
            f"start a new run from runs/{record.name}. What was learned can be published without it",
            reason="DATASET_NOT_FOUND",
            metadata={"dataset": name, "run": record.name},
        ) from None
    found = digest_of(dataset)
    if known and known["digest"] != found:
        raise FailedPrecondition(
            f"dataset {name!r} is not the one that run {record.name!r} began with: its digest is {found[:12]}, and "
            f"was {known['digest'][:12]}; start a new run from runs/{record.name}",
            reason="DATASET_CHANGED",
            metadata={"dataset": name, "run": record.name},
        )
    check_index(dataset, record.settings)
    return dataset


def check_index(dataset: Dataset, settings: RunSettings) -> None:
    """Refuse a run that is to publish by what its samples recite where nobody can tell.

    Raises:
        FailedPrecondition: the dataset has no index; says what to do.
    """
    if settings.publish != "on_best_original" or has_index(dataset):
        return
    name = str(dataset.manifest.get("id", dataset.folder.name))
    remedy = "delete the dataset, build it again, and start the run again, or publish on_best"
    if len(dataset.tokens) > MOST_INDEXED_TOKENS:
        remedy = f"corpora of more than {MOST_INDEXED_TOKENS:,} tokens have none: publish on_best"
    raise FailedPrecondition(
        f"publish is on_best_original, and dataset {name!r} has no index to compare samples with; {remedy}",
        reason="NO_INDEX",
        metadata={"dataset": name},
    )


def has_index(dataset: Dataset) -> bool:
    """Whether a text can be compared with a dataset's documents."""
    return (dataset.folder / SUFFIXES_FILE).is_file()


def facts_of(dataset: Dataset) -> dict[str, Any]:
    """What a run keeps of its dataset's manifest, as RunRecord.dataset_facts has it."""
    names = ("id", "corpus", "header_format", "vocabulary", "vocabulary_digest")
    absent = [name for name in names if name not in dataset.manifest]
    if absent:
        path = dataset.folder / "manifest.json"
        raise Corrupt(f"{path} does not say {', '.join(absent)}", metadata={"file": str(path)})
    return {name: dataset.manifest[name] for name in names} | {"digest": digest_of(dataset)}


def facts_for_publishing(volume: Volume, record: RunRecord) -> dict[str, Any]:
    """The facts of a run's dataset: its own, or the dataset's where it began before runs kept them."""
    return record.dataset_facts or facts_of(open_dataset(volume, record.settings.dataset))


def digest_of(dataset: Dataset) -> str:
    """SHA-256 over the digests of a dataset's files: the same for the same tokens, borders, posts and vocabulary.

    The index follows from them, and datasets of earlier versions have none; nor do they tell the blog's style, from
    which nothing is learned.
    """
    about = (SUFFIXES_FILE, STYLE_FILE)
    files = {name: digest for name, digest in dataset.manifest["files"].items() if name not in about}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _check_vocabulary(about: dict[str, Any], begin: Beginning) -> None:
    if begin.vocabulary_digest == about["vocabulary_digest"]:
        return
    raise FailedPrecondition(
        f"dataset {about['id']!r} is encoded with vocabulary {about['vocabulary']!r} "
        f"({about['vocabulary_digest'][:8]}) and base {begin.word!r} has another "
        f"({begin.vocabulary_digest[:8]}); build a dataset with vocabulary {begin.word!r}",
        reason="VOCABULARY_MISMATCH",
        metadata={
            "dataset": str(about["id"]),
            "dataset_vocabulary_digest": str(about["vocabulary_digest"]),
            "base": begin.word,
            "base_vocabulary_digest": begin.vocabulary_digest,
        },
    )


def open_dataset(volume: Volume, dataset_id: str) -> Dataset:
    """Open a dataset of the volume.

    Raises:
        InvalidRequest: no id, or not a name. NotFound: no such dataset. Corrupt: it is damaged.
    """
    if not dataset_id:
        raise InvalidRequest("no dataset was named: build one and give its id", field="dataset")
    folder = volume.datasets / check_name(dataset_id, field="dataset", kind="dataset")
    if not folder.is_dir():
        raise NotFound(
            f"there is no dataset {dataset_id!r}",
            reason="DATASET_NOT_FOUND",
            metadata={"dataset": dataset_id},
        )
    return Dataset.open(folder)

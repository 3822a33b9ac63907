"""What must be true before a run begins: the dataset and the base are there, sound, and speak one vocabulary.

In: the choices of a request. Out: the run's settings, its architecture, and how its folder is filled.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from services.common.errors import FailedPrecondition, InvalidRequest, NotFound
from services.common.files import check_name, write_json
from services.gpt2.config import FRESH, GPT2Config
from services.tokens.dataset import Dataset
from services.trainer.bases import Bases
from services.trainer.run_settings import RunSettings, resolve
from services.trainer.volume import Volume

VOCABULARY_FILES = ("encoder.json", "vocab.bpe")


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can begin."""

    settings: RunSettings
    config: GPT2Config
    dataset: Dataset

    def fill(self, folder: Path) -> None:
        """Write the architecture and the vocabulary into the run's new folder, which then explains itself."""
        write_json(folder / "hparams.json", self.config.to_hparams())
        for name in VOCABULARY_FILES:
            shutil.copyfile(self.dataset.folder / name, folder / name)


def plan(volume: Volume, bases: Bases, choices: dict[str, Any]) -> Plan:
    """Check the choices of a new run against the volume.

    Raises:
        NotFound: no such dataset or base. Corrupt: a file of theirs is damaged.
        FailedPrecondition: the vocabularies differ (both are named), or the corpus is too small.
        InvalidRequest: a setting is out of its range.
    """
    dataset = open_dataset(volume, choices.get("dataset", ""))
    dataset.verify()
    about = dataset.manifest
    base = choices.get("base", "nano")
    if base in FRESH:
        config = replace(FRESH[base], n_vocab=int(about["vocabulary_size"]))
    else:
        found = bases.get(base)
        config = found.config
        if found.vocabulary_digest != about["vocabulary_digest"]:
            raise FailedPrecondition(
                f"dataset {about['id']!r} is encoded with vocabulary {about['vocabulary']!r} "
                f"({about['vocabulary_digest'][:8]}) and base {base!r} has another "
                f"({found.vocabulary_digest[:8]}); build a dataset with vocabulary {base!r}",
                reason="VOCABULARY_MISMATCH",
                metadata={
                    "dataset": str(about["id"]),
                    "dataset_vocabulary_digest": str(about["vocabulary_digest"]),
                    "base": base,
                    "base_vocabulary_digest": found.vocabulary_digest,
                },
            )
    settings = resolve(
        choices,
        config=config,
        fresh=base in FRESH,
        num_train_tokens=len(dataset.train),
        num_validation_tokens=len(dataset.validation),
    )
    if base in FRESH:
        config = replace(config, n_ctx=settings.context)  # positions that are never trained would only mislead
    return Plan(settings, config, dataset)


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

"""A volume small enough to train on in a test: a vocabulary of bytes, a few documents, two layers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.gpt2.config import GPT2Config
from services.tokens.codec import Codec
from services.tokens.dataset import Dataset
from services.tokens.dataset_writer import DatasetSource, EncodedDocument, write_dataset
from services.tokens.vocabulary import CHARACTER_OF_BYTE, END_OF_TEXT, Vocabulary
from services.trainer.bases import Bases
from services.trainer.run_record import RunRecord
from services.trainer.runs import Runs
from services.trainer.starting import plan
from services.trainer.volume import Volume

CONFIG = GPT2Config(n_vocab=257, n_ctx=32, n_embd=16, n_head=2, n_layer=2)
SETTINGS: dict[str, Any] = {
    "steps": 6,
    "batch_size": 2,
    "context": 16,
    "save_every": 2,
    "sample_every": 3,
    "sample_length": 8,
    "validate_every": 2,
    "learning_rate": 1e-2,
}
TEXTS = [f"Post {number}: the cat sat on the mat, and then it sat on {number} more mats. " * 2 for number in range(12)]


def write_vocabulary(folder: Path, *, end_of_text_first: bool = False) -> Path:
    """Write a vocabulary of the 256 bytes and the end-of-text marker; where it stands changes the digest."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = list(CHARACTER_OF_BYTE.values())
    tokens = [END_OF_TEXT, *tokens] if end_of_text_first else [*tokens, END_OF_TEXT]
    (folder / "encoder.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "vocab.bpe").write_text("#version: 0.2\n")
    return folder


def write_tiny_dataset(data: Path, name: str = "tiny", texts: list[str] = TEXTS, **options: Any) -> Dataset:
    """Write `datasets/<name>` with a fifth of the documents held out."""
    vocabulary_folder = write_vocabulary(data / "vocabularies" / f"of-{name}", **options)
    codec = Codec(Vocabulary.load(vocabulary_folder))
    documents = [
        EncodedDocument(f"{name}/{i}.md", f"{i}.md", f"Post {i}", len(text.encode()), codec.encode(text))
        for i, text in enumerate(texts)
    ]
    source = DatasetSource(id=name, corpus="blog", snapshot="0" * 64, vocabulary="bytes-257", validation_fraction=0.2)
    return write_dataset(data / "datasets" / name, documents, vocabulary_folder=vocabulary_folder, source=source)


def make_run(data: Path, name: str, settings: dict[str, Any], *, base: str = "nano") -> RunRecord:
    """Make a run of the tiny dataset, ready for a training process; a `nano` of it is CONFIG."""
    volume = Volume(data)
    planned = plan(volume, Bases(volume.bases), {"dataset": "tiny", "base": base, **settings})
    if base == "nano":
        planned = replace(planned, config=CONFIG)
    return Runs(volume).create(
        name,
        planned.settings,
        settings,
        num_parameters=planned.config.num_parameters,
        fill=planned.fill,
        dataset_facts=planned.dataset_facts,
    )

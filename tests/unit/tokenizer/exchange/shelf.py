"""A volume whose datasets go out as files and come back, and how two of them are compared."""

from __future__ import annotations

import hashlib
import io
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from services.tokenizer.datasets import Datasets
from services.tokenizer.exporting import ExportFile, Format, export, in_chunks
from services.tokenizer.importing import ImportFile, ImportOrder, import_dataset
from services.tokenizer.vocabularies import Vocabularies
from services.tokens.codec import Codec
from services.tokens.dataset import Dataset
from services.tokens.dataset_writer import DatasetSource, EncodedDocument, write_dataset
from services.tokens.header import compose_header
from services.tokens.split import TRAIN, VALIDATION
from tests.gpt2_files import gpt2_folder

MARK = "<|endoftext|>"
SPLITS = {"train": TRAIN, "val": VALIDATION}
TEXTS = [
    compose_header("On tea", ("tea", "rain"), "2024-01-02") + "It rained.\n",
    compose_header("On “quotes”, and commas", ("a, b",)) + 'He said "no",\nand left.\n\n',
    compose_header("On markers") + f"An author typed {MARK} here,\n{MARK}\nand <|endoftext\u200b|> there.",
    compose_header("", (), "2024-01-03") + f"{MARK}",
    compose_header("x") + "title: not a header\n\n\n  indented 日本語 \U0001f600\n\t",
    *(compose_header(f"Post {n}") + f"Words about post {n}. " * (n + 1) for n in range(8)),
]


class Shelf:
    """A volume with GPT-2's vocabulary, and a dataset of texts."""

    def __init__(self, data: Path, codec: Codec) -> None:
        base = data / "base" / "124M"
        base.mkdir(parents=True)
        for name in ("encoder.json", "vocab.bpe"):
            (base / name).write_bytes((gpt2_folder() / name).read_bytes())
        self.data, self.codec, self.base = data, codec, base
        self.vocabularies, self.datasets = Vocabularies(data), Datasets(data)

    def dataset(self, texts: list[str], header_format: str = "header-v1", name: str = "blog-1") -> Dataset:
        source = DatasetSource(
            id=name,
            corpus="blog",
            snapshot="ab" * 32,
            vocabulary="124M",
            validation_fraction=0.3,
            header_format=header_format,
        )
        documents = (
            EncodedDocument(f"blog/{n:03}", f"{n:03}.md", f"T{n}", len(text.encode()), self.codec.encode(text))
            for n, text in enumerate(texts)
        )
        return write_dataset(self.datasets.clear(name), documents, vocabulary_folder=self.base, source=source)

    def export(self, dataset: Dataset, form: Format) -> Path:
        folder = self.data / f"export-{form}-{uuid.uuid4().hex}"
        folder.mkdir()
        for item in in_chunks(export(dataset, form), 1000):
            if isinstance(item, ExportFile):
                path = folder / item.name
                path.write_bytes(b"")
            else:
                assert 0 < len(item) <= 1000
                with path.open("ab") as file:
                    file.write(item)
        return folder

    def load(self, form: Format, *paths: Path, **values: Any) -> Dataset:
        return self.load_counting(form, *paths, **values)[0]

    def load_counting(self, form: Format, *paths: Path, **values: Any) -> tuple[Dataset, int]:
        files = tuple(
            ImportFile(path, path.name, hashlib.sha256(path.read_bytes()).hexdigest(), SPLITS.get(path.stem))
            for path in paths
        )
        values.setdefault("vocabulary", "124M")
        order = ImportOrder(form=form, corpus="imported", files=files, **values)
        return import_dataset(order, self.vocabularies, self.datasets)

    def file(self, name: str, content: bytes) -> Path:
        path = self.data / name
        path.write_bytes(content)
        return path


def documents_of(dataset: Dataset, side: int) -> list[list[int]]:
    return [dataset.tokens[d["start"] : d["end"]].tolist() for d in dataset.documents if d["split"] == side]


def files_of(folder: Path, form: Format) -> list[Path]:
    return sorted(folder.glob(f"*.{form}"))


def assert_equal(ours: Dataset, other: Dataset) -> None:
    for side in (TRAIN, VALIDATION):
        assert documents_of(ours, side) == documents_of(other, side)
    assert ours.documents["num_bytes"].sum() == other.documents["num_bytes"].sum()
    for key in ("num_tokens", "num_train_tokens", "num_validation_bytes", "header_format", "vocabulary_digest"):
        assert ours.manifest[key] == other.manifest[key]
    other.verify()


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


IDS = np.arange(1000)

"""Datasets on disk: what is written is what is read, and damage is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.common.errors import Corrupt, FailedPrecondition
from services.tokens.codec import Codec
from services.tokens.dataset import Dataset
from services.tokens.dataset_writer import DatasetSource, EncodedDocument, write_dataset
from services.tokens.vocabulary import CHARACTER_OF_BYTE, END_OF_TEXT, Vocabulary

SOURCE = DatasetSource(id="blog-0123", corpus="blog", snapshot="ab" * 32, vocabulary="gpt2", validation_fraction=0.3)
TEXTS = [f"post number {n} " * (n + 1) for n in range(12)]


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the smallest vocabulary: the bytes and the marker, id 256."""
    folder = tmp_path_factory.mktemp("vocabulary")
    tokens = [*CHARACTER_OF_BYTE.values(), END_OF_TEXT]
    (folder / "encoder.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "vocab.bpe").write_text("#version: 0.2\n")
    return folder


def encoded(texts: list[str], vocabulary: Path) -> Iterator[EncodedDocument]:
    codec = Codec(Vocabulary.load(vocabulary))
    for n, text in enumerate(texts):
        yield EncodedDocument(f"blog/{n:03}.md", f"{n:03}.md", f"Post {n}", len(text.encode()), codec.encode(text))


@pytest.fixture
def dataset(tmp_path: Path, small: Path) -> Dataset:
    return write_dataset(tmp_path / "blog-0123", encoded(TEXTS, small), vocabulary_folder=small, source=SOURCE)


def test_each_document_is_stored_as_its_ids_and_the_end_of_text(dataset: Dataset) -> None:
    codec = Codec(dataset.vocabulary())

    assert dataset.tokens.dtype == np.uint16
    assert not dataset.tokens.flags.writeable
    for text, document in zip(TEXTS, dataset.documents, strict=True):
        ids = dataset.tokens[document["start"] : document["end"]].tolist()
        assert ids[-1] == dataset.end_of_text_id == 256
        assert codec.decode(ids[:-1]) == text
        assert document["num_bytes"] == len(text)


def test_train_and_validation_share_out_every_token(dataset: Dataset) -> None:
    manifest = dataset.manifest

    assert len(dataset.train) == manifest["num_train_tokens"] > 0
    assert len(dataset.validation) == manifest["num_validation_tokens"] > 0
    assert len(dataset.train) + len(dataset.validation) == manifest["num_tokens"] == len(dataset.tokens)
    assert dataset.validation.num_bytes == manifest["num_validation_bytes"]
    assert dataset.train.num_bytes + dataset.validation.num_bytes == sum(map(len, TEXTS))


def test_any_window_equals_that_of_the_joined_documents(dataset: Dataset) -> None:
    joined = np.concatenate([dataset.tokens[d["start"] : d["end"]] for d in dataset.train.documents])

    assert (dataset.train.all() == joined).all()
    for start in range(0, len(joined), 7):
        for length in (0, 1, 5, 60):
            if start + length <= len(joined):
                assert (dataset.train.window(start, length) == joined[start : start + length]).all()
    with pytest.raises(ValueError, match="does not lie within"):
        dataset.train.window(len(joined) - 3, 4)


def test_the_manifest_tells_what_the_dataset_was_made_of(dataset: Dataset) -> None:
    manifest = json.loads((dataset.folder / "manifest.json").read_text())

    assert manifest["kind"] == "dataset"
    assert (manifest["id"], manifest["corpus"], manifest["snapshot"]) == ("blog-0123", "blog", "ab" * 32)
    assert (manifest["vocabulary_size"], manifest["dtype"], manifest["num_documents"]) == (
        257,
        "uint16",
        12,
    )
    assert manifest["vocabulary_digest"] == dataset.vocabulary().digest
    assert set(manifest["files"]) == {
        "tokens.npy",
        "documents.npy",
        "posts.json",
        "suffixes.npy",
        "encoder.json",
        "vocab.bpe",
    }
    assert dataset.posts()[3] == {"id": "blog/003.md", "path": "003.md", "title": "Post 3"}
    dataset.verify()


def test_a_single_document_is_for_training(tmp_path: Path, small: Path) -> None:
    dataset = write_dataset(tmp_path / "one", encoded(["only"], small), vocabulary_folder=small, source=SOURCE)

    assert len(dataset.train) == len("only") + 1
    assert len(dataset.validation) == 0
    assert dataset.validation.all().shape == (0,)


def test_an_empty_corpus_is_refused_and_leaves_nothing(tmp_path: Path, small: Path) -> None:
    with pytest.raises(FailedPrecondition, match="'blog' has no documents"):
        write_dataset(tmp_path / "none", encoded([], small), vocabulary_folder=small, source=SOURCE)

    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path, small: Path) -> None:
    def broken() -> Iterator[EncodedDocument]:
        yield from encoded(TEXTS[:2], small)
        raise OSError("the stream broke")

    with pytest.raises(OSError, match="the stream broke"):
        write_dataset(tmp_path / "half", broken(), vocabulary_folder=small, source=SOURCE)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["tokens.npy", "documents.npy", "manifest.json"])
@pytest.mark.parametrize("keep", [None, 0, 5, 150])
def test_a_missing_or_truncated_file_is_named(dataset: Dataset, name: str, keep: int | None) -> None:
    path = dataset.folder / name
    content = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(content[:keep])

    with pytest.raises(Corrupt, match=name):
        Dataset.open(dataset.folder)


@pytest.mark.parametrize("content", ["[]", "{}", '{"kind": "dataset"}', '{"kind": "dataset", "num_tokens": 3}'])
def test_a_manifest_that_is_json_but_no_datasets_is_named(dataset: Dataset, content: str) -> None:
    (dataset.folder / "manifest.json").write_text(content)
    with pytest.raises(Corrupt, match=r"manifest\.json is damaged"):
        Dataset.open(dataset.folder)


def test_a_changed_byte_is_found_by_verification(dataset: Dataset) -> None:
    path = dataset.folder / "tokens.npy"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)

    with pytest.raises(Corrupt, match=r"tokens\.npy is damaged"):
        Dataset.open(dataset.folder).verify()

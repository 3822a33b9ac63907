"""Building datasets: the same order gives the same dataset, and each document is its header and text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.errors import Cancelled, FailedPrecondition, NotFound
from services.tokenizer.building import Order, build_dataset, train_on
from services.tokenizer.datasets import Datasets
from services.tokenizer.documents import Document, Snapshot
from services.tokenizer.vocabularies import Vocabularies
from services.tokens.codec import Codec

SNAPSHOT = Snapshot("blog", "cd" * 32, 12)
ORDER = Order(snapshot=SNAPSHOT, own_vocabulary_size=300, validation_fraction=0.3)


class Reader:
    """Hands out a dozen documents and counts how often it was opened."""

    def __init__(self) -> None:
        self.num_opened = 0

    def __call__(self) -> Iterator[Document]:
        self.num_opened += 1
        for n in range(12):
            tags = ("tea", "rain") if n % 2 else ()
            text = f"Post {n} is about tea.\n" * 5
            yield Document(f"blog/{n:02}.md", f"{n:02}.md", f"On tea {n}", tags, "2024-01-02", text)


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Vocabularies, Datasets]:
    return Vocabularies(tmp_path), Datasets(tmp_path)


def test_documents_are_their_header_and_text(stores: tuple[Vocabularies, Datasets]) -> None:
    dataset = build_dataset(ORDER, Reader(), *stores)
    codec = Codec(dataset.vocabulary())

    first, second = (dataset.tokens[d["start"] : d["end"] - 1].tolist() for d in dataset.documents[:2])
    assert codec.decode(first).startswith("title: On tea 0\ndate: 2024-01-02\n\nPost 0 is about tea.\n")
    assert codec.decode(second).startswith("title: On tea 1\ntags: tea, rain\ndate: 2024-01-02\n\nPost 1")
    assert dataset.documents["num_bytes"][0] == len(codec.decode_bytes(first))
    assert dataset.manifest["header_format"] == "header-v1"


def test_without_header_documents_are_their_text(stores: tuple[Vocabularies, Datasets]) -> None:
    dataset = build_dataset(dataclasses.replace(ORDER, header_format="none"), Reader(), *stores)

    ids = dataset.tokens[: dataset.documents["end"][0] - 1].tolist()
    assert Codec(dataset.vocabulary()).decode(ids) == "Post 0 is about tea.\n" * 5
    assert dataset.manifest["header_format"] == "none"


def test_the_same_order_is_built_once(stores: tuple[Vocabularies, Datasets]) -> None:
    reader = Reader()
    first = build_dataset(ORDER, reader, *stores)
    opened = reader.num_opened

    again = build_dataset(ORDER, reader, *stores)

    assert again.manifest == first.manifest
    assert reader.num_opened == opened


def test_a_named_vocabulary_gives_the_same_tokens_as_the_own_one(
    stores: tuple[Vocabularies, Datasets],
) -> None:
    own = build_dataset(ORDER, Reader(), *stores)
    facts = stores[0].facts(own.manifest["vocabulary"])

    named_order = dataclasses.replace(ORDER, own_vocabulary_size=0, vocabulary=facts.id, vocabulary_digest=facts.digest)
    named = build_dataset(named_order, Reader(), *stores)

    assert named.manifest["vocabulary_digest"] == own.manifest["vocabulary_digest"]
    assert (named.tokens == own.tokens).all()


@pytest.mark.parametrize(
    "change",
    [
        {"snapshot": Snapshot("blog", "ef" * 32, 12)},
        {"own_vocabulary_size": 301},
        {"validation_fraction": 0.2},
        {"header_format": "none"},
    ],
)
def test_each_part_of_an_order_changes_the_id(change: dict[str, object]) -> None:
    changed = dataclasses.replace(ORDER, **change)

    assert changed.dataset_id.startswith("blog-")
    assert changed.dataset_id != ORDER.dataset_id == dataclasses.replace(ORDER).dataset_id


def test_a_damaged_dataset_is_built_anew(stores: tuple[Vocabularies, Datasets]) -> None:
    dataset = build_dataset(ORDER, Reader(), *stores)
    content = bytearray((dataset.folder / "tokens.npy").read_bytes())
    content[-1] ^= 1
    (dataset.folder / "tokens.npy").write_bytes(content)

    rebuilt = build_dataset(ORDER, Reader(), *stores)

    rebuilt.verify()
    assert rebuilt.manifest["files"] == dataset.manifest["files"]


def test_progress_counts_documents_and_may_end_the_work(stores: tuple[Vocabularies, Datasets], tmp_path: Path) -> None:
    seen: list[int] = []

    def progress(done: int) -> None:
        seen.append(done)
        if done == 5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        build_dataset(ORDER, Reader(), *stores, progress=progress)

    assert seen[-6:] == [0, 1, 2, 3, 4, 5]
    assert [path for path in (tmp_path / "datasets").iterdir() if path.name != ".builds"] == []


def test_cancelling_stops_the_training_of_a_vocabulary(stores: tuple[Vocabularies, Datasets]) -> None:
    def progress(done: int) -> None:
        raise Cancelled("at once")

    with pytest.raises(Cancelled):
        train_on(SNAPSHOT, Reader(), 300, stores[0], progress=progress)

    assert stores[0].all() == []


def test_a_vocabulary_is_trained_once_per_snapshot_and_size(stores: tuple[Vocabularies, Datasets]) -> None:
    reader = Reader()
    first = train_on(SNAPSHOT, reader, 300, stores[0])
    opened = reader.num_opened

    assert train_on(SNAPSHOT, reader, 300, stores[0]) == first
    assert reader.num_opened == opened
    assert train_on(SNAPSHOT, reader, 280, stores[0]).size == 280
    assert first.bytes_per_token is not None
    assert first.bytes_per_token > 1.5


def test_an_empty_snapshot_is_refused(stores: tuple[Vocabularies, Datasets]) -> None:
    empty = Snapshot("blog", "cd" * 32, 0)

    with pytest.raises(FailedPrecondition, match="no documents"):
        build_dataset(dataclasses.replace(ORDER, snapshot=empty), lambda: iter(()), *stores)


def test_a_vocabulary_that_is_gone_or_changed_is_refused(stores: tuple[Vocabularies, Datasets]) -> None:
    order = dataclasses.replace(ORDER, own_vocabulary_size=0, vocabulary="gone", vocabulary_digest="ab" * 32)
    with pytest.raises(NotFound, match="gone"):
        build_dataset(order, Reader(), *stores)

    facts = train_on(SNAPSHOT, Reader(), 300, stores[0])
    with pytest.raises(FailedPrecondition, match="changed"):
        build_dataset(dataclasses.replace(order, vocabulary=facts.id), Reader(), *stores)


def test_held_out_documents_do_not_shape_the_vocabulary(stores: tuple[Vocabularies, Datasets]) -> None:
    dataset = build_dataset(ORDER, Reader(), *stores)
    held_out = {n for n, document in enumerate(dataset.documents) if document["split"]}

    def changed() -> Iterator[Document]:
        for n, document in enumerate(Reader()()):
            text = "zebra quagga zebra quagga" * 20 if n in held_out else document.text
            yield dataclasses.replace(document, text=text)

    other = dataclasses.replace(ORDER, snapshot=Snapshot("blog", "ab" * 32, 12))
    assert held_out
    assert build_dataset(other, changed, *stores).vocabulary().digest == dataset.vocabulary().digest

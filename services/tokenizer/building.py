"""Builds a dataset from a snapshot's documents, and trains a vocabulary on them where one is asked for.

In: documents that can be read twice, one at a time. Out: a folder in `vocabularies/` or `datasets/`.
Memory does not grow with the corpus, apart from a few numbers and a title per document.
Knows nothing of queues and states (builds.py), nor of where documents come from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.common.errors import FailedPrecondition
from services.tokenizer.datasets import Datasets
from services.tokenizer.documents import OpenDocuments, Snapshot, text_for_model
from services.tokenizer.encoding import Progress, encode_documents
from services.tokenizer.training import train_vocabulary
from services.tokenizer.vocabularies import LONGEST_PREFIX, Vocabularies, VocabularyFacts
from services.tokens.codec import Codec
from services.tokens.dataset import Dataset
from services.tokens.dataset_writer import DatasetSource, write_dataset
from services.tokens.header import HEADER_V1
from services.tokens.split import TRAIN, split_documents

DEFAULT_VALIDATION_FRACTION = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a dataset is to be built from; equal orders give the same dataset.

    Attributes:
        vocabulary: a vocabulary or base model by name; empty when one is to be trained.
        vocabulary_digest: its digest; empty when one is to be trained.
        own_vocabulary_size: entries of a vocabulary to train; 0 when one is named.
        validation_fraction: share of documents held out, 0 to below 1.
    """

    snapshot: Snapshot
    vocabulary: str = ""
    vocabulary_digest: str = ""
    own_vocabulary_size: int = 0
    validation_fraction: float = DEFAULT_VALIDATION_FRACTION
    header_format: str = HEADER_V1

    @property
    def dataset_id(self) -> str:
        """`<corpus>-<12 hex digits>`, the digits from everything that decides the dataset's content.

        Training is deterministic, so a vocabulary to be trained is told by its size.
        """
        vocabulary = self.vocabulary_digest or f"own:{self.own_vocabulary_size}"
        parts = [self.snapshot.digest, vocabulary, self.validation_fraction, self.header_format]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return f"{self.snapshot.corpus[:LONGEST_PREFIX]}-{digest[:12]}"


def train_on(
    snapshot: Snapshot,
    open_documents: OpenDocuments,
    size: int,
    vocabularies: Vocabularies,
    *,
    validation_fraction: float = 0.0,
    header_format: str = HEADER_V1,
    progress: Progress = lambda done: None,
) -> VocabularyFacts:
    """Train a vocabulary on a snapshot, or return the one that was trained on it before.

    Args:
        validation_fraction: share of documents that a dataset will hold out, 0 to below 1. They are left out
            here too: a vocabulary that has seen them would flatter the model that is judged by them.

    Raises:
        InvalidRequest: `size` is out of range.
        FailedPrecondition: the snapshot holds no document.
    """
    source: dict[str, Any] = {
        "corpus": snapshot.corpus,
        "snapshot": snapshot.digest,
        "requested_size": size,
        "validation_fraction": validation_fraction,
        "header_format": header_format,
    }
    known = vocabularies.find_trained(source)
    if known is not None:
        return known
    if snapshot.num_documents == 0:
        raise _no_documents(snapshot.corpus)

    sides = split_documents(((document.id, document.split) for document in open_documents()), validation_fraction)

    def texts() -> Iterator[str]:
        for document, side in zip(open_documents(), sides, strict=True):
            progress(0)  # documents count as done when they are encoded
            if side == TRAIN:
                yield text_for_model(document, header_format)

    trained = train_vocabulary(texts(), size)
    codec = Codec(trained.parse())
    num_bytes = num_tokens = 0
    for text in texts():
        num_bytes += len(text.encode())
        num_tokens += len(codec.encode(text))
    return vocabularies.add(trained, source, bytes_per_token=num_bytes / max(num_tokens, 1))


def build_dataset(
    order: Order,
    open_documents: OpenDocuments,
    vocabularies: Vocabularies,
    datasets: Datasets,
    *,
    style: Mapping[str, Any] | None = None,
    created_at: str = "",
    num_processes: int = 1,
    progress: Progress = lambda done: None,
) -> Dataset:
    """Write the dataset of an order and return it; one that is there and whole is returned as it is.

    Args:
        style: how the blog writes its posts, as services.blog tells it; goes with the dataset.
        created_at: when it was asked for, ISO 8601.
        num_processes: how many encode at a time.
        progress: told documents done; what it raises ends the work and leaves no dataset.

    Raises:
        NotFound: the vocabulary is gone.
        FailedPrecondition: the snapshot holds no document, or the vocabulary's content has changed.
    """
    known = datasets.find_whole(order.dataset_id)
    if known is not None:
        return known
    if order.own_vocabulary_size:
        facts = train_on(
            order.snapshot,
            open_documents,
            order.own_vocabulary_size,
            vocabularies,
            validation_fraction=order.validation_fraction,
            header_format=order.header_format,
            progress=progress,
        )
    else:
        facts = vocabularies.facts(order.vocabulary)
        if facts.digest != order.vocabulary_digest:
            raise FailedPrecondition(
                f"vocabulary {order.vocabulary!r} changed since the dataset was asked for; ask again"
            )
    source = DatasetSource(
        id=order.dataset_id,
        corpus=order.snapshot.corpus,
        snapshot=order.snapshot.digest,
        vocabulary=facts.id,
        validation_fraction=order.validation_fraction,
        header_format=order.header_format,
        created_at=created_at,
    )
    encoded = encode_documents(
        open_documents(),
        codec=vocabularies.codec(facts.id),
        vocabulary_folder=facts.folder,
        header_format=order.header_format,
        num_processes=num_processes,
        progress=progress,
    )
    folder = datasets.clear(order.dataset_id)
    return write_dataset(folder, encoded, vocabulary_folder=facts.folder, source=source, style=style)


def _no_documents(corpus: str) -> FailedPrecondition:
    return FailedPrecondition(f"corpus {corpus!r} has no documents in this snapshot; add posts first")

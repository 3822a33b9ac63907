"""Counts the tokens of a corpus as a dataset of it would hold them.

A snapshot never changes, so what was counted once is known; a dataset that is there has it in its manifest.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from services.common.errors import Corrupt, FailedPrecondition
from services.tokenizer.datasets import Datasets
from services.tokenizer.documents import OpenDocuments, Snapshot
from services.tokenizer.encoding import Progress, encode_documents
from services.tokenizer.vocabularies import Vocabularies, VocabularyFacts
from services.tokens.dataset import Dataset
from services.tokens.header import HEADER_V1

COUNTS_KEPT = 1000
_WAIT_S = 0.2


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens with headers and end-of-text markers, UTF-8 bytes with headers, documents."""

    num_tokens: int
    num_bytes: int
    num_documents: int


class Counting:
    """Counts one corpus at a time and remembers the result. Safe to share between threads."""

    def __init__(self, vocabularies: Vocabularies, datasets: Datasets, num_processes: int) -> None:
        self._vocabularies = vocabularies
        self._datasets = datasets
        self._num_processes = num_processes
        self._known: OrderedDict[tuple[str, str], Counts] = OrderedDict()
        self._lock = threading.Lock()

    def count(
        self, snapshot: Snapshot, open_documents: OpenDocuments, vocabulary: VocabularyFacts, *, progress: Progress
    ) -> Counts:
        """The counts of a snapshot.

        Args:
            progress: told documents done; what it raises ends the work.

        Raises:
            FailedPrecondition: the snapshot holds no document.
        """
        key = (snapshot.digest, vocabulary.digest)
        while not self._lock.acquire(timeout=_WAIT_S):
            progress(0)
        try:
            counts = self._known.get(key) or self._in_datasets(*key)
            if counts is None:
                counts = self._encode(open_documents, vocabulary, progress)
            if not counts.num_documents:
                raise FailedPrecondition(f"corpus {snapshot.corpus!r} has no documents in this snapshot")
            self._known[key] = counts
            self._known.move_to_end(key)
            while len(self._known) > COUNTS_KEPT:
                self._known.popitem(last=False)
            return counts
        finally:
            self._lock.release()

    def _in_datasets(self, snapshot: str, vocabulary: str) -> Counts | None:
        for manifest in self._datasets.manifests():
            wanted = (snapshot, vocabulary, HEADER_V1)
            if (manifest["snapshot"], manifest["vocabulary_digest"], manifest["header_format"]) == wanted:
                try:
                    dataset = Dataset.open(self._datasets.folder / manifest["id"])
                except Corrupt:
                    continue  # it is built again when it is needed
                num_bytes = int(dataset.documents["num_bytes"].sum())
                return Counts(len(dataset.tokens), num_bytes, len(dataset.documents))
        return None

    def _encode(self, open_documents: OpenDocuments, vocabulary: VocabularyFacts, progress: Progress) -> Counts:
        num_tokens = num_bytes = num_documents = 0
        for document in encode_documents(
            open_documents(),
            codec=self._vocabularies.codec(vocabulary.id),
            vocabulary_folder=vocabulary.folder,
            header_format=HEADER_V1,
            num_processes=self._num_processes,
            progress=progress,
        ):
            num_tokens += len(document.ids) + 1
            num_bytes += document.num_bytes
            num_documents += 1
        return Counts(num_tokens, num_bytes, num_documents)

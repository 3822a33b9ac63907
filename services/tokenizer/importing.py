"""Makes a dataset from the files of other tools.

In: files on disk, what they are, and a vocabulary. Out: a dataset like any other, written whole or not at all.
Token ids are taken as they are; text is encoded, with a vocabulary trained on it where one is asked for.
Each file is read twice: first to see that all of it can be used and what it holds, then to write.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from services.common.errors import InvalidRequest
from services.tokenizer.building import DEFAULT_VALIDATION_FRACTION, train_on
from services.tokenizer.datasets import Datasets
from services.tokenizer.documents import Document, Snapshot
from services.tokenizer.encoding import Progress, encode_documents
from services.tokenizer.exporting import Format
from services.tokenizer.formats import text_files, token_files
from services.tokenizer.formats.text_files import TextDocument
from services.tokenizer.vocabularies import LONGEST_PREFIX, Vocabularies
from services.tokens.codec import Codec
from services.tokens.dataset import Dataset
from services.tokens.dataset_writer import DatasetSource, EncodedDocument, write_dataset
from services.tokens.header import HEADER_NONE, HEADER_V1, part_header
from services.tokens.vocabulary import END_OF_TEXT

T = TypeVar("T")

# Ids from which a header is told; a title and tags of this length are nobody's.
_HEADER_TOKENS = 1000
_HEADER_BYTES = 10_000
_TEXT_READERS = {
    Format.JSONL: text_files.read_jsonl,
    Format.TXT: text_files.read_txt,
    Format.CSV: text_files.read_csv,
}


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file to import: where it is, what messages call it, its SHA-256, and the side it holds or None."""

    path: Path
    name: str
    sha256: str
    split: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOrder:
    """What to make a dataset from.

    Attributes:
        vocabulary: name of the vocabulary; empty when one is to be trained, for text alone.
        header: JSON lines: whether to write one. Others: whether the documents have one; None finds out.
    """

    form: Format
    corpus: str
    files: tuple[ImportFile, ...]
    vocabulary: str = ""
    own_vocabulary_size: int = 0
    validation_fraction: float = DEFAULT_VALIDATION_FRACTION
    header: bool | None = None

    @property
    def snapshot_digest(self) -> str:
        """What stands for the snapshot's digest: that of the files and of how they are read."""
        files = [[file.sha256, file.split] for file in self.files]
        return hashlib.sha256(json.dumps(["import", self.form, self.header, files]).encode()).hexdigest()

    def dataset_id(self, vocabulary_digest: str) -> str:
        """As of a dataset that was built: equal orders give the same."""
        vocabulary = vocabulary_digest or f"own:{self.own_vocabulary_size}"
        parts = [self.snapshot_digest, vocabulary, self.validation_fraction]
        return f"{self.corpus[:LONGEST_PREFIX]}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]}"


@dataclass(slots=True)
class _Seen:
    """What the first reading saw."""

    num_documents: int = 0
    num_empty: int = 0
    num_with_header: int = 0
    has_end_of_text: bool = False

    def note(self, beginning: str, *, is_empty: bool) -> None:
        """Count a document by its beginning."""
        if is_empty:
            self.num_empty += 1
        else:
            self.num_documents += 1
            self.num_with_header += part_header(beginning) is not None


def import_dataset(
    order: ImportOrder,
    vocabularies: Vocabularies,
    datasets: Datasets,
    *,
    num_processes: int = 1,
    progress: Progress = lambda done: None,
) -> tuple[Dataset, int]:
    """Write the dataset of an order, or find it, and return it with the number of empty documents left out.

    Raises:
        InvalidRequest: a file is not what the format says, holds no document, or ids of another vocabulary.
        NotFound: no such vocabulary.
    """
    facts = vocabularies.facts(order.vocabulary) if order.vocabulary else None
    codec = vocabularies.codec(facts.id) if facts is not None else None
    are_ids = order.form.holds_ids
    if are_ids:
        if codec is None:
            raise InvalidRequest("token ids need the vocabulary that they were made with: name it", field="vocabulary")
        seen = _look_at_ids(order, codec, progress)
        # encode.py of 2019 wrote the marker as seven ordinary tokens. Its files are read as the text that they were.
        are_ids = seen.has_end_of_text or order.form is not Format.NPZ
    if not are_ids:
        seen = _look_at_texts(order, codec, progress)
    if not seen.num_documents:
        names = ", ".join(file.name for file in order.files)
        raise InvalidRequest(f"{names}: no document is in there", field="file")
    dataset_id = order.dataset_id(facts.digest if facts is not None else "")
    known = datasets.find_whole(dataset_id)
    if known is not None:
        return known, seen.num_empty
    # JSON lines hold title, tags and date apart from the text; other formats have them in it, or nowhere.
    written = HEADER_V1 if order.form is Format.JSONL and order.header is not False else HEADER_NONE
    has_header = order.header if order.header is not None else seen.num_with_header * 2 > seen.num_documents
    found = HEADER_V1 if order.form is not Format.JSONL and has_header else written
    if facts is None:
        facts = train_on(
            Snapshot(order.corpus, order.snapshot_digest, seen.num_documents),
            lambda: _texts(order, None),
            order.own_vocabulary_size,
            vocabularies,
            validation_fraction=order.validation_fraction,
            header_format=written,
            progress=progress,
        )
        codec = vocabularies.codec(facts.id)
    assert codec is not None
    documents = (
        _with_progress(_encoded(order, codec), progress)
        if are_ids
        else encode_documents(
            _texts(order, codec),
            codec=codec,
            vocabulary_folder=facts.folder,
            header_format=written,
            num_processes=num_processes,
            progress=progress,
        )
    )
    source = DatasetSource(
        id=dataset_id,
        corpus=order.corpus,
        snapshot=order.snapshot_digest,
        vocabulary=facts.id,
        validation_fraction=order.validation_fraction,
        header_format=found,
    )
    folder = datasets.clear(dataset_id)
    return write_dataset(folder, documents, vocabulary_folder=facts.folder, source=source), seen.num_empty


def _look_at_ids(order: ImportOrder, codec: Codec, progress: Progress) -> _Seen:
    seen = _Seen()
    for _, _, ids in _with_progress(_arrays(order, codec, seen), progress):
        beginning = codec.decode(ids[:_HEADER_TOKENS].tolist())
        seen.note(beginning, is_empty=not len(ids))
    return seen


def _look_at_texts(order: ImportOrder, codec: Codec | None, progress: Progress) -> _Seen:
    seen = _Seen()
    for _, _, document in _with_progress(_text_documents(order, codec), progress):
        seen.note(document.text, is_empty=not document.text.strip())
    return seen


def _arrays(order: ImportOrder, codec: Codec, seen: _Seen) -> Iterator[tuple[ImportFile, int, np.ndarray]]:
    """Each document's ids, with its file and its number in it."""
    end_of_text_id = codec.vocabulary.end_of_text_id

    def noting(blocks: token_files.Blocks) -> token_files.Blocks:
        for block in blocks:
            seen.has_end_of_text |= block is not None and bool((block == end_of_text_id).any())
            yield block

    read = token_files.read_npz if order.form is Format.NPZ else token_files.read_bin
    for file in order.files:
        blocks = noting(read(file.path, file.name, codec.vocabulary.size))
        for number, ids in enumerate(token_files.documents(blocks, end_of_text_id, file.name)):
            yield file, number, ids


def _encoded(order: ImportOrder, codec: Codec) -> Iterator[EncodedDocument]:
    for file, number, ids in _arrays(order, codec, _Seen()):
        if len(ids):
            content = codec.decode_bytes(ids.tolist())
            parted = part_header(content[:_HEADER_BYTES].decode("utf-8", "replace"))
            yield EncodedDocument(
                id=_document_id(order, content),
                path=f"{file.name}#{number}",
                title=parted.title if parted is not None else "",
                num_bytes=len(content),
                ids=ids,
                split=file.split,
            )


def _text_documents(order: ImportOrder, codec: Codec | None) -> Iterator[tuple[ImportFile, int, TextDocument]]:
    """Each document of a text file, or of token ids that have to be read as text, empty ones too."""
    found: Iterator[TextDocument]
    for file in order.files:
        if order.form.holds_ids:
            assert codec is not None
            blocks = token_files.read_npz(file.path, file.name, codec.vocabulary.size)
            arrays = token_files.documents(blocks, codec.vocabulary.end_of_text_id, file.name)
            found = (
                TextDocument(text)
                for ids in arrays
                for text in codec.decode(ids.tolist()).removesuffix(END_OF_TEXT).split(END_OF_TEXT)
            )
        else:
            found = _TEXT_READERS[order.form](file.path, file.name)
        for number, document in enumerate(found):
            yield file, number, document


def _texts(order: ImportOrder, codec: Codec | None) -> Iterator[Document]:
    for file, number, document in _text_documents(order, codec):
        if document.text.strip():
            yield Document(
                id=document.id or _document_id(order, document.text.encode()),
                path=document.path or f"{file.name}#{number}",
                title=document.title,
                tags=document.tags,
                date=document.date,
                text=document.text,
                split=document.split if document.split is not None else file.split,
            )


def _document_id(order: ImportOrder, content: bytes) -> str:
    """An id that depends on the content alone, so that files with more documents split the old ones as before."""
    return f"{order.corpus}/{hashlib.sha256(content).hexdigest()[:16]}"


def _with_progress(items: Iterator[T], progress: Progress) -> Iterator[T]:
    for done, item in enumerate(items):
        progress(done)
        yield item

"""Writes a dataset's folder from a stream of encoded documents.

In: documents in the order of their post id. Out: the files that dataset.py and index_files.py describe, whole or not at
all. Only sorting the index takes memory that grows with the corpus, about 40 bytes a token.
Each of the three files with a row per document grows as documents come; what is known at the end alone (lengths, and
the one document that may change sides) is written over its place.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from services.common.errors import FailedPrecondition
from services.common.files import new_folder, sha256_files, write_json
from services.tokens.dataset import (
    DOCUMENT_TYPE,
    DOCUMENTS_FILE,
    MANIFEST_FILE,
    POSTS_FILE,
    STYLE_FILE,
    TOKENS_FILE,
    Dataset,
    token_type,
)
from services.tokens.header import HEADER_V1
from services.tokens.index_files import write_index
from services.tokens.split import VALIDATION, Splitter
from services.tokens.vocabulary import ENCODER_FILE, MERGES_FILE, Vocabulary

_ROW = struct.Struct("<qqqB")  # DOCUMENT_TYPE
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class EncodedDocument:
    """One document as ids, without the end-of-text id; `num_bytes` counts its text in UTF-8.

    `split` puts it on a side; None lets its id decide.
    """

    id: str
    path: str
    title: str
    num_bytes: int
    ids: Sequence[int] | np.ndarray
    split: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSource:
    """What a dataset is made of: the part of its manifest that is known before the first document."""

    id: str
    corpus: str
    snapshot: str  # the snapshot's digest
    vocabulary: str  # a vocabulary's id, or a base model's name
    validation_fraction: float
    header_format: str = HEADER_V1
    created_at: str = ""  # ISO 8601 with time zone; empty: when the folder is written


@dataclass(slots=True)
class _Counts:
    """What is known once all documents are written."""

    num_documents: int = 0
    num_tokens: int = 0
    num_validation_tokens: int = 0
    num_validation_bytes: int = 0

    def note(self, side: int, num_tokens: int, num_bytes: int, *, moved: bool = False) -> None:
        """Count a document on its side, or the move of one to that side."""
        if side == VALIDATION or moved:
            sign = 1 if side == VALIDATION else -1
            self.num_validation_tokens += sign * num_tokens
            self.num_validation_bytes += sign * num_bytes


def write_dataset(
    folder: Path,
    documents: Iterable[EncodedDocument],
    *,
    vocabulary_folder: Path,
    source: DatasetSource,
    style: Mapping[str, Any] | None = None,
) -> Dataset:
    """Write `folder` and return it opened.

    Args:
        folder: must not exist; appears complete or not at all.
        documents: in the order of their ids; taken one by one.
        vocabulary_folder: where `encoder.json` and `vocab.bpe` are copied from.
        style: how the blog writes its posts, as services.blog tells it; None: nobody knows.

    Raises:
        FailedPrecondition: there are no documents.
        FileExistsError: `folder` exists.
    """
    vocabulary = Vocabulary.load(vocabulary_folder)
    with new_folder(folder) as partial:
        for name in (ENCODER_FILE, MERGES_FILE):
            shutil.copyfile(vocabulary_folder / name, partial / name)
        counts = _write_documents(partial, documents, vocabulary, Splitter(source.validation_fraction))
        if not counts.num_documents:
            raise FailedPrecondition(f"corpus {source.corpus!r} has no documents in this snapshot; add posts first")
        write_index(partial)
        if style is not None:
            write_json(partial / STYLE_FILE, dict(style))
        write_json(partial / MANIFEST_FILE, _manifest(partial, source, vocabulary, counts))
    return Dataset.open(folder)


def _write_documents(
    partial: Path, documents: Iterable[EncodedDocument], vocabulary: Vocabulary, splitter: Splitter
) -> _Counts:
    counts = _Counts()
    kind = token_type(vocabulary.size)
    ending = np.array([vocabulary.end_of_text_id], dtype=kind).tobytes()
    with ExitStack() as stack:
        tokens, rows, posts = (
            stack.enter_context((partial / name).open("w+b", buffering=_BUFFER_BYTES))
            for name in (TOKENS_FILE, DOCUMENTS_FILE, POSTS_FILE)
        )
        _write_header(tokens, kind.str, 0)
        _write_header(rows, DOCUMENT_TYPE.descr, 0)
        rows_start = rows.tell()
        for document in documents:
            side = splitter.add(document.id, document.split)
            tokens.write(np.asarray(document.ids, dtype=kind).tobytes())
            tokens.write(ending)
            start = counts.num_tokens
            counts.num_tokens += len(document.ids) + 1
            rows.write(_ROW.pack(start, counts.num_tokens, document.num_bytes, side))
            post = {"id": document.id, "path": document.path, "title": document.title}
            posts.write(b",\n" if counts.num_documents else b"[\n")
            posts.write(json.dumps(post, ensure_ascii=False).encode())
            counts.num_documents += 1
            counts.note(side, len(document.ids) + 1, document.num_bytes)
        posts.write(b"\n]\n")
        mended = splitter.mend()
        if mended is not None:
            number, side = mended
            rows.seek(rows_start + number * _ROW.size)
            start, end, num_bytes, _ = _ROW.unpack(rows.read(_ROW.size))
            rows.seek(rows_start + number * _ROW.size)
            rows.write(_ROW.pack(start, end, num_bytes, side))
            counts.note(side, end - start, num_bytes, moved=True)
        for file, descr, length in (
            (tokens, kind.str, counts.num_tokens),
            (rows, DOCUMENT_TYPE.descr, counts.num_documents),
        ):
            file.seek(0)
            _write_header(file, descr, length)
    return counts


def _write_header(file: BinaryIO, descr: Any, length: int) -> None:
    """Write the .npy header; NumPy pads it for any length, so that it can be overwritten in place."""
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": (length,)})


def _manifest(partial: Path, source: DatasetSource, vocabulary: Vocabulary, counts: _Counts) -> dict[str, Any]:
    return {
        "kind": "dataset",
        **asdict(source),
        "vocabulary_digest": vocabulary.digest,
        "vocabulary_size": vocabulary.size,
        "end_of_text_id": vocabulary.end_of_text_id,
        "num_documents": counts.num_documents,
        "num_tokens": counts.num_tokens,
        "num_train_tokens": counts.num_tokens - counts.num_validation_tokens,
        "num_validation_tokens": counts.num_validation_tokens,
        "num_validation_bytes": counts.num_validation_bytes,
        "dtype": str(token_type(vocabulary.size)),
        "created_at": source.created_at or datetime.now(UTC).isoformat(timespec="milliseconds"),
        "files": sha256_files(partial),
    }

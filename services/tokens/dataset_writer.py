"""Writes a dataset's folder from a stream of encoded documents, holding one document at a time in memory.

In: documents in the order of their post id. Out: the files that dataset.py reads, whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
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
    TOKENS_FILE,
    Dataset,
    token_type,
)
from services.tokens.header import HEADER_V1
from services.tokens.split import TRAIN, VALIDATION, split_documents
from services.tokens.vocabulary import ENCODER_FILE, MERGES_FILE, Vocabulary


@dataclass(frozen=True, slots=True)
class EncodedDocument:
    """One document as ids, without the end-of-text id; `num_bytes` counts its text in UTF-8."""

    id: str
    path: str
    title: str
    num_bytes: int
    ids: Sequence[int]


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


def write_dataset(
    folder: Path, documents: Iterable[EncodedDocument], *, vocabulary_folder: Path, source: DatasetSource
) -> Dataset:
    """Write `folder` and return it opened.

    Args:
        folder: must not exist; appears complete or not at all.
        documents: in the order of their ids; taken one by one.
        vocabulary_folder: where `encoder.json` and `vocab.bpe` are copied from.

    Raises:
        FailedPrecondition: there are no documents.
        FileExistsError: `folder` exists.
    """
    vocabulary = Vocabulary.load(vocabulary_folder)
    with new_folder(folder) as partial:
        for name in (ENCODER_FILE, MERGES_FILE):
            shutil.copyfile(vocabulary_folder / name, partial / name)
        table, posts = _write_tokens(partial / TOKENS_FILE, documents, vocabulary)
        if not posts:
            raise FailedPrecondition(f"corpus {source.corpus!r} has no documents in this snapshot; add posts first")
        table["split"] = split_documents([post["id"] for post in posts], source.validation_fraction)
        np.save(partial / DOCUMENTS_FILE, table)
        (partial / POSTS_FILE).write_text(json.dumps(posts, ensure_ascii=False, indent=1), encoding="utf-8")
        write_json(partial / MANIFEST_FILE, _manifest(partial, source, vocabulary, table))
    return Dataset.open(folder)


def _write_tokens(
    path: Path, documents: Iterable[EncodedDocument], vocabulary: Vocabulary
) -> tuple[np.ndarray, list[dict[str, str]]]:
    """Stream ids to `path`; return the document table (split not yet set) and the posts."""
    rows: list[tuple[int, int, int, int]] = []
    posts: list[dict[str, str]] = []
    kind = token_type(vocabulary.size)
    start = 0
    with path.open("wb") as file:
        _write_header(file, kind, 0)
        for document in documents:
            ids = np.array([*document.ids, vocabulary.end_of_text_id], dtype=kind)
            file.write(ids.tobytes())
            rows.append((start, start + len(ids), document.num_bytes, TRAIN))
            posts.append({"id": document.id, "path": document.path, "title": document.title})
            start += len(ids)
        file.seek(0)
        _write_header(file, kind, start)
    return np.array(rows, dtype=DOCUMENT_TYPE), posts


def _write_header(file: BinaryIO, kind: np.dtype[Any], length: int) -> None:
    """Write the .npy header; NumPy pads it for any length, so that it can be overwritten in place."""
    np.lib.format.write_array_header_1_0(file, {"descr": kind.str, "fortran_order": False, "shape": (length,)})


def _manifest(partial: Path, source: DatasetSource, vocabulary: Vocabulary, table: np.ndarray) -> dict[str, Any]:
    held_out = table[table["split"] == VALIDATION]
    num_tokens = int(table["end"][-1])
    num_validation_tokens = int((held_out["end"] - held_out["start"]).sum())
    return {
        "kind": "dataset",
        **asdict(source),
        "vocabulary_digest": vocabulary.digest,
        "vocabulary_size": vocabulary.size,
        "end_of_text_id": vocabulary.end_of_text_id,
        "num_documents": len(table),
        "num_tokens": num_tokens,
        "num_train_tokens": num_tokens - num_validation_tokens,
        "num_validation_tokens": num_validation_tokens,
        "num_validation_bytes": int(held_out["num_bytes"].sum()),
        "dtype": str(token_type(vocabulary.size)),
        "created_at": source.created_at or datetime.now(UTC).isoformat(timespec="milliseconds"),
        "files": sha256_files(partial),
    }

"""The files of a corpus's index, in a dataset and in a published model.

    tokens.npy documents.npy posts.json   as in a dataset (dataset.py)
    style.json                            the same; absent where nobody knows the blog's style
    suffixes.npy                          uint32 per token: positions in the order of the text from there (suffixes.py)

In: the folder of a dataset. Out: the file that is added, all of them in another folder, or their arrays, which
corpus_index.py searches.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Corrupt
from services.common.files import sha256_file
from services.tokens.dataset import (
    DOCUMENT_TYPE,
    DOCUMENTS_FILE,
    POSTS_FILE,
    STYLE_FILE,
    TOKENS_FILE,
    Dataset,
    map_array,
)
from services.tokens.suffixes import sort_suffixes

SUFFIXES_FILE = "suffixes.npy"
INDEX_FOLDER = "index"  # of a published model
MOST_INDEXED_TOKENS = 50_000_000  # a larger corpus goes without: sorting takes about 40 bytes of memory a token


def write_index(folder: Path) -> None:
    """Add the suffixes to a folder that holds tokens and documents, unless there are too many tokens."""
    tokens, documents = map_array(folder / TOKENS_FILE), map_array(folder / DOCUMENTS_FILE)
    if len(tokens) <= MOST_INDEXED_TOKENS:
        np.save(folder / SUFFIXES_FILE, sort_suffixes(np.asarray(tokens), np.ascontiguousarray(documents["end"])))


def copy_index(dataset: Dataset, folder: Path) -> None:
    """Make `folder` with all that is read of a dataset's index, and sort it where the dataset has none yet.

    There is no folder when the corpus has too many tokens, or a file is damaged.

    Raises:
        Corrupt: a file of the dataset is missing, or not the one in its manifest; names it.
    """
    digests = dataset.manifest["files"]
    is_sorted = SUFFIXES_FILE in digests
    if not is_sorted and len(dataset.tokens) > MOST_INDEXED_TOKENS:
        return
    more = [name for name in (STYLE_FILE, SUFFIXES_FILE) if name in digests]
    folder.mkdir()
    try:
        for name in (TOKENS_FILE, DOCUMENTS_FILE, POSTS_FILE, *more):
            _copy_sound(dataset.folder / name, folder / name, digests.get(name))
        if not is_sorted:  # of an earlier version
            write_index(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise


def _copy_sound(source: Path, target: Path, digest: str | None) -> None:
    """Copy a file; what was copied is compared, since the file may be replaced at any time."""
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        raise Corrupt(f"{source} is missing; rebuild the dataset", metadata={"file": str(source)}) from None
    if sha256_file(target) != digest:
        raise _corrupt(source, "its SHA-256 is not that of manifest.json; rebuild the dataset")


def read_index(
    folder: Path, end_of_text_id: int, vocabulary_size: int | None = None
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.uint32]]:
    """Map tokens and suffixes and read where documents end: uint16 or uint32 [N], int64 [documents], uint32 [N].

    Compiled code looks up positions without a check of its own, so they are checked here. That the suffixes are in
    order is not: files of a published model are compared with their SHA-256 before.

    Args:
        vocabulary_size: no id may reach it; None: ids are what they are.

    Raises:
        Corrupt: a file is missing or damaged, or they do not belong together; names it.
    """
    tokens, documents = map_array(folder / TOKENS_FILE), map_array(folder / DOCUMENTS_FILE)
    suffixes = map_array(folder / SUFFIXES_FILE)
    if tokens.ndim != 1 or not len(tokens) or tokens.dtype not in (np.uint16, np.uint32):
        raise _corrupt(folder / TOKENS_FILE, f"it holds {tokens.dtype} {tokens.shape}; expected ids")
    if vocabulary_size is not None and tokens.max() >= vocabulary_size:
        raise _corrupt(folder / TOKENS_FILE, f"it holds id {tokens.max()}; the vocabulary has {vocabulary_size} ids")
    if documents.ndim != 1 or documents.dtype != DOCUMENT_TYPE:
        raise _corrupt(folder / DOCUMENTS_FILE, f"it holds {documents.dtype} {documents.shape}; expected documents")
    ends = np.ascontiguousarray(documents["end"])
    if not len(ends) or (np.diff(ends, prepend=0) < 1).any() or ends[-1] != len(tokens):
        raise _corrupt(folder / DOCUMENTS_FILE, f"its documents do not cover the {len(tokens)} tokens")
    if (tokens[ends - 1] != end_of_text_id).any():
        raise _corrupt(folder / TOKENS_FILE, f"a document does not end with the end-of-text id, {end_of_text_id}")
    if suffixes.dtype != np.uint32 or suffixes.shape != tokens.shape:
        raise _corrupt(
            folder / SUFFIXES_FILE,
            f"it holds {suffixes.dtype} {suffixes.shape} for {len(tokens)} tokens; build it again",
        )
    if suffixes.max() >= len(tokens):
        raise _corrupt(folder / SUFFIXES_FILE, f"it holds position {suffixes.max()} of {len(tokens)} tokens")
    return np.asarray(tokens), ends, np.asarray(suffixes)


def _corrupt(path: Path, problem: str) -> Corrupt:
    return Corrupt(f"{path} is damaged: {problem}", metadata={"file": str(path)})

"""The files of a corpus's index, in a dataset and in a published model.

    tokens.npy documents.npy posts.json   as in a dataset (dataset.py)
    style.json                            the same; absent where nobody knows the blog's style
    suffixes.npy                          uint32 per token: positions in the order of the text from there (suffixes.py)

In: the folder of a dataset. Out: the file that is added, or all of them in another folder. corpus_index.py reads them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from services.common.errors import Corrupt
from services.tokens.dataset import DOCUMENTS_FILE, POSTS_FILE, STYLE_FILE, TOKENS_FILE, map_array
from services.tokens.suffixes import sort_suffixes

SUFFIXES_FILE = "suffixes.npy"
INDEX_FOLDER = "index"  # of a published model
MOST_INDEXED_TOKENS = 50_000_000  # a larger corpus goes without: sorting takes about 40 bytes of memory a token


def write_index(folder: Path) -> None:
    """Add the suffixes to a folder that holds tokens and documents, unless there are too many tokens."""
    tokens, documents = map_array(folder / TOKENS_FILE), map_array(folder / DOCUMENTS_FILE)
    if len(tokens) <= MOST_INDEXED_TOKENS:
        np.save(folder / SUFFIXES_FILE, sort_suffixes(np.asarray(tokens), np.ascontiguousarray(documents["end"])))


def copy_index(dataset: Path, folder: Path) -> None:
    """Make `folder` with all that is read of a dataset's index, and sort it where the dataset has none yet.

    Raises:
        Corrupt: a file of the dataset is missing; names it.
    """
    folder.mkdir()
    for name in (TOKENS_FILE, DOCUMENTS_FILE, POSTS_FILE):
        try:
            shutil.copyfile(dataset / name, folder / name)
        except FileNotFoundError:
            path = dataset / name
            raise Corrupt(f"{path} is missing; rebuild the dataset", metadata={"file": str(path)}) from None
    if (dataset / STYLE_FILE).is_file():
        shutil.copyfile(dataset / STYLE_FILE, folder / STYLE_FILE)
    if (dataset / SUFFIXES_FILE).is_file():
        shutil.copyfile(dataset / SUFFIXES_FILE, folder / SUFFIXES_FILE)
    else:  # of an earlier version
        write_index(folder)
    if not (folder / SUFFIXES_FILE).exists():
        shutil.rmtree(folder)

"""A dataset: documents as token ids in one memory-mapped file, with their borders and their split.

    tokens.npy      1-D uint16 (uint32 above 65,536 ids): each document's ids, then the end-of-text id
    documents.npy   per document: start, end (exclusive, end-of-text included), num_bytes (UTF-8), split
    posts.json      per document: id, path, title
    style.json      how the blog writes its posts (services/blog); imported datasets have none
    suffixes.npy    what corpus_index.py searches; datasets of earlier versions have none
    encoder.json    vocab.bpe: the vocabulary
    manifest.json   what it was made of, its counts, and the SHA-256 of each file

In: a folder. Out: arrays. Does not know where documents come from, nor how batches are drawn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.common.errors import Corrupt
from services.common.files import read_json, verify_files
from services.tokens.split import TRAIN, VALIDATION
from services.tokens.vocabulary import Vocabulary

DOCUMENT_TYPE = np.dtype([("start", "<i8"), ("end", "<i8"), ("num_bytes", "<i8"), ("split", "u1")])
TOKENS_FILE = "tokens.npy"
DOCUMENTS_FILE = "documents.npy"
POSTS_FILE = "posts.json"
STYLE_FILE = "style.json"
MANIFEST_FILE = "manifest.json"
_NEEDED = ("num_tokens", "num_documents", "vocabulary_size", "vocabulary_digest", "end_of_text_id", "files")


def token_type(vocabulary_size: int) -> np.dtype[Any]:
    """The smallest of uint16 and uint32 that holds every id."""
    return np.dtype("<u2" if vocabulary_size <= 65536 else "<u4")


@dataclass(frozen=True, slots=True)
class Dataset:
    """An opened dataset; `tokens` is memory-mapped, so opening costs the same at any size.

    Attributes:
        tokens: uint16 or uint32 [num_tokens], read-only.
        documents: DOCUMENT_TYPE [num_documents], in the order of their tokens.
    """

    folder: Path
    manifest: dict[str, Any]
    tokens: np.ndarray
    documents: np.ndarray

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Map a dataset's files and check that they fit together; `verify` checks every byte.

        Raises:
            Corrupt: a file is missing, truncated, or disagrees with the manifest; names the file.
        """
        manifest = read_json(folder / MANIFEST_FILE)
        if not isinstance(manifest, dict) or manifest.get("kind") != "dataset":
            raise _corrupt(folder / MANIFEST_FILE, "it does not describe a dataset")
        absent = [name for name in _NEEDED if name not in manifest]
        if absent:
            raise _corrupt(folder / MANIFEST_FILE, f"it does not say {', '.join(absent)}")
        tokens = map_array(folder / TOKENS_FILE)
        documents = np.array(map_array(folder / DOCUMENTS_FILE))
        if tokens.shape != (manifest["num_tokens"],) or tokens.dtype != token_type(manifest["vocabulary_size"]):
            raise _corrupt(folder / TOKENS_FILE, f"it holds {tokens.dtype} {tokens.shape}, not what the manifest says")
        if documents.dtype != DOCUMENT_TYPE or documents.shape != (manifest["num_documents"],):
            raise _corrupt(folder / DOCUMENTS_FILE, "it does not hold the documents that the manifest counts")
        borders = np.concatenate([[0], documents["end"]])
        if (documents["start"] != borders[:-1]).any() or (np.diff(borders) < 1).any() or borders[-1] != len(tokens):
            raise _corrupt(folder / DOCUMENTS_FILE, f"its borders do not cover {TOKENS_FILE}")
        return cls(folder, manifest, tokens, documents)

    def verify(self) -> None:
        """Compare the SHA-256 of every file with the manifest; Corrupt names the first that differs."""
        verify_files(self.folder, self.manifest["files"])

    @property
    def end_of_text_id(self) -> int:
        """The id that ends each document."""
        return int(self.manifest["end_of_text_id"])

    @property
    def train(self) -> DocumentTokens:
        """The documents to learn from, as one sequence."""
        return DocumentTokens(self.tokens, self.documents[self.documents["split"] == TRAIN])

    @property
    def validation(self) -> DocumentTokens:
        """The documents held out, as one sequence; may be empty."""
        return DocumentTokens(self.tokens, self.documents[self.documents["split"] == VALIDATION])

    def posts(self) -> list[dict[str, str]]:
        """`id`, `path` and `title` of each document, in the order of `documents`."""
        posts: list[dict[str, str]] = read_json(self.folder / POSTS_FILE)
        return posts

    def iterate_posts(self) -> Iterator[dict[str, str]]:
        """As `posts`, one at a time: the file has a post a line. Corrupt if it has not one for each document."""
        path, count = self.folder / POSTS_FILE, 0
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.startswith("{"):
                    count += 1
                    yield json.loads(line.rstrip(",\n"))
        if count == 0:  # written before it had a post a line
            for post in self.posts():
                count += 1
                yield post
        if count != len(self.documents):
            raise _corrupt(path, f"it holds {count} posts, not {len(self.documents)}")

    def vocabulary(self) -> Vocabulary:
        """The vocabulary that the ids belong to; Corrupt if it is not the one in the manifest."""
        vocabulary = Vocabulary.load(self.folder)
        if vocabulary.digest != self.manifest["vocabulary_digest"]:
            raise Corrupt(f"{self.folder}: its vocabulary files are not those in manifest.json; rebuild the dataset")
        return vocabulary


class DocumentTokens:
    """Some documents of a dataset, read as if they stood one after another.

    Attributes:
        documents: DOCUMENT_TYPE [num_documents], borders in the dataset's own `tokens`.
        num_bytes: UTF-8 bytes of their text, end-of-text markers not counted.
    """

    def __init__(self, tokens: np.ndarray, documents: np.ndarray) -> None:
        self.documents = documents
        self.num_bytes = int(documents["num_bytes"].sum())
        self._tokens = tokens
        self._ends = np.cumsum(documents["end"] - documents["start"])  # in this sequence

    def __len__(self) -> int:
        """Number of tokens, end-of-text markers included."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def window(self, start: int, length: int) -> np.ndarray:
        """Return tokens `start` to `start + length` of the sequence as int32 [length], across documents.

        Raises:
            ValueError: the window does not lie within the sequence.
        """
        if start < 0 or length < 0 or start + length > len(self):
            raise ValueError(f"window {start}+{length} does not lie within {len(self)} tokens")
        window = np.empty(length, dtype=np.int32)
        filled = 0
        index = int(np.searchsorted(self._ends, start, side="right"))
        while filled < length:
            document = self.documents[index]
            left = int(self._ends[index]) - (start + filled)  # tokens from here to this document's end
            count = min(left, length - filled)
            window[filled : filled + count] = self._tokens[document["end"] - left : document["end"] - left + count]
            filled += count
            index += 1
        return window

    def all(self) -> np.ndarray:
        """Return the whole sequence as int32 [len]."""
        return self.window(0, len(self))


def _corrupt(path: Path, problem: str) -> Corrupt:
    return Corrupt(f"{path} is damaged: {problem}; rebuild the dataset", metadata={"file": str(path)})


def map_array(path: Path) -> np.ndarray:
    """An array's file, mapped read-only; Corrupt names one that is missing or damaged."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise Corrupt(f"{path} is missing; rebuild the dataset", metadata={"file": str(path)}) from None
    except (ValueError, EOFError, OSError) as error:
        raise _corrupt(path, str(error)) from None
    return array

"""A dataset as the files of other tools: names, and the pieces of each.

In: an opened dataset. Out: `ExportFile`, then its bytes in pieces of any size, for each file.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

import numpy as np

from services.tokenizer.formats import text_files, token_files
from services.tokenizer.formats.text_files import TextDocument
from services.tokens.codec import Codec
from services.tokens.dataset import Dataset
from services.tokens.header import HEADER_V1, part_header
from services.tokens.split import TRAIN, VALIDATION
from services.tokens.vocabulary import ENCODER_FILE, MERGES_FILE


class Format(StrEnum):
    """A format of other tools, by the ending of its files."""

    NPZ = "npz"
    BIN = "bin"
    JSONL = "jsonl"
    TXT = "txt"
    CSV = "csv"

    @property
    def holds_ids(self) -> bool:
        """Whether its files hold token ids, not text."""
        return self in (Format.NPZ, Format.BIN)


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file begins."""

    name: str


_SIDES = (("train", TRAIN), ("val", VALIDATION))
_TEXT_WRITERS = {
    Format.JSONL: text_files.write_jsonl,
    Format.TXT: text_files.write_txt,
    Format.CSV: text_files.write_csv,
}


def export(dataset: Dataset, form: Format) -> Iterator[ExportFile | bytes]:
    """Yield each file of the export: its name, then its content in pieces. A side without documents has no file.

    Raises:
        FailedPrecondition: the format cannot hold the dataset's ids.
        Corrupt: the dataset's files are damaged.
    """
    sides = [(name, side) for name, side in _SIDES if (dataset.documents["split"] == side).any()]
    if form.holds_ids:
        for name, side in sides:
            yield ExportFile(f"{name}.{form}")
            yield from _write_ids(dataset, form, side)
        for name in (ENCODER_FILE, MERGES_FILE):
            yield ExportFile(name)
            yield (dataset.folder / name).read_bytes()
    elif form is Format.JSONL:
        yield ExportFile(f"dataset.{form}")
        yield from text_files.write_jsonl(_documents(dataset, None))
    else:
        for name, side in sides:
            yield ExportFile(f"{name}.{form}")
            yield from _TEXT_WRITERS[form](_documents(dataset, side))


def _write_ids(dataset: Dataset, form: Format, side: int) -> Iterator[bytes]:
    documents = (dataset.tokens[row["start"] : row["end"]] for row in dataset.documents if row["split"] == side)
    if form is Format.NPZ:
        return token_files.write_npz(documents)
    return token_files.write_bin(documents, dataset.manifest["vocabulary_size"])


def _documents(dataset: Dataset, side: int | None) -> Iterator[TextDocument]:
    """The documents of one side, or of both, as text. In JSON lines the header's lines become facts again."""
    codec = Codec(dataset.vocabulary())
    for row, post in zip(dataset.documents, dataset.iterate_posts(), strict=True):
        if side is not None and row["split"] != side:
            continue
        ids: np.ndarray = dataset.tokens[row["start"] : row["end"] - 1]
        text = codec.decode(ids.tolist())
        document = TextDocument(text, id=post["id"], path=post["path"], split=int(row["split"]))
        if side is not None:
            yield document
        elif dataset.manifest["header_format"] != HEADER_V1:
            yield replace(document, title=post["title"])
        else:
            parted = part_header(text)
            yield replace(document, **asdict(parted)) if parted is not None else document


def in_chunks(pieces: Iterator[ExportFile | bytes], size: int) -> Iterator[ExportFile | bytes]:
    """The same with pieces of `size` bytes, but for the last of each file."""
    waiting = bytearray()
    for piece in itertools.chain(pieces, [None]):
        if isinstance(piece, bytes):
            waiting += piece
        while len(waiting) >= size or (waiting and not isinstance(piece, bytes)):
            yield bytes(waiting[:size])
            del waiting[:size]
        if isinstance(piece, ExportFile):
            yield piece

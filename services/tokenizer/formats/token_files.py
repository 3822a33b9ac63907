"""Files of token ids: `encode.py`'s .npz and nanoGPT's .bin.

    .npz   a zip of arrays arr_0.npy, arr_1.npy, ...: one dimension, any integer type. nshepperd/gpt-2:encode.py and
           gpt-2-simple write a chunk of text in each; ours hold whole documents, each ended by its end-of-text id.
    .bin   16-bit ids one after another, the least byte first, each document ended by the end-of-text id.

In: documents' ids, or a file. Out: pieces of a file, or blocks of ids that were checked against the vocabulary.
Nothing is ever unpickled, and no array is taken into memory whole.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from tokenize import TokenError  # NumPy parses headers of Python 2 with it
from typing import IO, Any, cast

import numpy as np

from services.common.errors import FailedPrecondition, InvalidRequest

CHUNK_TOKENS = 1 << 18  # of our .npz: readers draw no window across two chunks, and none from a short one
_BLOCK_BYTES = 1 << 20
LARGEST_DOCUMENT = 1 << 26  # tokens
_LARGEST_DIRECTORY = 16 << 20  # of a zip: 200,000 arrays
# Token ids in 64 bits pack to a quarter. A zip that unpacks to far more was made to fill a disk.
_LARGEST_RATIO = 200
_RATIO_COUNTS_FROM = 64 << 20

# A block of checked ids, or None where a document ends though no end-of-text id says so.
Blocks = Iterator[np.ndarray | None]


def write_bin(documents: Iterable[np.ndarray], vocabulary_size: int) -> Iterator[bytes]:
    """The file of these documents, which end with their end-of-text ids.

    Raises:
        FailedPrecondition: the vocabulary has ids above 16 bits.
    """
    if vocabulary_size > 1 << 16:
        raise FailedPrecondition(
            f"bin holds ids below 65,536, and this vocabulary has {vocabulary_size:,} entries; export as npz"
        )
    for document in documents:
        yield document.astype("<u2").tobytes()


def write_npz(documents: Iterable[np.ndarray]) -> Iterator[bytes]:
    """The file of these documents, as `np.savez_compressed` would write it, a chunk at a time."""
    sink = _Sink()
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_DEFLATED) as archive:
        for number, chunk in enumerate(_chunks(documents)):
            with archive.open(f"arr_{number}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, chunk, allow_pickle=False)
            yield sink.take()
    yield sink.take()


def _chunks(documents: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    waiting: list[np.ndarray] = []
    length = 0
    for document in documents:
        waiting.append(document)
        length += len(document)
        if length >= CHUNK_TOKENS:
            yield np.concatenate(waiting).astype("<i4")
            waiting, length = [], 0
    if waiting:
        yield np.concatenate(waiting).astype("<i4")


class _Sink:
    """A file that cannot seek, for `zipfile`; what was written is taken away from time to time."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> bytes:
        content = b"".join(self._pieces)
        self._pieces.clear()
        return content


def read_bin(path: Path, name: str, vocabulary_size: int) -> Blocks:
    """The ids of a .bin, checked.

    Args:
        name: what messages call the file.

    Raises:
        InvalidRequest: half an id at the end, or an id outside the vocabulary.
    """
    if path.stat().st_size % 2:
        raise InvalidRequest(f"{name} is cut short: it holds half a 16-bit id at its end", field="chunk")
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield _checked(np.frombuffer(block, "<u2"), name, vocabulary_size)
    yield None


def read_npz(path: Path, name: str, vocabulary_size: int) -> Blocks:
    """The ids of an .npz, array after array, checked; a document ends where an array does.

    Raises:
        InvalidRequest: not a zip, one that unpacks beyond all measure, damaged, or cut short; an array that does not
            hold whole numbers in one dimension, or an id outside the vocabulary.
    """
    _check_directory(path, name)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if unpacked > _RATIO_COUNTS_FROM and unpacked > _LARGEST_RATIO * path.stat().st_size:
                raise _refusal(name, f"it would unpack to {unpacked:,} bytes, {_LARGEST_RATIO} times its size or more")
            for member in members:
                with archive.open(member) as file:
                    yield from _array(file, f"{name}, {member.filename}", vocabulary_size)
                yield None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        # RuntimeError: encrypted. NotImplementedError: a compression that Python does not know.
        raise _refusal(name, str(error)) from None


def _array(file: IO[bytes], name: str, vocabulary_size: int) -> Iterator[np.ndarray]:
    try:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            raise _refusal(name, f"it is of .npy version {version}, not 1.0 or 2.0")
        shape, _, kind = read_header[version](file)
    except (ValueError, SyntaxError, TokenError, TypeError, RecursionError, MemoryError) as error:
        raise _refusal(name, f"it is not a NumPy array ({str(error)[:200]})") from None
    if kind.kind not in "iu" or len(shape) != 1 or shape[0] < 0:
        raise _refusal(name, f"it holds {kind} {shape}, not whole numbers in one dimension")
    left = shape[0] * kind.itemsize
    while left:
        block = file.read(min(left, _BLOCK_BYTES))
        if not block or len(block) % kind.itemsize:
            raise _refusal(name, f"it is cut short: {left:,} bytes are missing")
        left -= len(block)
        yield _checked(np.frombuffer(block, kind), name, vocabulary_size)


def _checked(ids: np.ndarray, name: str, vocabulary_size: int) -> np.ndarray:
    wrong = np.flatnonzero((ids < 0) | (ids >= vocabulary_size))
    if len(wrong):
        raise InvalidRequest(
            f"{name} holds id {ids[wrong[0]]}, which is not in the vocabulary: ids are 0 to {vocabulary_size - 1}; "
            "name the vocabulary that it was made with",
            field="chunk",
        )
    return ids.astype(np.uint32)


def _check_directory(path: Path, name: str) -> None:
    """Refuse a zip whose list of members would fill the memory: `zipfile` reads it whole."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 65_557))  # the longest end record, its comment included
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise _refusal(name, "it is not a zip, or cut short")
    if int.from_bytes(tail[at + 12 : at + 16], "little") > _LARGEST_DIRECTORY:
        raise _refusal(name, "it lists more arrays than a reader should hold in memory")


def documents(blocks: Blocks, end_of_text_id: int, name: str) -> Iterator[np.ndarray]:
    """The documents of a file, without their end-of-text ids; empty ones too, but none where nothing came.

    Raises:
        InvalidRequest: a document has more than `LARGEST_DOCUMENT` tokens.
    """
    waiting: list[np.ndarray] = []
    length = 0
    for block in blocks:
        if block is None:
            if length:
                yield np.concatenate(waiting)
            waiting, length = [], 0
            continue
        start = 0
        for end in np.flatnonzero(block == end_of_text_id).tolist():
            yield np.concatenate([*waiting, block[start:end]])
            waiting, length, start = [], 0, end + 1
        waiting.append(block[start:])
        length += len(block) - start
        if length > LARGEST_DOCUMENT:
            raise InvalidRequest(
                f"{name} holds {length:,} tokens in a row without the end-of-text id {end_of_text_id}; "
                "name the vocabulary that it was made with",
                field="chunk",
            )


def _refusal(name: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{name} cannot be read as .npz: {problem}", field="chunk")

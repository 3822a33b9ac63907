"""The engine file: a model that LiteRT opens, followed by what else serving it needs.

    structure   a flatbuffer by LiteRT's schema ("TFL3"): subgraphs, signatures, scales
    arrays      weights and the embedding tables, each at a multiple of 64 bytes
    tables      JSON: format version, architecture, precision, where each array stands
    end         length of the JSON (8 bytes, little endian), SHA-256 of everything before it (32), MAGIC (8)

LiteRT reads the structure and the arrays it points to, and leaves the rest alone.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Corrupt
from services.common.files import PARTIAL_PREFIX, sync_contents, sync_folder
from services.gpt2.config import GPT2Config

FORMAT = 2  # grows when older programs cannot run the file, or newer ones would run it otherwise
MAGIC = b"NONESUCH"
_END = struct.Struct("<Q32s8s")


@dataclass(frozen=True, slots=True)
class EngineFile:
    """A file that was read whole and found sound.

    Attributes:
        precision: `int8` or `float32`, of the matrices.
        wte: token embeddings, int8 or float32 [V, C], mapped from the file.
        wte_scales: float32 [V], of int8 embeddings; ones for float32 ones.
        wpe: position embeddings, float32 [T, C].
        places: shape, type and position of each array, by OpenAI's names; of int8 matrices, which are [features,
            channels], there are also the scales, by `NAME/scales`.
        content: the file, mapped.
    """

    path: Path
    config: GPT2Config
    precision: str
    wte: NDArray
    wte_scales: NDArray[np.float32]
    wpe: NDArray[np.float32]
    places: Mapping[str, Mapping[str, Any]]
    content: mmap.mmap

    def array(self, name: str) -> NDArray:
        """Return an array of `places`, mapped from the file."""
        return _mapped(self.content, self.places[name])


def write(path: Path, structure: bytes, arrays: Mapping[int, NDArray], facts: Mapping[str, Any]) -> None:
    """Write the file, whole or not at all.

    Args:
        arrays: by the position in the file where each must stand, ascending.
        facts: JSON values for `tables`.
    """
    digest = hashlib.sha256()
    partial = path.parent / f"{PARTIAL_PREFIX}{uuid.uuid4().hex}"
    try:
        with partial.open("xb") as file:
            end = 0

            def put(piece: bytes | memoryview) -> None:
                nonlocal end
                digest.update(piece)
                file.write(piece)
                end += len(piece)

            put(structure)
            for position, array in arrays.items():
                put(bytes(position - end))
                put(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            tables = json.dumps({"format": FORMAT, **facts}).encode()
            put(tables)
            put(struct.pack("<Q", len(tables)))
            file.write(digest.digest() + MAGIC)
        sync_contents([partial])
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def read(path: Path) -> EngineFile:
    """Check the whole file against its SHA-256 and map its tables.

    Raises:
        Corrupt: missing, cut short, changed, or of another format; the message names the file.
    """
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise _corrupt(path, "is missing") from None
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise _corrupt(path, f"cannot be read ({error})") from None
    if len(content) < _END.size:
        raise _corrupt(path, "is cut short")
    length, digest, magic = _END.unpack(content[-_END.size :])
    if magic != MAGIC:
        raise _corrupt(path, "does not end as an engine file does, so it is cut short or something else")
    with memoryview(content) as whole, whole[:-40] as covered:
        if hashlib.sha256(covered).digest() != digest:
            raise _corrupt(path, "is damaged: its SHA-256 is not the one that it ends with")
    begin = len(content) - _END.size - length
    tables = json.loads(content[begin : begin + length])
    if tables["format"] != FORMAT:
        raise _corrupt(path, f"has format {tables['format']}, and this program runs format {FORMAT}")

    def table(name: str) -> NDArray:
        return _mapped(content, tables["arrays"][name])

    config = GPT2Config.from_hparams(tables["config"], source=str(path))
    wte = table("model/wte")
    scales = table("model/wte/scales") if wte.dtype == np.int8 else np.ones(len(wte), np.float32)
    return EngineFile(path, config, tables["precision"], wte, scales, table("model/wpe"), tables["arrays"], content)


def _mapped(content: mmap.mmap, place: Mapping[str, Any]) -> NDArray:
    return np.ndarray(place["shape"], place["dtype"], content, place["position"])


def _corrupt(path: Path, problem: str) -> Corrupt:
    return Corrupt(f"{path} {problem}; convert the model again", metadata={"file": str(path)})

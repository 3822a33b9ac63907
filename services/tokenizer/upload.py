"""Datasets as files on the wire: an import's stream onto the disk, an export's pieces into messages."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from protos import tokenizer_pb2 as pb
from services.common.errors import Busy, InvalidRequest
from services.common.files import PARTIAL_PREFIX
from services.tokenizer.exporting import ExportFile, Format, export, in_chunks
from services.tokenizer.importing import ImportFile
from services.tokens.dataset import Dataset
from services.tokens.split import TRAIN, VALIDATION

LARGEST_CHUNK_BYTES = 1 << 20
_CHUNK_BYTES = 256 << 10
_LONGEST_NAME = 200
MOST_FILES = 1000

_FORMATS: dict[int, Format] = {
    pb.DATASET_FORMAT_NPZ: Format.NPZ,
    pb.DATASET_FORMAT_BIN: Format.BIN,
    pb.DATASET_FORMAT_JSONL: Format.JSONL,
    pb.DATASET_FORMAT_TXT: Format.TXT,
    pb.DATASET_FORMAT_CSV: Format.CSV,
}
_SPLITS: dict[int, int | None] = {
    pb.DATASET_SPLIT_UNSPECIFIED: None,
    pb.DATASET_SPLIT_TRAIN: TRAIN,
    pb.DATASET_SPLIT_VALIDATION: VALIDATION,
}


def format_of(number: int, *, field: str) -> Format:
    """The format of a request; InvalidRequest if it says none that there is."""
    if number not in _FORMATS:
        names = ", ".join(_FORMATS.values())
        raise InvalidRequest(f"say which format: one of {names}", field=field)
    return _FORMATS[number]


def export_messages(dataset: Dataset, form: Format) -> Iterator[pb.ExportDatasetResponse]:
    """The messages of an export, the last of them `done`."""
    for item in in_chunks(export(dataset, form), _CHUNK_BYTES):
        if isinstance(item, ExportFile):
            yield pb.ExportDatasetResponse(file=pb.ExportedFile(name=item.name))
        else:
            yield pb.ExportDatasetResponse(chunk=item)
    done = pb.ExportDone(num_documents=len(dataset.documents), num_tokens=len(dataset.tokens))
    yield pb.ExportDatasetResponse(done=done)


def header_of(requests: Iterator[pb.ImportDatasetRequest]) -> pb.ImportHeader:
    """The first message; InvalidRequest if it is not the header."""
    first = next(requests, None)
    if first is None or first.WhichOneof("message") != "header":
        raise InvalidRequest("the first message of an import is its header", field="header")
    return first.header


@contextmanager
def spooled(
    requests: Iterator[pb.ImportDatasetRequest], folder: Path, most_bytes: int
) -> Iterator[tuple[ImportFile, ...]]:
    """Write the files that follow the header below `folder`, and take them away when the block ends.

    Raises:
        InvalidRequest: a message out of order, a chunk or a name that is too long, no file, no end.
        Busy: more than `most_bytes` in all.
    """
    spool = folder / f"{PARTIAL_PREFIX}import-{uuid.uuid4().hex}"
    spool.mkdir()
    try:
        yield _write_files(requests, spool, most_bytes)
    finally:
        shutil.rmtree(spool, ignore_errors=True)


def _write_files(requests: Iterator[pb.ImportDatasetRequest], spool: Path, most_bytes: int) -> tuple[ImportFile, ...]:
    found: list[ImportFile] = []
    current: pb.ImportFile | None = None
    opened: BinaryIO | None = None
    digest = hashlib.sha256()
    left = most_bytes

    def finish() -> None:
        if current is not None and opened is not None:
            opened.close()
            path = Path(opened.name)
            found.append(ImportFile(path, current.name, digest.hexdigest(), _SPLITS[current.split]))

    try:
        for request in requests:
            kind = request.WhichOneof("message")
            if kind == "file":
                finish()
                current, digest = _checked(request.file, len(found)), hashlib.sha256()
                opened = (spool / str(len(found))).open("wb")
            elif kind == "end":
                finish()
                break
            elif kind != "chunk" or opened is None:
                raise InvalidRequest("after the header comes a file, then its chunks", field=kind or "message")
            else:
                left -= len(request.chunk)
                if len(request.chunk) > LARGEST_CHUNK_BYTES:
                    raise InvalidRequest(f"a chunk has at most {LARGEST_CHUNK_BYTES} bytes", field="chunk")
                if left < 0:
                    raise Busy(
                        f"an import may have {most_bytes:,} bytes: send less, or raise "
                        "NONESUCH_TOKENIZER_MAX_IMPORT_BYTES"
                    )
                opened.write(request.chunk)
                digest.update(request.chunk)
        else:  # gRPC may show a client that vanished as the end of its stream
            raise InvalidRequest(
                "the import broke off: its last message must be its end; nothing was imported", field="end"
            )
    finally:
        if opened is not None:
            opened.close()
    if not found:
        raise InvalidRequest("no file came; send at least one", field="file")
    return tuple(found)


def _checked(file: pb.ImportFile, num_files: int) -> pb.ImportFile:
    if not file.name or len(file.name) > _LONGEST_NAME or not file.name.isprintable():
        raise InvalidRequest(f"{file.name[:40]!r} is not a file's name", field="file.name")
    if file.split not in _SPLITS:
        raise InvalidRequest(f"{file.split} is not a split", field="file.split")
    if num_files >= MOST_FILES:
        raise InvalidRequest(f"an import has at most {MOST_FILES} files", field="file")
    return file

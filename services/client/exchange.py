"""Datasets as files of other tools: brought from the tokenizer service into a folder, and sent to it.

An exported folder appears whole or not at all. An import says where its files' sides are: from their names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from protos import tokenizer_pb2
from services.client.connection import Connection, pages
from services.client.progress import Progress, silent
from services.common.errors import AlreadyExists, InvalidRequest, Unavailable
from services.common.files import check_name, new_folder

FORMATS = ("npz", "bin", "jsonl", "txt", "csv")
TOKEN_FORMATS = ("npz", "bin")
CHUNK_BYTES = 256 << 10
WORK_S = 6 * 3600.0  # a gigabyte of text is encoded in minutes; a slow line needs more
VOCABULARY_FILES = ("encoder.json", "vocab.bpe")

_SIDES = {
    "train": tokenizer_pb2.DATASET_SPLIT_TRAIN,
    "val": tokenizer_pb2.DATASET_SPLIT_VALIDATION,
    "valid": tokenizer_pb2.DATASET_SPLIT_VALIDATION,
    "validation": tokenizer_pb2.DATASET_SPLIT_VALIDATION,
}


def format_number(name: str) -> Any:
    """The format on the wire."""
    return tokenizer_pb2.DatasetFormat.Value(f"DATASET_FORMAT_{name.upper()}")


def export_dataset(
    connection: Connection, dataset: str, form: str, folder: Path, on_progress: Progress = silent
) -> tokenizer_pb2.ExportDone:
    """Write a dataset's files into `folder`, which must not exist, and return what they hold.

    Args:
        form: one of FORMATS.
        on_progress: told bytes received.

    Raises:
        AlreadyExists: the folder exists.
        NotFound: no such dataset.
    """
    if folder.exists():
        raise AlreadyExists(f"{folder} exists; name a folder that does not")
    request = tokenizer_pb2.ExportDatasetRequest(dataset=dataset, format=format_number(form))
    done: tokenizer_pb2.ExportDone | None = None
    received = 0
    opened: BinaryIO | None = None
    with new_folder(folder) as partial:
        try:
            for message in connection.tokenizer.ExportDataset(request, timeout_s=WORK_S):
                kind = message.WhichOneof("message")
                if kind == "file":
                    if opened is not None:
                        opened.close()
                    opened = (partial / check_name(message.file.name, field="file.name", kind="file")).open("xb")
                elif kind == "chunk" and opened is not None:
                    opened.write(message.chunk)
                    received += len(message.chunk)
                    on_progress("receiving the dataset", received, 0)
                elif kind == "done":
                    done = message.done
        finally:
            if opened is not None:
                opened.close()
        if done is None:
            raise Unavailable("the export broke off; try again")
    return done


def import_dataset(
    connection: Connection,
    files: Sequence[Path],
    form: str,
    *,
    corpus: str = "",
    vocabulary: str | int,
    validation_fraction: float | None = None,
    header: bool | None = None,
    on_progress: Progress = silent,
) -> tokenizer_pb2.ImportDatasetResponse:
    """Send files and return the dataset that was made of them.

    Args:
        form: one of FORMATS.
        vocabulary: a name, or the size of one to train on the text.
        on_progress: told bytes sent.

    Raises:
        InvalidRequest: a file is not what the format says; names the place.
        NotFound: no such vocabulary.
    """
    first = tokenizer_pb2.ImportHeader(
        format=format_number(form), corpus=corpus, validation_fraction=validation_fraction, header=header
    )
    if isinstance(vocabulary, int):
        first.own_vocabulary_size = vocabulary
    else:
        first.vocabulary = vocabulary
    response: tokenizer_pb2.ImportDatasetResponse = connection.tokenizer.ImportDataset(
        _messages(first, files, on_progress), timeout_s=WORK_S
    )
    return response


def _messages(
    header: tokenizer_pb2.ImportHeader, files: Sequence[Path], on_progress: Progress
) -> Iterator[tokenizer_pb2.ImportDatasetRequest]:
    yield tokenizer_pb2.ImportDatasetRequest(header=header)
    sides = [_SIDES.get(file.stem.lower(), tokenizer_pb2.DATASET_SPLIT_UNSPECIFIED) for file in files]
    if len(set(sides)) < 2 or tokenizer_pb2.DATASET_SPLIT_UNSPECIFIED in sides:
        sides = [tokenizer_pb2.DATASET_SPLIT_UNSPECIFIED] * len(files)  # names tell only where they tell both sides
    total = sum(file.stat().st_size for file in files)
    done = 0
    for file, side in zip(files, sides, strict=True):
        yield tokenizer_pb2.ImportDatasetRequest(file=tokenizer_pb2.ImportFile(name=file.name, split=side))
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                yield tokenizer_pb2.ImportDatasetRequest(chunk=chunk)
                done += len(chunk)
                on_progress("sending the files", done, total)
    yield tokenizer_pb2.ImportDatasetRequest(end=tokenizer_pb2.ImportEnd())
    on_progress("making the dataset", 0, 0)


def find_files(paths: Sequence[Path], form: str) -> tuple[list[Path], str]:
    """The files meant by paths, a folder's being those of the format, and the format, by their ending if not given.

    Raises:
        InvalidRequest: no file is there, or the format cannot be told.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix[1:] in ([form] if form else FORMATS))
            found += inside
        else:
            found.append(path)
    endings = {file.suffix[1:] for file in found}
    if not found:
        raise InvalidRequest(f"no file of a format known ({', '.join(FORMATS)}) is there", field="files")
    if not form:
        if len(endings) != 1 or not endings <= set(FORMATS):
            raise InvalidRequest(f"the files' endings do not tell one format: say --format {'|'.join(FORMATS)}")
        form = endings.pop()
    return found, form


def vocabulary_beside(connection: Connection, files: Sequence[Path]) -> str:
    """The service's vocabulary whose files stand beside these, as an export leaves them; empty if there is none."""
    contents = [files[0].parent / name for name in VOCABULARY_FILES]
    if not all(path.is_file() for path in contents):
        return ""
    encoder, merges = (path.read_bytes() for path in contents)
    digest = hashlib.sha256(encoder + b"\0" + merges).hexdigest()
    request = tokenizer_pb2.ListVocabulariesRequest()
    for entry in pages(connection.tokenizer.ListVocabularies, request, "vocabularies"):
        if entry.digest == digest:
            return str(entry.id)
    return ""

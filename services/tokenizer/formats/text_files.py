"""Files of text: JSON lines, one text with markers, and gpt-2-simple's CSV of one column.

    .jsonl   an object a line: id, path, title, tags, date, text, split (`train` or `validation`)
    .txt     the documents, a line `<|endoftext|>` behind each
    .csv     a heading, then a document a row, quoted; gpt-2-simple skips the first line whatever it says

In: documents, or a file. Out: pieces of a file, or documents.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from services.common.errors import InvalidRequest
from services.tokenizer.formats import marker
from services.tokens.split import TRAIN, VALIDATION
from services.tokens.vocabulary import END_OF_TEXT

LARGEST_DOCUMENT_BYTES = 32 << 20  # four times the largest post; also of a line of JSON
_BLOCK_BYTES = 1 << 20
_SPLITS = {"train": TRAIN, "validation": VALIDATION, "val": VALIDATION}
_SPLIT_NAMES = {TRAIN: "train", VALIDATION: "validation"}
CSV_HEADING = "text"

csv.field_size_limit(LARGEST_DOCUMENT_BYTES)  # of the whole process; the library's own is 128 KiB


@dataclass(frozen=True, slots=True)
class TextDocument:
    """A document of a text file. Only JSON lines say more than its text."""

    text: str
    id: str = ""
    path: str = ""
    title: str = ""
    tags: tuple[str, ...] = ()
    date: str = ""
    split: int | None = None


def write_jsonl(documents: Iterable[TextDocument]) -> Iterator[bytes]:
    """The file of these documents."""
    for document in documents:
        line = {
            "id": document.id,
            "path": document.path,
            "title": document.title,
            "tags": document.tags,
            "date": document.date,
            "text": document.text,
            "split": _SPLIT_NAMES.get(document.split if document.split is not None else -1),
        }
        yield json.dumps(line, ensure_ascii=False).encode() + b"\n"


def write_txt(documents: Iterable[TextDocument]) -> Iterator[bytes]:
    """The file of these documents; a marker in one is written so that it is none."""
    for document in documents:
        yield f"{marker.escape(document.text)}\n{END_OF_TEXT}\n".encode()


def write_csv(documents: Iterable[TextDocument]) -> Iterator[bytes]:
    """The file of these documents; gpt-2-simple puts markers around each row, so none is left in one."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow([CSV_HEADING])
    for document in documents:
        writer.writerow([marker.escape(document.text)])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()


def read_jsonl(path: Path, name: str) -> Iterator[TextDocument]:
    """The documents of JSON lines.

    Raises:
        InvalidRequest: a line that is not UTF-8, not an object with a `text`, or too long; names the line.
    """
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file, name), start=1):
            if line.strip():
                yield _parse(line, f"{name}, line {number}")


def _parse(line: bytes, where: str) -> TextDocument:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _refusal(where, f"it is not JSON ({str(error)[:200]})") from None
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise _refusal(where, 'it is not an object with a "text"')
    tags: Any = value.get("tags") or ()
    split: Any = value.get("split")
    if split is not None and split not in list(_SPLITS):
        raise _refusal(where, f'"split" is {str(split)[:40]!r}, not "train" or "validation"')
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        raise _refusal(where, '"tags" is not a list of strings')
    facts: dict[str, str] = {}
    for key in ("id", "path", "title", "date"):
        fact = value.get(key) or ""
        if not isinstance(fact, str):
            raise _refusal(where, f'"{key}" is not a string')
        facts[key] = _whole(fact)
    side = None if split is None else _SPLITS[split]
    return TextDocument(_whole(value["text"]), tags=tuple(map(_whole, tags)), split=side, **facts)


def _whole(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair, which JSON can spell and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_txt(path: Path, name: str) -> Iterator[TextDocument]:
    """The documents of a text with markers, on lines of their own or within one, as encode.py's users write both.

    Where the first line ends as on Windows, all line breaks become LF.

    Raises:
        InvalidRequest: not UTF-8, or a document that is too long; names the place.
    """
    splitting = marker.Splitting()
    done = 0
    with path.open("rb") as file:
        is_from_windows = file.readline(_BLOCK_BYTES).endswith(b"\r\n")
        file.seek(0)
        utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        decoder = io.IncrementalNewlineDecoder(utf8, translate=True) if is_from_windows else utf8
        while True:
            block = file.read(_BLOCK_BYTES)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise _refusal(name, f"it is not UTF-8 near byte {done + error.start}") from None
            for document in splitting.push(text):
                yield TextDocument(marker.unescape(document))
            if len(splitting.rest) > LARGEST_DOCUMENT_BYTES:
                raise _refusal(name, f"more than {LARGEST_DOCUMENT_BYTES} characters without a line {END_OF_TEXT}")
            if not block:
                break
            done += len(block)
    rest = marker.unescape(splitting.end())
    if rest.strip():
        yield TextDocument(rest)


def read_csv(path: Path, name: str) -> Iterator[TextDocument]:
    """The documents of a CSV of one column, but for its first row.

    Raises:
        InvalidRequest: not UTF-8, more columns than one, an open quote, or a document that is too long.
    """
    with path.open("rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        reader = csv.reader((_utf8(line, name) for line in _lines(file, name)), strict=True)
        try:
            for number, row in enumerate(reader):
                if len(row) > 1:
                    raise _refusal(f"{name}, line {reader.line_num}", f"{len(row)} columns; there may be one")
                if number and row:
                    yield TextDocument(marker.unescape(row[0]))
        except csv.Error as error:
            raise _refusal(f"{name}, line {reader.line_num}", str(error)) from None


def _utf8(line: bytes, name: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise _refusal(name, f"the line {line[:40]!r} is not UTF-8") from None


def _lines(file: IO[bytes], name: str) -> Iterator[bytes]:
    while line := file.readline(LARGEST_DOCUMENT_BYTES + 1):
        if len(line) > LARGEST_DOCUMENT_BYTES:
            raise _refusal(name, f"a line has more than {LARGEST_DOCUMENT_BYTES} bytes")
        yield line


def _refusal(where: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{where} cannot be read: {problem}", field="chunk")

"""Files that are no dataset are refused by name, and nothing of them is kept."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import FailedPrecondition, InvalidRequest
from services.tokenizer import importing
from services.tokenizer.exporting import Format
from services.tokenizer.formats import text_files, token_files
from services.tokens.dataset_writer import EncodedDocument
from tests.unit.tokenizer.exchange.shelf import IDS, MARK, TEXTS, Shelf, npz


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, arr_0=np.array([print], dtype=object))
    return buffer.getvalue()


def header_only(shape: str, kind: str = "<i8") -> bytes:
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return zipped("arr_0.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


BAD: list[tuple[Format, Callable[[], bytes], str]] = [
    (Format.NPZ, lambda: b"", "not a zip"),
    (Format.NPZ, lambda: b"PK\x05\x06" + b"\0" * 10, "cut short"),
    (Format.NPZ, lambda: npz(arr_0=IDS)[:-30], "not a zip"),
    (Format.NPZ, lambda: npz(arr_0=IDS)[:600] + npz(arr_0=IDS)[700:], "cannot be read"),
    (Format.NPZ, lambda: npz(arr_0=IDS + 50257), "id 50257, which is not in the vocabulary"),
    (Format.NPZ, lambda: npz(arr_0=-IDS), "id -1, which"),
    (Format.NPZ, lambda: npz(arr_0=IDS.astype(float)), "float64"),
    (Format.NPZ, lambda: npz(arr_0=IDS.reshape(10, 100)), "one dimension"),
    (Format.NPZ, pickled, "object"),
    (Format.NPZ, lambda: zipped("arr_0.npy", b"\x93NUMPY\x01\x00\xff\xff"), "not a NumPy array"),
    (Format.NPZ, lambda: zipped("notes.txt", b"hello"), "not a NumPy array"),
    (Format.NPZ, lambda: header_only("(10**18,)"), "not a NumPy array"),
    (Format.NPZ, lambda: header_only("(1000000000000,)"), "cut short"),
    (Format.NPZ, lambda: header_only("(-5,)"), "one dimension"),
    (Format.NPZ, lambda: header_only("(" * 3000), "not a NumPy array"),
    (Format.NPZ, lambda: zipped("arr_0.npy", b"\0" * (80 << 20)), "unpack to"),
    (Format.BIN, lambda: b"\x01\x00\x02", "cut short"),
    (Format.BIN, lambda: b"\xff\xff", "id 65535, which is not in the vocabulary"),
    (Format.BIN, lambda: b"", "no document"),
    (Format.JSONL, lambda: b'{"text": "a"}\n{"text": 5}\n', "line 2"),
    (Format.JSONL, lambda: b'{"text": "a"', "line 1 cannot be read: it is not JSON"),
    (Format.JSONL, lambda: b"[" * 100_000, "not JSON"),
    (Format.JSONL, lambda: b'{"text": "a", "n": ' + b"1" * 5000 + b"}", "not JSON"),
    (Format.JSONL, lambda: b'"text"', "not an object"),
    (Format.JSONL, lambda: b'{"text": "a", "split": "test"}', "'test'"),
    (Format.JSONL, lambda: b'{"text": "a", "split": []}', "split"),
    (Format.JSONL, lambda: b'{"text": "a", "tags": "tea"}', "tags"),
    (Format.JSONL, lambda: b'{"text": "a", "title": 5}', "title"),
    (Format.JSONL, lambda: b'{"text": "\xff"}', "not JSON"),
    (Format.TXT, lambda: b"caf\xe9 and more", "not UTF-8 near byte 3"),
    (Format.TXT, lambda: b" \n\n", "no document"),
    (Format.CSV, lambda: b'text\n"open', "line 2"),
    (Format.CSV, lambda: b"text\na,b\n", "2 columns"),
    (Format.CSV, lambda: b"title,text\na,b\n", "line 1"),
    (Format.CSV, lambda: b"text\ncaf\xe9\n", "not UTF-8"),
    (Format.CSV, lambda: b"text\n", "no document"),
]


@pytest.mark.parametrize(("form", "content", "words"), BAD, ids=[f"{form}-{words}" for form, _, words in BAD])
def test_a_bad_file_is_refused_by_name_and_leaves_nothing(
    shelf: Shelf, form: Format, content: Callable[[], bytes], words: str
) -> None:
    path = shelf.file(f"bad.{form}", content())

    with pytest.raises(InvalidRequest) as refusal:
        shelf.load(form, path)

    assert f"bad.{form}" in refusal.value.message
    assert words in refusal.value.message
    assert [entry.name for entry in shelf.datasets.folder.iterdir()] == []


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=300), st.sampled_from(list(Format)), st.booleans())
def test_any_bytes_are_read_or_refused(shelf: Shelf, content: bytes, form: Format, grafted: bool) -> None:
    whole = npz(arr_0=IDS)
    path = shelf.file(
        f"any.{form}", whole[: len(content)] + content + whole[2 * len(content) :] if grafted else content
    )

    try:
        dataset = shelf.load(form, path)
    except InvalidRequest as refusal:
        assert f"any.{form}" in refusal.message
    else:
        dataset.verify()


@pytest.mark.parametrize("form", [Format.JSONL, Format.CSV, Format.TXT])
def test_a_document_without_end_is_refused_in_bounded_memory(
    shelf: Shelf, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "LARGEST_DOCUMENT_BYTES", 1 << 20)
    path = shelf.file(f"long.{form}", b'"' + b"word " * 500_000)

    with pytest.raises(InvalidRequest, match="1048576"):
        shelf.load(form, path)


def test_ids_without_a_marker_are_refused_in_bounded_memory(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_files, "LARGEST_DOCUMENT", 1000)
    path = shelf.file("long.bin", np.ones(5000, dtype="<u2").tobytes())

    with pytest.raises(InvalidRequest, match=r"5,000 tokens in a row without the end-of-text id 50256"):
        shelf.load(Format.BIN, path)


def test_a_zip_with_a_huge_list_is_refused_unread(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_files, "_LARGEST_DIRECTORY", 100)
    path = shelf.file("many.npz", npz(**{f"arr_{n}": IDS for n in range(10)}))

    with pytest.raises(InvalidRequest, match="more arrays than"):
        shelf.load(Format.NPZ, path)


def test_token_ids_without_a_vocabulary_are_refused(shelf: Shelf) -> None:
    with pytest.raises(InvalidRequest, match="name it"):
        shelf.load(Format.BIN, shelf.file("a.bin", b"\x01\x00"), vocabulary="", own_vocabulary_size=300)


def test_bin_refuses_a_vocabulary_with_ids_above_16_bits() -> None:
    with pytest.raises(FailedPrecondition, match="export as npz"):
        list(token_files.write_bin(iter(()), 70_000))


def test_cancelling_an_import_leaves_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shelf.file("posts.txt", f"\n{MARK}\n".join(TEXTS).encode())

    def broken(*arguments: Any, **values: Any) -> Iterator[EncodedDocument]:
        raise OSError("cut")
        yield

    monkeypatch.setattr(importing, "encode_documents", broken)
    with pytest.raises(OSError, match="cut"):
        shelf.load(Format.TXT, path)

    assert list(shelf.datasets.folder.iterdir()) == []

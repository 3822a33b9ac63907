"""Datasets as other tools' files: what goes out comes back, their own code reads it, and bad files are refused."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import sys
import types
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import FailedPrecondition, InvalidRequest
from services.tokenizer import importing
from services.tokenizer.datasets import Datasets
from services.tokenizer.exporting import ExportFile, Format, export, in_chunks
from services.tokenizer.formats import marker, text_files, token_files
from services.tokenizer.importing import ImportFile, ImportOrder, import_dataset
from services.tokenizer.vocabularies import Vocabularies
from services.tokens.codec import Codec
from services.tokens.dataset import Dataset
from services.tokens.dataset_writer import DatasetSource, EncodedDocument, write_dataset
from services.tokens.header import compose_header
from services.tokens.split import TRAIN, VALIDATION
from services.tokens.vocabulary import Vocabulary, digest_of
from tests.gpt2_files import gpt2_folder

MARK = "<|endoftext|>"
SPLITS = {"train": TRAIN, "val": VALIDATION}
TEXTS = [
    compose_header("On tea", ("tea", "rain"), "2024-01-02") + "It rained.\n",
    compose_header("On “quotes”, and commas", ("a, b",)) + 'He said "no",\nand left.\n\n',
    compose_header("On markers") + f"An author typed {MARK} here,\n{MARK}\nand <|endoftext\u200b|> there.",
    compose_header("", (), "2024-01-03") + f"{MARK}",
    compose_header("x") + "title: not a header\n\n\n  indented 日本語 \U0001f600\n\t",
    *(compose_header(f"Post {n}") + f"Words about post {n}. " * (n + 1) for n in range(8)),
]


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(Vocabulary.load(gpt2_folder()))


class Shelf:
    """A volume with GPT-2's vocabulary, and a dataset of texts."""

    def __init__(self, data: Path, codec: Codec) -> None:
        base = data / "base" / "124M"
        base.mkdir(parents=True)
        for name in ("encoder.json", "vocab.bpe"):
            (base / name).write_bytes((gpt2_folder() / name).read_bytes())
        self.data, self.codec, self.base = data, codec, base
        self.vocabularies, self.datasets = Vocabularies(data), Datasets(data)

    def dataset(self, texts: list[str], header_format: str = "header-v1", name: str = "blog-1") -> Dataset:
        source = DatasetSource(
            id=name,
            corpus="blog",
            snapshot="ab" * 32,
            vocabulary="124M",
            validation_fraction=0.3,
            header_format=header_format,
        )
        documents = (
            EncodedDocument(f"blog/{n:03}", f"{n:03}.md", f"T{n}", len(text.encode()), self.codec.encode(text))
            for n, text in enumerate(texts)
        )
        return write_dataset(self.datasets.clear(name), documents, vocabulary_folder=self.base, source=source)

    def export(self, dataset: Dataset, form: Format) -> Path:
        folder = self.data / f"export-{form}-{uuid.uuid4().hex}"
        folder.mkdir()
        for item in in_chunks(export(dataset, form), 1000):
            if isinstance(item, ExportFile):
                path = folder / item.name
                path.write_bytes(b"")
            else:
                assert 0 < len(item) <= 1000
                with path.open("ab") as file:
                    file.write(item)
        return folder

    def load(self, form: Format, *paths: Path, **values: Any) -> Dataset:
        return self.load_counting(form, *paths, **values)[0]

    def load_counting(self, form: Format, *paths: Path, **values: Any) -> tuple[Dataset, int]:
        files = tuple(
            ImportFile(path, path.name, hashlib.sha256(path.read_bytes()).hexdigest(), SPLITS.get(path.stem))
            for path in paths
        )
        values.setdefault("vocabulary", "124M")
        order = ImportOrder(form=form, corpus="imported", files=files, **values)
        return import_dataset(order, self.vocabularies, self.datasets)

    def file(self, name: str, content: bytes) -> Path:
        path = self.data / name
        path.write_bytes(content)
        return path


@pytest.fixture(autouse=True, scope="module")
def parsed_once() -> Iterator[None]:
    """Each vocabulary is parsed once: GPT-2's takes longer than all that these tests do with it."""
    known: dict[str, Vocabulary] = {}
    parse = Vocabulary.parse

    def parse_once(encoder: bytes, merges: bytes, *, where: Path) -> Vocabulary:
        digest = digest_of(encoder, merges)
        if digest not in known:
            known[digest] = parse(encoder, merges, where=where)
        return known[digest]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Vocabulary, "parse", parse_once)
        yield


@pytest.fixture
def shelf(tmp_path: Path, codec: Codec) -> Shelf:
    return Shelf(tmp_path, codec)


def documents_of(dataset: Dataset, side: int) -> list[list[int]]:
    return [dataset.tokens[d["start"] : d["end"]].tolist() for d in dataset.documents if d["split"] == side]


def files_of(folder: Path, form: Format) -> list[Path]:
    return sorted(folder.glob(f"*.{form}"))


def assert_equal(ours: Dataset, other: Dataset) -> None:
    for side in (TRAIN, VALIDATION):
        assert documents_of(ours, side) == documents_of(other, side)
    assert ours.documents["num_bytes"].sum() == other.documents["num_bytes"].sum()
    for key in ("num_tokens", "num_train_tokens", "num_validation_bytes", "header_format", "vocabulary_digest"):
        assert ours.manifest[key] == other.manifest[key]
    other.verify()


@pytest.mark.parametrize("form", list(Format))
def test_what_is_exported_is_imported_the_same(shelf: Shelf, form: Format) -> None:
    dataset = shelf.dataset(TEXTS)

    imported = shelf.load(form, *files_of(shelf.export(dataset, form), form))

    assert_equal(dataset, imported)


@pytest.mark.parametrize("form", list(Format))
def test_a_dataset_without_headers_stays_without(shelf: Shelf, form: Format) -> None:
    dataset = shelf.dataset([text.split("\n\n", 1)[1] for text in TEXTS if text.split("\n\n", 1)[1].strip()], "none")

    values = {"header": False} if form is Format.JSONL else {}
    imported = shelf.load(form, *files_of(shelf.export(dataset, form), form), **values)

    assert_equal(dataset, imported)


@pytest.mark.parametrize("form", list(Format))
def test_importing_the_same_again_finds_the_dataset(shelf: Shelf, form: Format) -> None:
    files = files_of(shelf.export(shelf.dataset(TEXTS), form), form)

    first, again = shelf.load(form, *files), shelf.load(form, *files)

    assert first.manifest == again.manifest
    assert shelf.load(form, *files, validation_fraction=0.2).manifest["id"] != first.manifest["id"]


DOCUMENT = st.lists(
    st.one_of(
        st.sampled_from(
            [MARK, "<|endoftext\u200b|>", "<|endoftext\u200b\u200b|>", "\n", '"', ",", "\u200b", "|>", " "]
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=8),
    ),
    max_size=12,
).map("".join)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(DOCUMENT.filter(str.strip), min_size=1, max_size=6), st.sampled_from(list(Format)))
def test_any_texts_survive_any_format(shelf: Shelf, texts: list[str], form: Format) -> None:
    dataset = shelf.dataset(texts, "none")
    for name in [m["id"] for m in shelf.datasets.manifests() if m["id"] != "blog-1"]:
        shelf.datasets.delete(name)

    imported = shelf.load(form, *files_of(shelf.export(dataset, form), form), header=False)

    assert_equal(dataset, imported)


@given(DOCUMENT)
def test_an_escaped_text_holds_no_marker_and_comes_back(text: str) -> None:
    assert MARK not in marker.escape(text)
    assert marker.unescape(marker.escape(text)) == text


@given(st.lists(DOCUMENT, max_size=5), st.integers(1, 40))
def test_documents_are_cut_at_their_markers_however_the_text_comes(texts: list[str], step: int) -> None:
    written = b"".join(text_files.write_txt(text_files.TextDocument(text) for text in texts)).decode()
    splitting = marker.Splitting()
    found = [d for at in range(0, len(written), step) for d in splitting.push(written[at : at + step])]

    assert [marker.unescape(document) for document in found] == texts
    assert splitting.end() == ""


def test_token_ids_come_with_their_vocabulary(shelf: Shelf) -> None:
    folder = shelf.export(shelf.dataset(TEXTS), Format.BIN)

    assert sorted(path.name for path in folder.iterdir()) == ["encoder.json", "train.bin", "val.bin", "vocab.bpe"]
    assert (folder / "encoder.json").read_bytes() == (gpt2_folder() / "encoder.json").read_bytes()


def test_json_lines_say_what_the_header_says(shelf: Shelf) -> None:
    folder = shelf.export(shelf.dataset(TEXTS), Format.JSONL)

    first = json.loads((folder / "dataset.jsonl").read_text().splitlines()[0])
    assert first == {
        "id": "blog/000",
        "path": "000.md",
        "title": "On tea",
        "tags": ["tea", "rain"],
        "date": "2024-01-02",
        "text": "It rained.\n",
        "split": first["split"],
    }
    assert first["split"] in ("train", "validation")


# What the tools themselves read


def peers_load_dataset() -> types.ModuleType:
    """gpt-2-simple's src/load_dataset.py, by its path: the package itself wants TensorFlow's first version."""
    spec = importlib.util.find_spec("gpt_2_simple")
    assert spec is not None, "gpt-2-simple is missing: pip install --no-deps gpt-2-simple"
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "src" / "load_dataset.py"
    module = types.ModuleType("load_dataset")
    kept = {name: sys.modules.get(name) for name in ("tensorflow", "tqdm")}
    sys.modules["tensorflow"] = types.ModuleType("tensorflow")  # imported there, and not used
    sys.modules["tqdm"] = types.SimpleNamespace(tqdm=lambda items: items)  # type: ignore[assignment]
    try:
        exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    finally:
        for name, there in kept.items():
            if there is None:
                del sys.modules[name]
            else:
                sys.modules[name] = there
    return module


def test_gpt_2_simple_reads_our_npz_and_samples_from_it(shelf: Shelf) -> None:
    dataset = shelf.dataset([f"Post {n} is about tea, and about rain. " * 50 for n in range(20)])
    folder = shelf.export(dataset, Format.NPZ)
    peer = peers_load_dataset()

    chunks = peer.load_dataset(None, str(folder / "train.npz"), 50000)

    flat = [token_id for chunk in chunks for token_id in chunk.tolist()]
    assert flat == [token_id for document in documents_of(dataset, TRAIN) for token_id in document]
    assert all(chunk.ndim == 1 and chunk.dtype.kind == "i" for chunk in chunks)
    window = peer.Sampler(chunks).sample(1024).tolist()
    assert any(flat[at : at + 1024] == window for at in range(len(flat)))


def test_gpt_2_simple_reads_our_csv_and_text(shelf: Shelf, codec: Codec) -> None:
    dataset = shelf.dataset(TEXTS)
    peer = peers_load_dataset()
    encoder = types.SimpleNamespace(encode=codec.encode)
    held = [codec.decode(document[:-1]) for document in documents_of(dataset, TRAIN)]

    (tokens,) = peer.load_dataset(encoder, str(shelf.export(dataset, Format.CSV) / "train.csv"), 50000)
    rows = codec.decode(tokens.tolist()).split(f"{MARK}\n")[:-1]
    assert [marker.unescape(row.removeprefix("<|startoftext|>")) for row in rows] == held

    (tokens,) = peer.load_dataset(encoder, str(shelf.export(dataset, Format.TXT) / "train.txt"), 1)
    texts = codec.decode(tokens.tolist()).split(f"\n{MARK}\n")[:-1]
    assert [marker.unescape(text) for text in texts] == held


def test_nanogpt_reads_our_bin(shelf: Shelf) -> None:
    dataset = shelf.dataset(TEXTS)
    folder = shelf.export(dataset, Format.BIN)

    data = np.memmap(folder / "train.bin", dtype=np.uint16, mode="r")  # karpathy/nanoGPT:train.py

    assert data.tolist() == [token_id for document in documents_of(dataset, TRAIN) for token_id in document]


def test_an_npz_of_the_2019_script_becomes_documents_with_the_real_marker(shelf: Shelf, codec: Codec) -> None:
    chunks = [np.stack(codec.encode(f"One.{MARK}Two's{MARK}")), np.stack(codec.encode("Three, alone."))]
    path = shelf.data / "posts.npz"
    np.savez_compressed(path, *chunks)

    dataset, num_empty = shelf.load_counting(Format.NPZ, path)

    texts = {codec.decode(d[:-1]) for side in (TRAIN, VALIDATION) for d in documents_of(dataset, side)}
    assert texts == {"One.", "Two's", "Three, alone."}
    assert num_empty == 0
    assert int((dataset.tokens == 50256).sum()) == 3


@pytest.mark.parametrize("kind", ["<i8", "<i4", "<u2", ">i4", "<u8"])
def test_an_npz_of_any_integers_is_read(shelf: Shelf, codec: Codec, kind: str) -> None:
    np.savez(shelf.data / "a.npz", np.array([*codec.encode("One."), 50256, *codec.encode("Two.")], dtype=kind))

    dataset = shelf.load(Format.NPZ, shelf.data / "a.npz")

    assert {codec.decode(d[:-1]) for s in (0, 1) for d in documents_of(dataset, s)} == {"One.", "Two."}


def test_text_of_others_is_cut_at_markers_within_lines_and_windows_line_breaks_become_ours(shelf: Shelf) -> None:
    path = shelf.file("posts.txt", f"\ufeffOne.\r\nMore.\r\n{MARK}\r\nTwo.{MARK}Three{MARK}\r\n \r\n{MARK}".encode())

    dataset, num_empty = shelf.load_counting(Format.TXT, path, header=False)

    texts = {shelf.codec.decode(d[:-1]) for side in (TRAIN, VALIDATION) for d in documents_of(dataset, side)}
    assert texts == {"One.\nMore.", "Two.", "Three"}
    assert num_empty == 1


def test_a_vocabulary_can_be_trained_on_imported_text(shelf: Shelf) -> None:
    path = shelf.file("posts.txt", f"\n{MARK}\n".join(TEXTS[-8:]).encode())

    dataset = shelf.load(Format.TXT, path, vocabulary="", own_vocabulary_size=300)

    assert 257 < dataset.manifest["vocabulary_size"] <= 300
    assert dataset.manifest["num_documents"] == 8
    assert dataset.manifest["header_format"] == "header-v1"


# What is refused


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


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


IDS = np.arange(1000)
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


def test_a_row_of_csv_may_be_longer_than_the_librarys_own_limit(shelf: Shelf) -> None:
    dataset = shelf.dataset(["word " * 40_000], "none")

    assert_equal(dataset, shelf.load(Format.CSV, *files_of(shelf.export(dataset, Format.CSV), Format.CSV)))
    assert csv.field_size_limit() == text_files.LARGEST_DOCUMENT_BYTES


def test_cancelling_an_import_leaves_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shelf.file("posts.txt", f"\n{MARK}\n".join(TEXTS).encode())

    def broken(*arguments: Any, **values: Any) -> Iterator[EncodedDocument]:
        raise OSError("cut")
        yield

    monkeypatch.setattr(importing, "encode_documents", broken)
    with pytest.raises(OSError, match="cut"):
        shelf.load(Format.TXT, path)

    assert list(shelf.datasets.folder.iterdir()) == []

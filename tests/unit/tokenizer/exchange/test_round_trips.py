"""What is exported is imported the same, whatever the texts and the format."""

from __future__ import annotations

import csv
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.tokenizer.exporting import Format
from services.tokenizer.formats import marker, text_files
from tests.gpt2_files import gpt2_folder
from tests.unit.tokenizer.exchange.shelf import MARK, TEXTS, Shelf, assert_equal, files_of


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


def test_a_row_of_csv_may_be_longer_than_the_librarys_own_limit(shelf: Shelf) -> None:
    dataset = shelf.dataset(["word " * 40_000], "none")

    assert_equal(dataset, shelf.load(Format.CSV, *files_of(shelf.export(dataset, Format.CSV), Format.CSV)))
    assert csv.field_size_limit() == text_files.LARGEST_DOCUMENT_BYTES

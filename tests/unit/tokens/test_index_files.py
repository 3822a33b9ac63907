"""An index goes with a model whole and sound, or not at all; what is opened can be searched without a crash."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from services.common.errors import Corrupt
from services.common.files import sha256_files, write_json
from services.tokens import index_files, suffix_search
from services.tokens.corpus_index import CorpusIndex
from services.tokens.dataset import DOCUMENT_TYPE, Dataset
from services.tokens.index_files import SUFFIXES_FILE, copy_index, write_index
from tests.unit.tokens.brute_force import END

TOKENS = [1, 2, 3, END, 1, 2, END, END]
ENDS = [4, 7, 8]


def write_manifest(folder: Path) -> Dataset:
    """What the folder holds now becomes what it should hold."""
    facts = {"num_tokens": 8, "num_documents": 3, "vocabulary_size": END + 1, "vocabulary_digest": "0" * 64}
    about = {"kind": "dataset", **facts, "end_of_text_id": END, "files": sha256_files(folder)}
    write_json(folder / "manifest.json", about)
    return Dataset.open(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a dataset's folder holds of three documents, without the index."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    np.save(folder / "tokens.npy", np.array(TOKENS, np.uint16))
    documents = np.zeros(3, DOCUMENT_TYPE)
    documents["end"], documents["start"][1:] = ENDS, ENDS[:-1]
    np.save(folder / "documents.npy", documents)
    (folder / "posts.json").write_text("[]")
    return folder


@pytest.fixture
def index_folder(folder: Path) -> Path:
    """The same with the index."""
    write_index(folder)
    return folder


def test_an_index_is_copied_or_sorted_where_there_is_none(folder: Path, tmp_path: Path):
    copy_index(write_manifest(folder), tmp_path / "sorted")
    write_index(folder)
    (folder / "style.json").write_text("{}")
    copy_index(write_manifest(folder), tmp_path / "copied")
    for name in ("sorted", "copied"):
        index = CorpusIndex.open(tmp_path / name, END)
        assert index.places(index.find([1, 2])) == [(0, 0), (1, 0)]
        assert (tmp_path / name / "posts.json").read_text() == "[]"
        assert (tmp_path / name / "style.json").exists() == (name == "copied")


def test_a_corpus_with_too_many_tokens_goes_without_an_index(folder: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(index_files, "MOST_INDEXED_TOKENS", 7)
    write_index(folder)
    copy_index(write_manifest(folder), tmp_path / "copy")
    assert not (folder / SUFFIXES_FILE).exists()
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("name", ["tokens.npy", "documents.npy", "posts.json", "style.json", SUFFIXES_FILE])
@pytest.mark.parametrize("is_gone", [True, False])
def test_a_damaged_file_is_named_and_nothing_is_copied(index_folder: Path, tmp_path: Path, name: str, is_gone: bool):
    (index_folder / "style.json").write_text("{}")
    dataset, path = write_manifest(index_folder), index_folder / name
    content = path.read_bytes()
    path.unlink()  # what is mapped stays what it was
    if not is_gone:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 0xFF]))
    with pytest.raises(Corrupt, match=rf"{name} is {'missing' if is_gone else 'damaged'}"):
        copy_index(dataset, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def save(folder: Path, **arrays: object) -> None:
    for name, values in arrays.items():
        if name == "ends":
            documents = np.zeros(len(values), DOCUMENT_TYPE)  # type: ignore[arg-type]
            documents["end"] = values
            np.save(folder / "documents.npy", documents)
        else:
            np.save(folder / f"{name}.npy", values)


@pytest.mark.parametrize(
    ("named", "arrays"),
    [
        ("suffixes", {"suffixes": np.arange(3, dtype=np.uint32)}),
        ("suffixes", {"suffixes": np.arange(8, dtype=np.int64)}),
        ("suffixes", {"suffixes": np.arange(1, 9, dtype=np.uint32)}),
        ("suffixes", {"suffixes": np.full(8, 2**32 - 1, np.uint32)}),
        ("documents", {"ends": [4, 7]}),
        ("documents", {"ends": [4, 7, 9]}),
        ("documents", {"ends": [7, 4, 8]}),
        ("documents", {"ends": [-4, 7, 8]}),
        ("documents", {"ends": []}),
        ("documents", {"documents": np.array(ENDS)}),
        ("tokens", {"ends": [3, 7, 8]}),
        ("tokens", {"tokens": np.array([*TOKENS[:-1], 1], np.uint16)}),
        ("tokens", {"tokens": np.array(TOKENS, np.float64)}),
        ("tokens", {"tokens": np.array([TOKENS], np.uint16)}),
        ("tokens", {"tokens": np.zeros(0, np.uint16)}),
        ("tokens", {"tokens": np.array([2**32 - 1, *TOKENS[1:]], np.uint32)}),
    ],
    ids=str,
)
def test_what_would_be_searched_beyond_its_end_is_not_opened(index_folder: Path, named: str, arrays: dict[str, object]):
    save(index_folder, **arrays)
    with pytest.raises(Corrupt, match=rf"{named}\.npy is damaged"):
        CorpusIndex.open(index_folder, END, END + 1)


def test_suffixes_in_a_wrong_order_read_nothing_beyond_the_tokens(index_folder: Path):
    save(index_folder, suffixes=np.full(8, 7, np.uint32))
    index = CorpusIndex.open(index_folder, END)
    assert suffix_search._at(index.tokens, 10**12) == END
    assert index.longer(index.find([1]), 2).num_places == 0
    assert len(index.runs([1, 2, 3])) <= 3


CALLS = """
import json, sys
from pathlib import Path
from services.tokens import suffix_search
from services.tokens.corpus_index import CorpusIndex

def compiled():
    return {name: len(f.signatures) for name, f in vars(suffix_search).items() if hasattr(f, "signatures")}

index = CorpusIndex.open(Path(sys.argv[1]), 5)
before = compiled()
found = index.longer(index.find([1]), 2)
index.follow(found, [1, 2, 3]), index.followers(found), index.longest_end([3, 1, 2]), index.runs([1, 2, 2])
print(json.dumps([before, compiled()]))
"""


def test_all_that_is_compiled_is_compiled_when_an_index_is_opened(index_folder: Path):
    said = subprocess.run(
        [sys.executable, "-c", CALLS, str(index_folder)], capture_output=True, check=True, text=True
    ).stdout
    before, after = json.loads(said)
    assert before == after
    assert after["runs"] == 1

"""Other tools' own code reads our files, and we read theirs."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from services.tokenizer.exporting import Format
from services.tokenizer.formats import marker
from services.tokens.codec import Codec
from services.tokens.split import TRAIN, VALIDATION
from tests.unit.tokenizer.exchange.shelf import MARK, TEXTS, Shelf, documents_of


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

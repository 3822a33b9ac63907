"""The engine file of a published version, made in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from services.common.errors import Corrupt
from services.common.files import sha256_files
from services.gpt2.checkpoint import write_weights
from services.gpt2.config import GPT2Config
from services.gpt2.model import init_params
from services.litert.stored import find_engine, weights_digest
from services.trainer.converting import MAX_TOKENS, convert, held_out_rows
from tests.unit.trainer.tiny import write_tiny_dataset, write_vocabulary

CONFIG = GPT2Config(n_vocab=257, n_ctx=32, n_embd=8, n_head=2, n_layer=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version as publishing has it before it is complete."""
    write_vocabulary(tmp_path)
    write_weights(tmp_path, 4, init_params(CONFIG, 1), CONFIG)
    return tmp_path


def test_a_version_gets_an_engine_file_that_was_compared_on_held_out_text(folder):
    convert(folder, np.arange(60, dtype=np.int32).reshape(3, 20))
    assert find_engine(folder, weights_digest(sha256_files(folder)))
    assert json.loads((folder / "engine.json").read_text())["tokens_compared"] == 3 * 19


def test_damaged_weights_are_named(folder):
    next(folder.glob("*.data-*")).write_bytes(b"")
    with pytest.raises(Corrupt, match="model-4"):
        convert(folder, None)
    assert not (folder / "engine.litert").exists()


def test_a_conversion_that_was_killed_leaves_the_version_without(folder, monkeypatch, caplog):
    monkeypatch.setattr("services.litert.apart.PROGRAM", ("/bin/sh", "-c", "kill -9 $$"))
    (folder / ".partial-half").write_text("half")
    (folder / "engine.litert").write_text("without its report")
    convert(folder, None)
    assert "no engine file was made" in caplog.text
    assert "status -9" in caplog.text
    assert not [path for path in folder.iterdir() if path.name.startswith((".partial", "engine"))]


def test_rows_are_what_the_run_did_not_learn_from(tmp_path):
    dataset = write_tiny_dataset(tmp_path)
    rows = held_out_rows(dataset, 8)
    assert rows.shape[1] == 8
    assert rows.size <= MAX_TOKENS
    assert (rows.ravel() == dataset.validation.window(0, rows.size)).all()

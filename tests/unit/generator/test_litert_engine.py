"""What the engine makes of its settings."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from services.generator import litert_engine
from services.generator.litert_engine import LiteRTEngine
from services.gpt2.config import FRESH, SIZES, GPT2Config
from services.litert import engine_file
from services.litert import model as litert_model
from services.litert.convert import convert
from services.litert.model import choose_threads
from services.litert.tiles import VNNI, find_instructions

TINY = GPT2Config(n_vocab=16, n_ctx=8, n_embd=12, n_head=3, n_layer=1)


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(0)
    params = {name: rng.standard_normal(shape, np.float32) for name, shape in TINY.shapes.items()}
    convert(TINY, params, tmp_path / "engine")
    return tmp_path / "engine"


def test_a_file_is_read_once(path, monkeypatch):
    reads = []

    def read(path: Path) -> engine_file.EngineFile:
        reads.append(path)
        return original(path)

    original = engine_file.read
    monkeypatch.setattr(engine_file, "read", read)
    LiteRTEngine(path, 1, cache_bytes=1_000_000)
    assert reads == [path]


def test_with_litert_the_smallest_model_runs_on_one_thread_and_gpt2_on_all_cores(monkeypatch):
    monkeypatch.setattr(litert_model, "find_instructions", lambda: 0)
    assert choose_threads(FRESH["nano"], "int8", 6) == 1
    assert {choose_threads(config, "int8", 6) for config in SIZES.values()} == {6}


def test_our_products_are_shared_as_far_as_they_go(monkeypatch):
    monkeypatch.setattr(litert_model, "find_instructions", lambda: VNNI)
    assert choose_threads(FRESH["nano"], "int8", 3) == 3
    assert choose_threads(FRESH["nano"], "int8", 96) == 4
    assert choose_threads(SIZES["124M"], "int8", 96) == 24
    assert choose_threads(FRESH["nano"], "float32", 6) == 1


@pytest.mark.parametrize(
    ("products", "asked", "small", "threads"),
    [
        (0, 0, TINY.num_parameters + 1, 1),
        (0, 0, TINY.num_parameters, 3),
        (0, 2, 10**9, 2),
        (find_instructions(), 0, 0, 1 if find_instructions() else 3),
        (find_instructions(), 2, 0, 2),
    ],
)
def test_threads_are_those_asked_for_else_what_suits_the_model(path, monkeypatch, products, asked, small, threads):
    monkeypatch.setattr(litert_model, "find_instructions", lambda: products)
    monkeypatch.setattr(litert_engine, "cores", lambda: 3)
    monkeypatch.setattr(litert_model, "SMALL_PARAMETERS", small)
    before = set(threading.enumerate())
    engine = LiteRTEngine(path, 1, cache_bytes=1_000_000, threads=asked)
    begun = {thread.name for thread in set(threading.enumerate()) - before}
    assert begun == {f"products-{i}" for i in range(1, threads)}
    assert engine.num_blocks == 1

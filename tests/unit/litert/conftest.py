"""One small model, odd in every number, for every test of the folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.gpt2.config import GPT2Config
from services.litert.convert import convert
from services.litert.model import LiteRTModel
from tests.unit.litert.texts import Sequence, random_params


@pytest.fixture(scope="session")
def config() -> GPT2Config:
    """Odd in every number: tails of vectors, of blocks and of shares are all there."""
    return GPT2Config(n_vocab=301, n_ctx=150, n_embd=42, n_head=3, n_layer=3)


@pytest.fixture(scope="session")
def params(config: GPT2Config) -> dict[str, np.ndarray]:
    return random_params(config)


@pytest.fixture(scope="session")
def int8_file(config, params, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("litert") / "engine.litert"
    convert(config, params, path)
    return path


@pytest.fixture(scope="session")
def float32_file(config, params, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("litert") / "engine.litert"
    convert(config, params, path, "float32")
    return path


@pytest.fixture
def model(int8_file):
    model = LiteRTModel(int8_file, num_blocks=12, threads=2)
    yield model
    model.close()


@pytest.fixture
def texts(config) -> list[Sequence]:
    """Four texts of other lengths, their blocks scattered over the cache."""
    rng = np.random.default_rng(5)
    blocks = rng.permutation(12).tolist()
    return [
        Sequence(rng.integers(config.n_vocab, size=length).tolist(), blocks[3 * i : 3 * i + 3])
        for i, length in enumerate([150, 64, 129, 7])
    ]

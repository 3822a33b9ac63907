"""A tiny model for every test of the folder."""

from __future__ import annotations

import numpy as np
import pytest

from services.gpt2.config import GPT2Config
from services.gpt2.model import init_params


@pytest.fixture(scope="session")
def tiny() -> GPT2Config:
    """Two layers of width 8; a context that is no power of two, so that rounding up could go wrong."""
    return GPT2Config(n_vocab=11, n_ctx=24, n_embd=8, n_head=2, n_layer=2)


@pytest.fixture(scope="session")
def tiny_params(tiny: GPT2Config) -> dict[str, np.ndarray]:
    """Weights large enough for attention to look somewhere: near-uniform ones would hide mistakes."""
    rng = np.random.default_rng(5)
    return {
        name: (value + 0.4 * rng.standard_normal(value.shape)).astype(np.float32)
        for name, value in init_params(tiny, seed=1).items()
    }

"""Ten steps have the losses of transformers + PyTorch. The whole, 30 steps of 124M, is `make parity`."""

from __future__ import annotations

import pytest

from services.gpt2.config import GPT2Config
from tests.bench import training_contestants as contestants

CONFIG = GPT2Config(n_vocab=300, n_ctx=32, n_embd=64, n_head=4, n_layer=2)


@pytest.mark.parametrize("how", ["float32", "float32, checkpointing"])
def test_ten_steps_have_the_losses_of_transformers(how: str) -> None:
    rows = contestants.batches(CONFIG, 2, 32, 1)[0]
    ours = contestants.ours(CONFIG, how, 2, 32)
    theirs = contestants.transformers(CONFIG, "float32", 2, 32)

    pairs = [(ours(rows), theirs(rows)) for _ in range(10)]

    assert pairs[-1][0] < pairs[0][0]  # trained
    assert all(mine == pytest.approx(other, abs=1e-3) for mine, other in pairs)

"""What tests of the training step share: a model of two tiny layers, and rows for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from services.gpt2 import model
from services.gpt2.config import GPT2Config
from services.trainer.run_settings import RunSettings
from services.trainer.training.batch import Batch
from services.trainer.training.loop import Trainer

CONFIG = GPT2Config(n_vocab=23, n_ctx=16, n_embd=8, n_head=2, n_layer=2)


def params_of(seed: int = 1) -> dict[str, np.ndarray]:
    return model.init_params(CONFIG, seed)


def trainer_with(
    *,
    params: dict[str, np.ndarray] | None = None,
    dtype: tf.DType = tf.float32,
    xla: bool = False,
    behind: int = 0,
    **settings: Any,
) -> Trainer:
    settings = {"dataset": "d", "dropout": 0.0, "clip_norm": 0.0, "batch_size": 4} | settings
    return Trainer(dict(params or params_of()), CONFIG, RunSettings(**settings), dtype, xla=xla, behind=behind)


def rows_of(num_rows: int, length: int = 8, seed: int = 0) -> Batch:
    tokens = np.random.default_rng(seed).integers(0, CONFIG.n_vocab, (num_rows, length + 1)).astype(np.int32)
    return Batch(tokens[:, :-1], tokens[:, 1:])


def everything(trainer: Trainer) -> dict[str, np.ndarray]:
    return trainer.params() | trainer.state()


def assert_equal(found: Trainer, expected: Trainer) -> None:
    """Weights and state are the same to the last bit."""
    ours, theirs = everything(found), everything(expected)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in theirs)

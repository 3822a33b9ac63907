"""How many threads the TensorFlow engine takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.generator.tensorflow_engine import choose_threads
from services.gpt2.checkpoint import write_weights
from services.gpt2.config import FRESH, SIZES, GPT2Config
from services.gpt2.model import init_params

TINY = GPT2Config(n_vocab=16, n_ctx=8, n_embd=8, n_head=2, n_layer=1)


def test_small_models_take_one_thread_and_large_ones_all_cores_unless_told() -> None:
    assert {choose_threads(0, config.num_parameters) for config in FRESH.values()} == {1}
    assert {choose_threads(0, config.num_parameters) for config in SIZES.values()} == {0}
    assert choose_threads(3, SIZES["124M"].num_parameters) == choose_threads(3, FRESH["nano"].num_parameters) == 3


@pytest.mark.parametrize("asked", [0, 2])
def test_threads_are_set_before_tensorflow_begins(tmp_path: Path, asked: int) -> None:
    write_weights(tmp_path, 1, init_params(TINY, 1), TINY)
    code = (
        "import sys, pathlib, tensorflow as tf\n"
        "from services.generator.tensorflow_engine import TensorflowEngine\n"
        f"for _ in range(2): TensorflowEngine(pathlib.Path(sys.argv[1]), 1, threads={asked})\n"
        "print(tf.config.threading.get_intra_op_parallelism_threads())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert ended.stdout.split()[-1] == str(asked or 1)
    assert "restart the generator" not in ended.stderr

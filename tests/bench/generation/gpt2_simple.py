"""gpt-2-simple 0.8.1: its `sample_sequence`, the loop that `generate` runs. It has no bfloat16."""

from __future__ import annotations

import importlib.util
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np

from tests.bench.generation.case import CORES, TOP_K, Case, InThisProcess, Outcome, Settings
from tests.bench.generation.files import CONFIG, MODEL, VERSION

FILES = "published"


def title() -> str:
    """Name and version."""
    return f"gpt-2-simple {version('gpt-2-simple')}, float32"


def candidates(case: Case) -> list[Settings]:
    """TensorFlow's threads within an operation."""
    return [{"threads": CORES}] + ([{"threads": CORES // 2}] if CORES > 1 else [])


def _part(name: str, folder: Path) -> ModuleType:
    """By its path: the package itself wants modules that only its downloads need."""
    full = f"gpt_2_simple.src.{name}"
    spec = importlib.util.spec_from_file_location(full, folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module


class GPT2Simple(InThisProcess):
    """See Contestant."""

    compiles_shapes = True

    def __init__(self, folder: Path, case: Case, settings: Settings) -> None:
        import tensorflow as tf

        tf.compat.v1.disable_eager_execution()
        package = importlib.util.find_spec("gpt_2_simple")
        assert package is not None, "gpt-2-simple is missing: pip install --no-deps gpt-2-simple"
        source = Path(package.submodule_search_locations[0]) / "src"
        for parent in ("gpt_2_simple", "gpt_2_simple.src"):
            sys.modules[parent] = ModuleType(parent)
        model = sys.modules["gpt_2_simple.src"].model = _part("model", source)
        sample = _part("sample", source)
        hparams = model.default_hparams()
        hparams.override_from_dict(CONFIG.to_hparams())
        self._context = tf.compat.v1.placeholder(tf.int32, [case.streams, None])
        self._session = tf.compat.v1.Session(
            config=tf.compat.v1.ConfigProto(intra_op_parallelism_threads=settings["threads"])
        )
        self._tokens = {
            length: sample.sample_sequence(
                hparams=hparams,
                length=length,
                context=self._context,
                batch_size=case.streams,
                temperature=1.0,
                top_k=TOP_K,
            )
            for length in (1, 1 + case.new)
        }
        weights = folder / "data" / "models" / MODEL / str(VERSION) / "model-1"
        tf.compat.v1.train.Saver(tf.compat.v1.trainable_variables()).restore(self._session, str(weights))

    def run(self, prompts: np.ndarray, new: int) -> Outcome:
        prefill_s = self._generate(prompts, 1)
        total_s = self._generate(prompts, 1 + new)
        return Outcome(prefill_s, total_s - prefill_s, prefill_s)

    def _generate(self, prompts: np.ndarray, length: int) -> float:
        begun = time.perf_counter()
        out = self._session.run(self._tokens[length], {self._context: prompts})
        assert out.shape[1] == prompts.shape[1] + length, "it stopped early"
        return time.perf_counter() - begun


load = GPT2Simple

"""KerasHub: `GPT2CausalLM.generate` on TensorFlow, float32."""

from __future__ import annotations

import json
import os
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tests.bench.generation.case import TOP_K, Case, InThisProcess, Outcome, Settings

FILES = "hugging_face"


def title() -> str:
    """Name and version."""
    return f"keras-hub {version('keras-hub')}, float32"


def candidates(case: Case) -> list[Settings]:
    """With and without XLA."""
    return [{"jit_compile": False}, {"jit_compile": True}]


class KerasHub(InThisProcess):
    """See Contestant."""

    compiles_shapes = True

    def __init__(self, folder: Path, case: Case, settings: Settings) -> None:
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        import keras_hub as library

        # By its parts: `from_preset` wants the text packages of every other model.
        from keras_hub.src.utils.transformers import convert_gpt2
        from keras_hub.src.utils.transformers.safetensor_utils import SafetensorLoader

        config = {"resid_pdrop": 0.0, **json.loads((folder / FILES / "config.json").read_text())}
        backbone = library.models.GPT2Backbone(**convert_gpt2.convert_backbone_config(config))
        with SafetensorLoader(str(folder / FILES)) as loader:
            convert_gpt2.convert_weights(backbone, loader, config)
        self._model = library.models.GPT2CausalLM(backbone=backbone, preprocessor=None)
        self._model.compile(sampler=library.samplers.TopKSampler(k=TOP_K), jit_compile=settings["jit_compile"])

    def run(self, prompts: np.ndarray, new: int) -> Outcome:
        prefill_s = self._generate(prompts, 1)
        total_s = self._generate(prompts, 1 + new)
        return Outcome(prefill_s, total_s - prefill_s, prefill_s)

    def _generate(self, prompts: np.ndarray, length: int) -> float:
        ids = np.pad(prompts, [(0, 0), (0, length)]).astype(np.int32)  # it fills rows up to their end
        mask = np.arange(ids.shape[1])[None, :] < prompts.shape[1]
        inputs = {"token_ids": ids, "padding_mask": np.broadcast_to(mask, ids.shape)}
        begun = time.perf_counter()
        out = self._model.generate(inputs, stop_token_ids=None)
        assert np.asarray(out["padding_mask"]).all(), "it stopped early"
        return time.perf_counter() - begun


load = KerasHub

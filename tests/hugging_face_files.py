"""Writes tiny models as Hugging Face's folders have them, without transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from services.gpt2 import model
from services.gpt2.config import GPT2Config
from services.gpt2.hugging_face import hugging_face_name
from tests.unit.trainer.tiny import CONFIG, write_vocabulary


def hugging_face_config(config: GPT2Config = CONFIG, **changes: Any) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "vocab_size": config.n_vocab,
        "n_positions": config.n_ctx,
        "n_embd": config.n_embd,
        "n_head": config.n_head,
        "n_layer": config.n_layer,
    } | changes


def hugging_face_tensors(config: GPT2Config = CONFIG, seed: int = 1) -> dict[str, np.ndarray]:
    """Fresh weights under transformers' names, without `transformer.`."""
    params = model.init_params(config, seed)
    return {hugging_face_name(name): value[0] if value.ndim == 3 else value for name, value in params.items()}


def write_hugging_face(
    folder: Path, tensors: dict[str, np.ndarray] | None = None, prefix: str = "transformer.", **changes: Any
) -> Path:
    """Write a folder of four files; `changes` are entries of config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_vocabulary(folder)
    (folder / "encoder.json").rename(folder / "vocab.json")
    (folder / "vocab.bpe").rename(folder / "merges.txt")
    (folder / "config.json").write_text(json.dumps(hugging_face_config(**changes)))
    tensors = hugging_face_tensors() if tensors is None else tensors
    named = {name if name.startswith("lm_head") else prefix + name: value for name, value in tensors.items()}
    save_file({name: np.ascontiguousarray(value) for name, value in named.items()}, folder / "model.safetensors")
    return folder

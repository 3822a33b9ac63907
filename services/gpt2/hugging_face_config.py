"""`config.json` of a Hugging Face folder: is it a GPT-2 as we compute it, and of what size?

Imports no TensorFlow. Defaults of absent entries after transformers: models/gpt2/configuration_gpt2.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.common.errors import Corrupt
from services.common.files import read_json
from services.gpt2.config import GPT2Config

# Entry, what it is when absent, and what our forward pass computes.
_COMPUTED: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
    ("activation_function", "gelu_new", ("gelu_new", "gelu_pytorch_tanh")),  # one formula under two names
    ("layer_norm_epsilon", 1e-5, (1e-5,)),
    ("scale_attn_weights", True, (True,)),
    ("scale_attn_by_inverse_layer_idx", False, (False,)),
    ("add_cross_attention", False, (False,)),
    ("is_encoder_decoder", False, (False,)),
    ("quantization_config", None, (None,)),
)


def read_config(path: Path) -> GPT2Config:
    """Return the architecture that a `config.json` states.

    Raises:
        Corrupt: it is no JSON object, not of a GPT-2, or of one that is computed otherwise; says which entry.
    """
    entries = read_json(path)
    if not isinstance(entries, dict):
        raise _corrupt(path, "is not an object of settings")
    kind = entries.get("model_type")
    if kind != "gpt2":
        raise _corrupt(path, f"is of a model of type {kind!r}; only 'gpt2' can be trained here")
    for name, default, computed in _COMPUTED:
        value = entries.get(name, default)
        if value not in computed:
            raise _corrupt(path, f"says {name} {value!r}; GPT-2 is computed here with {computed[0]!r} alone")
    hparams = {
        "n_vocab": entries.get("vocab_size", 50257),
        "n_ctx": entries.get("n_positions", entries.get("n_ctx", 1024)),
        "n_embd": entries.get("n_embd", 768),
        "n_head": entries.get("n_head", 12),
        "n_layer": entries.get("n_layer", 12),
    }
    config = GPT2Config.from_hparams(hparams, source=str(path))
    inner = entries.get("n_inner")
    if inner not in (None, 4 * config.n_embd):
        raise _corrupt(path, f"says n_inner {inner!r}; here it is four times n_embd, {4 * config.n_embd}")
    return config


def _corrupt(path: Path, problem: str) -> Corrupt:
    return Corrupt(f"{path} {problem}", metadata={"file": str(path)})

"""LoRA (Hu et al. 2021): beside each matrix W of a block, two thin ones A and B are trained in its place.

A linear layer computes x W + (x A) B * scale; see services.gpt2.model. B begins at zero, so that the first step
starts from the base. `merge` makes ordinary weights of them.

In: weights by OpenAI's names. Out: weights by name. Knows no files, no TensorFlow.
C inputs of a matrix, F its outputs, R the rank.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from services.gpt2.config import GPT2Config

ADAPTED = ("attn/c_attn", "attn/c_proj", "mlp/c_fc", "mlp/c_proj")
_RANDOM = 4  # the random stream of `init`

Arrays = Mapping[str, npt.NDArray[np.float32]]


def is_thin(name: str) -> bool:
    """True for the name of an A or B."""
    return name.endswith(("/lora_a", "/lora_b"))


def layers(config: GPT2Config, first_block: int = 0) -> list[str]:
    """Names of the linear layers that are adapted, from a block on."""
    return [f"model/h{block}/{layer}" for block in range(first_block, config.n_layer) for layer in ADAPTED]


def scale_of(rank: int, alpha: float) -> float:
    """What the products are multiplied by: alpha / rank; an alpha of 0 means twice the rank."""
    return (alpha or 2.0 * rank) / rank


def init(config: GPT2Config, rank: int, seed: int, *, first_block: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Make A [C, R], uniform within 1/sqrt(C) as the authors' code has it, and B [R, F], zero, for each layer."""
    random = np.random.default_rng([seed, _RANDOM])
    thin: dict[str, npt.NDArray[np.float32]] = {}
    for name in layers(config, first_block):
        _, inputs, outputs = config.shapes[f"{name}/w"]
        values = random.random((inputs, rank), np.float32) * 2 - 1
        thin[f"{name}/lora_a"] = values / np.float32(np.sqrt(inputs))
        thin[f"{name}/lora_b"] = np.zeros((rank, outputs), np.float32)
    return thin


def merge(params: Arrays, scale: float) -> dict[str, npt.NDArray[np.float32]]:
    """Return ordinary weights that compute what `params` with its A and B does."""
    merged = {name: value for name, value in params.items() if not is_thin(name)}
    for name in params:
        if name.endswith("/lora_a"):
            layer = name.removesuffix("/lora_a")
            product = params[name] @ params[f"{layer}/lora_b"]  # [C, F]
            merged[f"{layer}/w"] = params[f"{layer}/w"] + (product * np.float32(scale))[None]
    return merged

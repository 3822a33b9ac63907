"""Random weights and texts."""

from __future__ import annotations

import numpy as np

from services.gpt2.config import GPT2Config
from services.litert.model import Tokens
from services.litert.tiles import AMX, VNNI, find_instructions

# What this processor can compute products with; 0 is LiteRT.
PRODUCTS = {AMX: [0, VNNI, AMX], VNNI: [0, VNNI], 0: [0]}[find_instructions()]


def random_params(config: GPT2Config, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights whose every array matters: gains and biases are not the ones and zeros that training begins with."""
    rng = np.random.default_rng(seed)
    params = {}
    for name, shape in config.shapes.items():
        spread = 0.15 if name.endswith(("/w", "/b", "/g")) else 0.5
        params[name] = rng.standard_normal(shape, np.float32) * np.float32(spread)
        if name.endswith("/g"):
            params[name] += 1
    return params


class Sequence:
    """Ids of one text with blocks of their own."""

    def __init__(self, ids: list[int], blocks: list[int]) -> None:
        self.ids = ids
        self.blocks = blocks

    def chunk(self, start: int, end: int, num_logits: int | None = None) -> Tokens:
        return Tokens(self.blocks, start, self.ids[start:end], end - start if num_logits is None else num_logits)

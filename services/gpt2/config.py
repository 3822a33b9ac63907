"""The five numbers that make a GPT-2, and the shape of every array that follows from them.

In: `hparams.json` of a checkpoint, or the name of a size. Out: a frozen GPT2Config.
Names of fields and arrays are those of openai/gpt-2 (src/model.py). Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from services.common.errors import Corrupt


@dataclass(frozen=True, slots=True)
class GPT2Config:
    """Architecture of one model. Whole numbers above zero; `n_head` divides `n_embd`.

    Args:
        n_vocab: number of tokens in the vocabulary (V).
        n_ctx: longest context, in tokens (T).
        n_embd: width of the residual stream (C).
        n_head: attention heads per layer (H).
        n_layer: number of blocks (L).

    Raises:
        ValueError: a number is not a whole number above zero, or `n_head` does not divide `n_embd`.
    """

    n_vocab: int
    n_ctx: int
    n_embd: int
    n_head: int
    n_layer: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{field.name} is {value!r}; expected a whole number above zero")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} is not a multiple of n_head {self.n_head}")

    @property
    def head_size(self) -> int:
        """Width of one attention head (D)."""
        return self.n_embd // self.n_head

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every array by OpenAI's name. Matrices of a block carry OpenAI's leading 1."""
        C = self.n_embd
        shapes: dict[str, tuple[int, ...]] = {"model/wpe": (self.n_ctx, C), "model/wte": (self.n_vocab, C)}
        for layer in range(self.n_layer):
            block = f"model/h{layer}"
            shapes |= {
                f"{block}/ln_1/g": (C,),
                f"{block}/ln_1/b": (C,),
                f"{block}/attn/c_attn/w": (1, C, 3 * C),
                f"{block}/attn/c_attn/b": (3 * C,),
                f"{block}/attn/c_proj/w": (1, C, C),
                f"{block}/attn/c_proj/b": (C,),
                f"{block}/ln_2/g": (C,),
                f"{block}/ln_2/b": (C,),
                f"{block}/mlp/c_fc/w": (1, C, 4 * C),
                f"{block}/mlp/c_fc/b": (4 * C,),
                f"{block}/mlp/c_proj/w": (1, 4 * C, C),
                f"{block}/mlp/c_proj/b": (C,),
            }
        return shapes | {"model/ln_f/g": (C,), "model/ln_f/b": (C,)}

    @property
    def num_parameters(self) -> int:
        """Number of weights; the output layer is the embedding and counts once."""
        return sum(prod(shape) for shape in self.shapes.values())

    @classmethod
    def from_hparams(cls, hparams: Mapping[str, Any], *, source: str = "hparams.json") -> GPT2Config:
        """Build from the content of `hparams.json`; other entries in it are left alone.

        Args:
            hparams: the parsed file.
            source: its path, for the message.

        Raises:
            Corrupt: an entry is missing or is not a number that fits.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(hparams, Mapping) or any(name not in hparams for name in names):
            raise Corrupt(f"{source} does not state all of {', '.join(names)}", metadata={"file": source})
        try:
            return cls(**{name: hparams[name] for name in names})
        except ValueError as error:
            raise Corrupt(f"{source}: {error}", metadata={"file": source}) from None

    def to_hparams(self) -> dict[str, int]:
        """Return what `hparams.json` holds."""
        return dataclasses.asdict(self)


# The published sizes. They are known by two names: the count first given in 2019 left the embeddings out.
SIZES = {
    "124M": GPT2Config(n_vocab=50257, n_ctx=1024, n_embd=768, n_head=12, n_layer=12),
    "355M": GPT2Config(n_vocab=50257, n_ctx=1024, n_embd=1024, n_head=16, n_layer=24),
    "774M": GPT2Config(n_vocab=50257, n_ctx=1024, n_embd=1280, n_head=20, n_layer=36),
    "1558M": GPT2Config(n_vocab=50257, n_ctx=1024, n_embd=1600, n_head=25, n_layer=48),
}
SIZES["117M"] = SIZES["124M"]
SIZES["345M"] = SIZES["355M"]

# Small enough that a laptop's CPU learns a voice in minutes, with a vocabulary trained on the corpus.
FRESH = {
    "nano": GPT2Config(n_vocab=2048, n_ctx=256, n_embd=128, n_head=4, n_layer=4),
    "micro": GPT2Config(n_vocab=4096, n_ctx=512, n_embd=192, n_head=6, n_layer=6),
    "mini": GPT2Config(n_vocab=8192, n_ctx=512, n_embd=384, n_head=6, n_layer=6),
}


def is_matrix(name: str) -> bool:
    """Whether the weight of that name is a linear layer's matrix, or the token embedding, which is the last one's."""
    return name == "model/wte" or name.endswith("/w")

"""Which weights a run trains. In: the run's settings. Out: names. The others stay as they are, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable

from services.trainer.run_settings import RunSettings
from services.trainer.training import lora

EMBEDDINGS = ("model/wte", "model/wpe")


def trained_names(names: Iterable[str], settings: RunSettings) -> list[str]:
    """Return those of `names` that get gradients, in their order.

    - `only_transformer_layers`: the blocks alone, as train.py's --only_train_transformer_layers.
    - `frozen_layers`: neither the first so many blocks nor the embeddings.
    - `lora_rank`: of what is left, LoRA's matrices alone.
    """
    frozen = tuple(f"model/h{layer}/" for layer in range(settings.frozen_layers))

    def is_trained(name: str) -> bool:
        if settings.lora_rank and not lora.is_thin(name):
            return False
        if settings.only_transformer_layers and not name.startswith("model/h"):
            return False
        return not (name.startswith(frozen) or (frozen and name in EMBEDDINGS))

    return [name for name in names if is_trained(name)]

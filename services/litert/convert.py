"""Conversion: weights by OpenAI's names to an engine file.

In: an architecture and its arrays. Out: a file (engine_file.py).
The structure is written as it stands (graph.py), not traced and converted by TensorFlow, which takes half a minute
for 124M weights: here the time goes into rounding and writing them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from services.gpt2.config import GPT2Config
from services.litert import engine_file
from services.litert.graph import Builder, serialise

Precision = Literal["int8", "float32"]


def convert(
    config: GPT2Config, params: Mapping[str, NDArray[np.float32]], path: Path, precision: Precision = "int8"
) -> None:
    """Write the engine file of a model; the same weights give the same bytes.

    Args:
        params: float32 arrays, shapes as in `config.shapes`.
        path: of the file; its folder is there already.
        precision: of the matrices and the token embeddings.

    Raises:
        ValueError: the arrays are not those of `config`, or hold something that is no number.
    """
    shapes = {name: tuple(value.shape) for name, value in params.items()}
    if shapes != config.shapes:
        wrong = sorted(set(shapes.items()) ^ set(config.shapes.items()))
        raise ValueError(f"these arrays do not make a model of {config}: {wrong[:3]}")
    for name, value in params.items():
        if not np.isfinite(value.min()) or not np.isfinite(value.max()):
            raise ValueError(f"{name} holds values that are not numbers")
    builder = Builder(config, params, precision)
    arrays = builder.arrays
    arrays.add("model/wpe", params["model/wpe"])
    structure, positions = serialise(builder.parts, arrays)
    facts: dict[str, Any] = {"config": config.to_hparams(), "precision": precision, "arrays": {}}
    for name, number in arrays.numbers.items():
        value = arrays.values[number - 1]
        facts["arrays"][name] = {
            "position": positions[number - 1],
            "shape": list(value.shape),
            "dtype": value.dtype.str,
        }
    engine_file.write(path, structure, dict(zip(positions, arrays.values, strict=True)), facts)

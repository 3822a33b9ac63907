"""The engine file of a version that is being published, made and verified in a process of its own.

In: a folder with weights and vocabulary, the dataset that they learned from. Out: engine.litert and its report in the
folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.common.errors import Unavailable
from services.litert.apart import convert_apart
from services.tokens.dataset import Dataset

log = logging.getLogger(__name__)

MAX_TOKENS = 4096  # of held-out text that predictions are compared on
# Given the folder of a version and rows of token ids, or None.
Convert = Callable[[Path, "NDArray[np.int32] | None"], None]


def convert(folder: Path, rows: NDArray[np.int32] | None) -> None:
    """Add an engine file to a version's folder.

    A version is whole without one: where the process is killed, as for want of memory, the generator converts it.

    Args:
        rows: int32 [R, T] of the run's validation split; None: predictions are compared on the model's own text.

    Raises:
        Corrupt: the weights are damaged or hold what is no number.
        FailedPrecondition: reason ENGINE_INEXACT: the engine is too far from the weights, in float32 too.
    """
    try:
        report = convert_apart(folder, folder, rows=rows)
    except Unavailable as error:
        log.warning("no engine file was made, the generator will: %s", error)
        return
    log.info(
        "engine file in %s: perplexity %.4g, of the weights %.4g, next-token agreement %.1f %%",
        *(report["precision"], report["perplexity"], report["float32_perplexity"], 100 * report["agreement"]),
    )


def held_out_rows(dataset: Dataset, context: int) -> NDArray[np.int32] | None:
    """Rows of a dataset's validation split, int32 [R, T], at most MAX_TOKENS; None where it is too short.

    Args:
        context: longest sequence of the model.
    """
    held_out = dataset.validation
    length = min(context, len(held_out))
    if length < 2:
        return None
    count = max(1, min(MAX_TOKENS, len(held_out)) // length)
    return np.stack([held_out.window(row * length, length) for row in range(count)])

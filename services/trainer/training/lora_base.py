"""The matrices beneath LoRA's, kept once for a run: from a checkpoint's merged ones they cannot be had exactly.

A folder of the run's own, since what the run began from may be changed or gone when it is resumed. In: weights.
Out: one file. Knows no training.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.common.errors import Corrupt
from services.common.files import new_folder, remove_folder
from services.gpt2.config import GPT2Config
from services.trainer.training import lora

FOLDER, FILE = "lora-base", "base.npz"


def write(run_folder: Path, config: GPT2Config, params: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Keep the matrices that LoRA adapts; replaces those of an attempt that came to no checkpoint."""
    folder = run_folder / FOLDER
    if folder.exists():
        remove_folder(folder)
    with new_folder(folder) as partial:
        # As archives hold them, "/" is a folder.
        matrices = {f"{layer}/w".replace("/", "."): params[f"{layer}/w"] for layer in lora.layers(config)}
        np.savez(partial / FILE, **matrices)  # type: ignore[arg-type]


def read(run_folder: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return what `write` kept; Corrupt when it is not whole. Archives carry a checksum of every array."""
    path = run_folder / FOLDER / FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name.replace(".", "/"): arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise Corrupt(
            f"{path}, the base beneath the run's LoRA, cannot be read ({error}); start another run",
            metadata={"file": str(path)},
        ) from None

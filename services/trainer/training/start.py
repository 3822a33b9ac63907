"""The weights that a run starts from: random ones, or those that were taken into its folder when it was made."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.common.errors import FailedPrecondition
from services.common.files import verify_files
from services.gpt2 import checkpoint as weights
from services.gpt2 import model
from services.gpt2.config import GPT2Config
from services.trainer.beginning import START_FOLDER
from services.trainer.run_settings import RunSettings
from services.trainer.sources import is_fresh
from services.trainer.volume import read_manifest


def start_params(run_folder: Path, config: GPT2Config, settings: RunSettings) -> dict[str, np.ndarray]:
    """Return float32 arrays by OpenAI's names.

    Raises:
        Corrupt: a file is missing or is not as it was when the run was made; names it.
        FailedPrecondition: the weights do not have the run's shape.
    """
    if is_fresh(settings.base):
        return model.init_params(config, settings.seed)
    start = run_folder / START_FOLDER
    print(f"Loading checkpoint {start}", flush=True)
    verify_files(start, read_manifest(start)["files"])
    found, params = weights.read_weights(start)
    if found != config:
        raise FailedPrecondition(f"base {settings.base!r} is not the one that the run began with")
    return params


def first_step(run_folder: Path, settings: RunSettings) -> int:
    """How many steps were done before the run began: by another program, in the same folder."""
    return 0 if is_fresh(settings.base) else int(read_manifest(run_folder / START_FOLDER).get("step", 0))

"""Checkpoints of a run in training: weights and optimizer state out, and bit for bit in again.

A step's folder opens as OpenAI's layout does; optimizer.npz and state.json stand beside the weights, so
that the
2019 scripts, which refuse variables they do not know, read it too. state.json holds what does not follow
from the
step: the loss average, the time spent, the number format. Everything random follows from (seed, step).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from services.common.errors import Corrupt
from services.common.files import new_folder, sha256_files, write_atomic, write_json
from services.gpt2 import checkpoint as weights
from services.gpt2.pointer import write_pointer
from services.trainer.checkpoints import (
    Checkpoint,
    delete_checkpoint,
    folder_of,
    list_checkpoints,
    superfluous,
)
from services.trainer.events import now
from services.trainer.training.loop import Trainer
from services.trainer.training.state import STATE_FILE, TrainingState

OPTIMIZER_FILE = "optimizer.npz"


def save(run_folder: Path, trainer: Trainer, state: TrainingState, *, keep: int) -> Checkpoint:
    """Write the checkpoint of `state.step`, point the run's `checkpoint` file at it, drop old ones."""
    folder = folder_of(run_folder, state.step)
    with new_folder(folder) as partial:
        weights.write_weights(partial, state.step, trainer.variables, trainer.config)
        moments: dict[str, Any] = {name.replace("/", "."): m for name, m in trainer.optimizer.state().items()}
        np.savez(partial / OPTIMIZER_FILE, **moments)
        write_json(partial / STATE_FILE, asdict(state))
        manifest = {
            "kind": "checkpoint",
            "run": run_folder.name,
            "step": state.step,
            "created_at": now(),
            "validation": state.validation,
            "files": sha256_files(partial),
        }
        write_json(partial / "manifest.json", manifest)
    write_pointer(run_folder, f"{folder.name}/model-{state.step}")
    write_atomic(run_folder / "counter", f"{state.step}\n".encode())
    for old in superfluous(list_checkpoints(run_folder), keep):
        delete_checkpoint(old)
    return Checkpoint(run_folder.name, state.step, folder, manifest)


def restore_optimizer(checkpoint: Checkpoint, trainer: Trainer) -> None:
    """Read a checkpoint's moments into the optimizer; Corrupt when they do not fit."""
    path = checkpoint.folder / OPTIMIZER_FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            trainer.optimizer.restore({name.replace(".", "/"): arrays[name] for name in arrays.files})
    except (OSError, ValueError) as error:
        raise Corrupt(f"{path} does not fit the run ({error})", metadata={"file": str(path)}) from None

"""Checkpoints of a run in training: weights and optimizer state out, and bit for bit in again.

A step's folder opens as OpenAI's layout does; optimizer.npz and state.json stand beside the weights, so
that the
2019 scripts, which refuse variables they do not know, read it too. state.json holds what does not follow
from the
step: the loss average, the time spent, the number format. Everything random follows from (seed, step).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.common.errors import Corrupt
from services.common.files import new_folder, read_json, sha256_files, write_atomic, write_json
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
from services.trainer.training.average import LossAverage
from services.trainer.training.loop import Trainer

OPTIMIZER_FILE, STATE_FILE = "optimizer.npz", "state.json"


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What a run knows beside weights and moments when a step is done."""

    step: int = 0
    average: LossAverage = LossAverage()
    seconds: float = 0.0
    """Time spent training, over all processes of the run."""
    precision: str = ""
    """Number format chosen at the start: a resumed run keeps it, whatever `auto` would choose then."""
    validation: dict[str, Any] | None = None
    """The newest: `step`, `loss`, `bits_per_byte`."""
    left_out: tuple[str, ...] = ()
    """What a stop cut short at this step, of `validation` and `sample`: a resumed run does it first."""


def save(run_folder: Path, trainer: Trainer, state: TrainingState, *, keep: int) -> Checkpoint:
    """Write the checkpoint of `state.step`, point the run's `checkpoint` file at it, drop old ones."""
    folder = folder_of(run_folder, state.step)
    with new_folder(folder) as partial:
        weights.write_weights(partial, state.step, trainer.params(), trainer.config)
        moments: dict[str, Any] = {name.replace("/", "."): m for name, m in trainer.state().items()}
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


def read_state(checkpoint: Checkpoint) -> TrainingState:
    """Read a checkpoint's state.json; Corrupt when it is not one of ours."""
    path = checkpoint.folder / STATE_FILE
    values = read_json(path)
    try:
        return TrainingState(**(values | {"average": LossAverage(**values["average"])}))
    except (TypeError, KeyError) as error:
        raise Corrupt(f"{path} does not hold a training state ({error})", metadata={"file": str(path)}) from None


def restore_optimizer(checkpoint: Checkpoint, trainer: Trainer) -> None:
    """Read a checkpoint's moments into the optimizer; Corrupt when they do not fit."""
    path = checkpoint.folder / OPTIMIZER_FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            trainer.restore({name.replace(".", "/"): arrays[name] for name in arrays.files})
    except (OSError, ValueError) as error:
        raise Corrupt(f"{path} does not fit the run ({error})", metadata={"file": str(path)}) from None

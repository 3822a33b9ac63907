"""Checkpoints of a run in training, written beside it: training waits for a copy of the arrays in memory, no longer.

A step's folder opens as OpenAI's layout does; optimizer.npz and state.json stand beside the weights, so that the
2019 scripts, which refuse variables they do not know, read it too. In: a trainer and its state. Out: folders that
are whole or absent, with the SHA-256 of every file. Knows no schedule.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from services.common.errors import Corrupt, FailedPrecondition, NonesuchError
from services.common.files import new_folder, sha256_files, write_atomic, write_json
from services.gpt2 import checkpoint as weights
from services.gpt2.config import GPT2Config
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
SMALL_FILES_BYTES = 256 << 10  # of a checkpoint: names, manifest, index
MARGIN = 0.02  # of a checkpoint's size that stays free besides
Arrays = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Copy:
    """All that a checkpoint holds, apart from what goes on training."""

    state: TrainingState
    config: GPT2Config
    params: Arrays
    moments: Arrays

    @classmethod
    def of(cls, trainer: Trainer, state: TrainingState) -> Copy:
        """Copy weights and moments into memory of their own."""
        return cls(state, trainer.config, trainer.params(), trainer.state())


@dataclass(frozen=True, slots=True)
class Written:
    """How the writing of a checkpoint ended."""

    step: int
    error: str
    """Why there is none; empty when it is complete."""
    passing: bool = False
    """Whether the next try may do better, as on a full disk."""


class Saver:
    """Writes a run's checkpoints, one at a time, in a thread of its own.

    Args:
        run_folder: where; its `checkpoint` and `counter` follow the newest.
        keep: newest checkpoints that stay; the best and marked ones stay besides.
    """

    def __init__(self, run_folder: Path, *, keep: int) -> None:
        self._folder, self._keep = run_folder, keep
        self._thread: threading.Thread | None = None
        self._ended: list[Written] = []

    def begin(self, trainer: Trainer, state: TrainingState) -> None:
        """Copy what the checkpoint of `state.step` holds, and have it written. Waits for the one before, if need be.

        Raises:
            OSError: there is not room enough; says how much is missing. Nothing was copied.
        """
        if self._thread:
            self._thread.join()
        self._make_room(_size(trainer))
        copy = Copy.of(trainer, state)
        self._thread = threading.Thread(target=self._write, args=(copy,), name="saver")
        self._thread.start()

    def ended(self) -> list[Written]:
        """How writings have ended since this was asked for last."""
        ended, self._ended = self._ended, []
        return ended

    def wait(self) -> None:
        """Return when nothing is being written."""
        if self._thread:
            self._thread.join()
            self._thread = None

    def _write(self, copy: Copy) -> None:
        ended = Written(copy.state.step, "")
        try:
            write(self._folder, copy)
            self._drop(self._keep)
        except Exception as failure:  # noqa: BLE001 - the boundary of the thread: told, and tried again when next due
            error = failure.message if isinstance(failure, NonesuchError) else str(failure) or type(failure).__name__
            ended = Written(copy.state.step, error, passing=isinstance(failure, OSError | tf.errors.OpError))
        self._ended = [*self._ended, ended]

    def _make_room(self, size: int) -> None:
        """Have room for `size` bytes; where there is not, drop first what would be dropped afterwards."""
        needed = size + int(size * MARGIN)
        if shutil.disk_usage(self._folder).free < needed:
            self._drop(max(1, self._keep - 1))
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise OSError(
                f"{self._folder} has {_mebibytes(free)} free and a checkpoint needs {_mebibytes(needed)}: "
                f"make room for {_mebibytes(needed - free)}"
            )

    def _drop(self, keep: int) -> None:
        for old in superfluous(list_checkpoints(self._folder), keep):
            delete_checkpoint(old)


def write(run_folder: Path, copy: Copy) -> Checkpoint:
    """Write the checkpoint of `copy.state.step`, and point the run's `checkpoint` file at it.

    Raises:
        OSError: as on a full disk; nothing is left of it then.
        FailedPrecondition: the weights hold what is no number; nothing is written.
    """
    step = copy.state.step
    for name, array in (*copy.params.items(), *copy.moments.items()):
        if not np.isfinite(np.sum(array)):
            raise FailedPrecondition(f"{name} holds what is no number")
    folder = folder_of(run_folder, step)
    with new_folder(folder) as partial:
        with (partial / OPTIMIZER_FILE).open("wb") as file:
            hashing = _Hashing(file)
            np.savez(hashing, **{name.replace("/", "."): moment for name, moment in copy.moments.items()})  # type: ignore[arg-type]
        weights.write_weights(partial, step, copy.params, copy.config)
        write_json(partial / STATE_FILE, asdict(copy.state))
        manifest = {
            "kind": "checkpoint",
            "run": run_folder.name,
            "step": step,
            "created_at": now(),
            "validation": copy.state.validation,
            "files": sha256_files(partial, known={OPTIMIZER_FILE: hashing.digest}),
        }
        write_json(partial / "manifest.json", manifest)
    write_pointer(run_folder, f"{folder.name}/model-{step}")
    write_atomic(run_folder / "counter", f"{step}\n".encode())
    return Checkpoint(run_folder.name, step, folder, manifest)


def restore_optimizer(checkpoint: Checkpoint, trainer: Trainer) -> None:
    """Read a checkpoint's moments into the optimizer; Corrupt when they do not fit."""
    path = checkpoint.folder / OPTIMIZER_FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            trainer.restore({name.replace(".", "/"): arrays[name] for name in arrays.files})
    except (OSError, ValueError) as error:
        raise Corrupt(f"{path} does not fit the run ({error})", metadata={"file": str(path)}) from None


class _Hashing(io.RawIOBase):
    """A file that is written forwards only, and knows the SHA-256 of what was: it need not be read again for that."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._digest.update(piece)
        return self._file.write(piece)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


def _size(trainer: Trainer) -> int:
    """Bytes of a checkpoint's files."""
    variables = [*trainer.variables.values(), *trainer.optimizer.moments.values()]
    return sum(4 * variable.shape.num_elements() for variable in variables) + SMALL_FILES_BYTES


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"

"""Checkpoints of a run in training, written beside it: training waits for a copy of the arrays in memory, no longer.

A step's folder opens as OpenAI's layout does; optimizer.npz and state.json stand beside the weights, so that the
2019 scripts, which refuse variables they do not know, read it too. In: a trainer and its state. Out: folders that
are whole or absent, with the SHA-256 of every file. Knows no schedule.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from services.common.errors import Corrupt, FailedPrecondition, NonesuchError
from services.common.files import new_folder, read_json, sha256_file, sha256_files, write_atomic, write_json
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
from services.trainer.events import FILE_NAME as EVENTS
from services.trainer.events import now
from services.trainer.metrics_log import FILE_NAME as METRICS
from services.trainer.training.copy_memory import CopyMemory
from services.trainer.training.loop import Trainer
from services.trainer.training.state import STATE_FILE, TrainingState
from services.trainer.training.tensorboard import PATTERN as TENSORBOARD

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


@dataclass(frozen=True, slots=True)
class Written:
    """How the writing of a checkpoint ended."""

    step: int
    error: str = ""
    """What went wrong; empty: nothing did."""
    is_there: bool = True
    """Whether the checkpoint is complete. With an error as well, what follows its writing is not."""
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
        self._ended: deque[Written] = deque()  # both threads use it
        self._memory: CopyMemory | None = None

    def prepare(self, trainer: Trainer) -> None:
        """Begin to take the memory that copies need, so that the first does not wait for it."""
        shapes = {name: tuple(variable.shape) for name, variable in _sources(trainer).items()}

        def take() -> None:
            self._memory = CopyMemory(shapes)

        self.wait()
        self._thread = threading.Thread(target=take, name="saver")
        self._thread.start()

    def begin(self, trainer: Trainer, state: TrainingState) -> None:
        """Copy what the checkpoint of `state.step` holds, and have it written. Waits for the one before, if need be.

        Raises:
            OSError: there is not room enough; says how much is missing. Nothing was copied.
        """
        if self._memory is None:
            self.prepare(trainer)
        self.wait()
        self._make_room(_size(trainer))
        copy = self._copy(trainer, state)
        self._thread = threading.Thread(target=self._write, args=(copy,), name="saver")
        self._thread.start()

    def ended(self) -> list[Written]:
        """How writings have ended since this was asked for last."""
        return [self._ended.popleft() for _ in range(len(self._ended))]

    def wait(self) -> None:
        """Return when nothing is being written."""
        if self._thread:
            self._thread.join()
            self._thread = None

    def _copy(self, trainer: Trainer, state: TrainingState) -> Copy:
        sources = _sources(trainer)
        if not sources or self._memory is None:  # LoRA's weights are merged first, which copies them
            return Copy(state, trainer.config, trainer.params(), trainer.state())
        copied = self._memory.copy(sources)
        params = {name: copied.pop(name) for name in trainer.config.shapes}
        if trainer.loss_scale:
            copied["loss_scale"] = np.array([trainer.loss_scale.scale, trainer.loss_scale.sound_steps], np.float32)
        return Copy(state, trainer.config, params, copied)

    def _write(self, copy: Copy) -> None:
        step = copy.state.step
        ended = Written(step)
        try:
            sync_record(self._folder)
            write(self._folder, copy)
            self._drop(self._keep)  # before what follows, for which it makes room
            point(self._folder, step)
        except Exception as failure:  # noqa: BLE001 - the boundary of the thread: told, and tried again when next due
            error = failure.message if isinstance(failure, NonesuchError) else str(failure) or type(failure).__name__
            is_there = folder_of(self._folder, step).exists()
            ended = Written(step, error, is_there, passing=isinstance(failure, OSError | tf.errors.OpError))
        self._ended.append(ended)

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
        """Delete old checkpoints; what cannot be decided or deleted stays."""
        try:
            for old in superfluous(list_checkpoints(self._folder), keep):
                delete_checkpoint(old)
        except (NonesuchError, OSError) as error:
            print(f"old checkpoints stay: {error}", flush=True)


def write(run_folder: Path, copy: Copy) -> Checkpoint:
    """Write the checkpoint of `copy.state.step`.

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
            **_told(copy.state),
            "files": sha256_files(partial, known={OPTIMIZER_FILE: hashing.digest}),
        }
        write_json(partial / "manifest.json", manifest)
    return Checkpoint(run_folder.name, step, folder, manifest)


def _told(state: TrainingState) -> dict[str, Any]:
    """What a checkpoint's manifest tells of its state: what others choose checkpoints by."""
    return {
        "validation": state.validation,
        "originality": state.originality,
        "left_out": list(state.left_out),
    }


def sync_record(run_folder: Path) -> None:
    """Make durable what was told of the run so far: after a power cut no checkpoint is ahead of it.

    A resumed run writes nothing of the steps before its checkpoint again.
    """
    files = [run_folder / METRICS, run_folder / EVENTS, *run_folder.glob(TENSORBOARD)]
    for path in files:
        with suppress(FileNotFoundError), path.open("rb") as file:
            os.fsync(file.fileno())


def point(run_folder: Path, step: int) -> None:
    """Have other programs find a checkpoint as the run's newest: by the files `checkpoint` and `counter`.

    Raises:
        OSError: as on a full disk; what they said before stands.
    """
    write_pointer(run_folder, f"{folder_of(run_folder, step).name}/model-{step}")
    write_atomic(run_folder / "counter", f"{step}\n".encode())


def restate(folder: Path, state: TrainingState) -> None:
    """Replace the state of a checkpoint whose weights stay, as after a validation that a stop had cut short.

    Killed in between, the checkpoint is sound, with the state of before or the new one: in between the manifest holds
    no digest of it.

    Raises:
        OSError: as on a full disk; the same holds.
    """
    sync_record(folder.parent)
    manifest = read_json(folder / "manifest.json")
    manifest["files"].pop(STATE_FILE, None)
    write_json(folder / "manifest.json", manifest)
    write_json(folder / STATE_FILE, asdict(state))
    manifest |= _told(state)
    manifest["files"][STATE_FILE] = sha256_file(folder / STATE_FILE)
    write_json(folder / "manifest.json", manifest)


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


def _sources(trainer: Trainer) -> dict[str, tf.Variable]:
    """The variables that a checkpoint holds as they are, by name; none where the weights are computed from others."""
    if trainer.variables.keys() != trainer.config.shapes.keys():
        return {}
    return {**trainer.variables, **trainer.optimizer.moments}


def _size(trainer: Trainer) -> int:
    """Bytes of a checkpoint's files."""
    variables = [*trainer.variables.values(), *trainer.optimizer.moments.values()]
    return sum(4 * variable.shape.num_elements() for variable in variables) + SMALL_FILES_BYTES


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"

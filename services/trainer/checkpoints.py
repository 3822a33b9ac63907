"""A run's checkpoints on the volume: found, checked, chosen, deleted.

A checkpoint is the folder `step-<N>` with weights, optimizer state, state.json and a manifest; without a
valid manifest it does not exist. Writing and loading the arrays is training/saving.py. Knows no TensorFlow.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt, NotFound
from services.common.files import read_json, remove_folder, verify_files, write_json
from services.gpt2.pointer import write_pointer
from services.trainer.volume import read_manifest, size_of

MARKS_FILE = "marks.json"  # of a run: the steps whose checkpoints are kept whatever `keep` says
_FOLDER = re.compile(r"step-(\d+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint: its manifest is there, its files are not yet verified."""

    run: str
    step: int
    folder: Path
    manifest: dict[str, Any]

    @property
    def created_at(self) -> str:
        """When it was complete, ISO 8601."""
        return str(self.manifest["created_at"])

    @property
    def validation(self) -> dict[str, Any] | None:
        """`step`, `loss` and `bits_per_byte` of the validation nearest before it."""
        return self.manifest["validation"]

    @property
    def measured_loss(self) -> float | None:
        """Validation loss of its own weights; None where only those of a step before were measured."""
        found = self.validation
        return float(found["loss"]) if found and found["step"] == self.step else None

    @property
    def originality(self) -> dict[str, Any] | None:
        """`step`, `verbatim_share` and `longest_run_tokens` of the samples at its step, or of the last before."""
        return self.manifest.get("originality")

    @property
    def awaits_samples(self) -> bool:
        """Whether a stop cut the samples of its step short: a resumed run writes them first."""
        return "sample" in self.manifest.get("left_out", ())

    @property
    def size_bytes(self) -> int:
        """Size of all its files; 0 when it was deleted meanwhile."""
        return size_of(self.folder)

    def verify(self) -> None:
        """Compare every file with the manifest; Corrupt names the first that differs."""
        verify_files(self.folder, self.manifest["files"])


def folder_of(run_folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return run_folder / f"step-{step}"


def list_checkpoints(run_folder: Path) -> list[Checkpoint]:
    """The complete checkpoints of a run, by step. A folder without a sound manifest is skipped."""
    found = []
    for step in _steps(run_folder):
        with contextlib.suppress(Corrupt):  # also when the training process has just deleted it
            found.append(_read(run_folder, step))
    return found


def get_checkpoint(run_folder: Path, step: int) -> Checkpoint:
    """Return one checkpoint.

    Raises:
        NotFound: the run has none of that step; says which it has.
        Corrupt: its manifest is damaged.
    """
    folder = folder_of(run_folder, step)
    if not folder.is_dir():
        steps = ", ".join(str(checkpoint.step) for checkpoint in list_checkpoints(run_folder)) or "none"
        raise NotFound(
            f"run {run_folder.name!r} has no checkpoint of step {step}; it has {steps}",
            reason="CHECKPOINT_NOT_FOUND",
            metadata={"run": run_folder.name, "step": str(step)},
        )
    return _read(run_folder, step)


def newest_sound(run_folder: Path) -> tuple[Checkpoint | None, list[Corrupt]]:
    """Return the newest checkpoint whose files are as written, and what is wrong with those after it."""
    damage: list[Corrupt] = []
    for step in reversed(_steps(run_folder)):
        try:
            checkpoint = _read(run_folder, step)
            checkpoint.verify()
        except Corrupt as error:
            damage.append(error)
        else:
            return checkpoint, damage
    return None, damage


def delete_after(run_folder: Path, step: int) -> None:
    """Remove every checkpoint later than `step`, damaged ones too."""
    for later in _steps(run_folder):
        if later > step:
            remove_folder(folder_of(run_folder, later))


def best(checkpoints: list[Checkpoint]) -> Checkpoint | None:
    """The one whose own weights have the lowest validation loss, the earliest of equals; None: none was measured."""
    measured = [(loss, one) for one in checkpoints if (loss := one.measured_loss) is not None]
    return min(measured, key=lambda found: found[0])[1] if measured else None


def marked_steps(run_folder: Path) -> list[int]:
    """The steps whose checkpoints are marked, ascending; Corrupt names marks.json when it is damaged."""
    path = run_folder / MARKS_FILE
    if not path.exists():
        return []
    steps = read_json(path)
    if not isinstance(steps, list) or not all(isinstance(step, int) for step in steps):
        raise Corrupt(f"{path} is not a list of steps; delete it and mark again", metadata={"file": str(path)})
    return steps


def mark(run_folder: Path, step: int, marked: bool) -> None:
    """Note that a checkpoint is to be kept, or no longer. Only the service calls this."""
    steps = {*marked_steps(run_folder)} - {step}
    write_json(run_folder / MARKS_FILE, sorted(steps | {step} if marked else steps))


def superfluous(checkpoints: list[Checkpoint], keep: int) -> list[Checkpoint]:
    """Those to delete: all but the newest `keep`, the one with the lowest validation loss, and marked ones."""
    if not checkpoints:
        return []
    kept = {*marked_steps(checkpoints[0].folder.parent)}
    lowest = best(checkpoints)
    return [old for old in checkpoints[:-keep] if old is not lowest and old.step not in kept]


def delete_checkpoint(checkpoint: Checkpoint) -> None:
    """Remove a checkpoint, and point the run's `checkpoint` file at the newest that is left."""
    run_folder = checkpoint.folder.parent
    remove_folder(checkpoint.folder)
    left = list_checkpoints(run_folder)
    if left:
        write_pointer(run_folder, f"{left[-1].folder.name}/model-{left[-1].step}")
    else:
        (run_folder / "checkpoint").unlink(missing_ok=True)


def _read(run_folder: Path, step: int) -> Checkpoint:
    folder = folder_of(run_folder, step)
    return Checkpoint(run_folder.name, step, folder, read_manifest(folder, "created_at", "validation"))


def _steps(run_folder: Path) -> list[int]:
    """The steps of all checkpoint folders, sound or not, ascending."""
    return sorted(int(named[1]) for folder in run_folder.glob("step-*") if (named := _FOLDER.fullmatch(folder.name)))

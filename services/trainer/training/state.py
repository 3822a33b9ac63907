"""What a run knows beside weights and moments when a step is done, as state.json of a checkpoint holds it.

Everything random follows from (seed, step), and is not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.common.errors import Corrupt
from services.common.files import read_json
from services.trainer.checkpoints import Checkpoint
from services.trainer.training.average import LossAverage
from services.trainer.training.divergence import LossHistory

STATE_FILE = "state.json"


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
    best: dict[str, Any] | None = None
    """The validation with the lowest loss."""
    since_best: int = 0
    """Validations after it."""
    losses: LossHistory = LossHistory()
    """The last ones, where jumps are looked for."""
    behind: int = 0
    """Of the steps, those that another program had done before the run began: no epoch, token or update of ours."""
    refused: int = 0
    """Steps in a row, up to this one, that changed nothing."""
    originality: dict[str, Any] | None = None
    """Of the newest samples that were measured: `step`, `verbatim_share`, `longest_run_tokens`."""


def read_state(checkpoint: Checkpoint) -> TrainingState:
    """Read a checkpoint's state.json; Corrupt when it is not one of ours."""
    path = checkpoint.folder / STATE_FILE
    values = read_json(path)
    try:
        return TrainingState(
            **values
            | {
                "average": LossAverage(**values["average"]),
                "losses": LossHistory(tuple(values.get("losses", {}).get("losses", ()))),
                "left_out": tuple(values["left_out"]),
            }
        )
    except (TypeError, KeyError) as error:
        raise Corrupt(f"{path} does not hold a training state ({error})", metadata={"file": str(path)}) from None

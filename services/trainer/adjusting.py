"""What became different from a run's settings while it ran: smaller micro-batches, and lower rates from a step on.

Kept in adjustments.json of the run's folder, so that every later process of the run does the same. The settings
themselves stay as they were asked for. In: settings. Out: those to train with. Starts and trains nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt
from services.common.files import read_json, write_json
from services.trainer.run_settings import RunSettings

FILE_NAME = "adjustments.json"
LOWER = 0.5  # each divergence halves the rate


@dataclass(frozen=True, slots=True)
class Adjustments:
    """Nothing, to begin with."""

    batch_size: int = 0
    """Rows per forward pass; 0: as the settings say. Rows per step stay: there are more passes instead."""
    gradient_checkpointing: bool = False
    """Turned on for want of memory."""
    lowered_after: tuple[int, ...] = ()
    """Each step after which the learning rate is half of what it was."""
    returned_from: int = 0
    """The step at which the numbers had gone bad for good, and the run went back to a checkpoint; 0: it never did."""

    def apply(self, settings: RunSettings) -> RunSettings:
        """Return the settings to train with."""
        rows = settings.rows_per_step
        size = self.batch_size or settings.batch_size
        return replace(
            settings,
            batch_size=size,
            accumulation=rows // size,
            gradient_checkpointing=settings.gradient_checkpointing or self.gradient_checkpointing,
        )

    def rate_factor(self, step: int) -> float:
        """What the learning rate of a step is multiplied by."""
        return LOWER ** sum(after < step for after in self.lowered_after)


def read_adjustments(run_folder: Path) -> Adjustments:
    """Read a run's; none were made where there is no file. Corrupt names the file when it is damaged."""
    path = run_folder / FILE_NAME
    if not path.exists():
        return Adjustments()
    values: Any = read_json(path)
    try:
        return Adjustments(**values | {"lowered_after": tuple(values["lowered_after"])})
    except (TypeError, KeyError) as error:
        raise Corrupt(f"{path} does not hold adjustments ({error})", metadata={"file": str(path)}) from None


def write_adjustments(run_folder: Path, adjustments: Adjustments) -> None:
    """Replace a run's, atomically."""
    write_json(run_folder / FILE_NAME, asdict(adjustments))


def with_less_memory(settings: RunSettings, adjustments: Adjustments) -> tuple[Adjustments, str] | None:
    """Return adjustments that need less memory for the same step, and what they are in words; None: there are none.

    Args:
        settings: as asked for.
        adjustments: so far.
    """
    now = adjustments.apply(settings)
    each = max(1, settings.gpus)  # so many GPUs share a micro-batch evenly
    sizes = [size for size in range(each, now.batch_size // 2 + 1, each) if now.batch_size % size == 0]
    if sizes:
        size = sizes[-1]
        smaller = replace(adjustments, batch_size=size)
        passes = smaller.apply(settings).accumulation
        return (
            smaller,
            f"with {size} rows at a time in {passes} passes a step (it was {now.batch_size} in {now.accumulation})",
        )
    if not now.gradient_checkpointing:
        return replace(adjustments, gradient_checkpointing=True), "with gradient checkpointing"
    return None


def what_would_fit(settings: RunSettings) -> str:
    """Say what to change when a single row with gradient checkpointing does not fit."""
    return (
        f"a single row of {settings.context} tokens with gradient checkpointing does not fit; lower context, set "
        "lora_rank, take a smaller base, or give the trainer more memory"
    )

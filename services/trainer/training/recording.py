"""What is seen of a run in training, told in every place that tells it.

In: what a step or a validation computed. Out: a line of metrics.jsonl, an update for those who watch, a record for
TensorBoard, a line on the console. What the clock says is added here. Computes nothing of the run.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from services.trainer.events import EventLog
from services.trainer.metrics_log import FILE_NAME, MetricsLog
from services.trainer.training.measuring import Pace
from services.trainer.training.tensorboard import TensorBoard


class Record:
    """A run's record from a step on.

    Args:
        folder: the run's.
        pace: told how long each step took.
        started: `time.monotonic()` when the process began.
        after_step: the last step that is done; what the files say of later ones is dropped.
        validated: whether that step's validation was made.
    """

    def __init__(
        self, folder: Path, events: EventLog, pace: Pace, *, started: float, after_step: int, validated: bool
    ) -> None:
        self._events, self._pace, self._started = events, pace, started
        self._metrics = MetricsLog(folder / FILE_NAME, after_step=after_step, validated=validated)
        self._tensorboard = TensorBoard(folder, after_step=after_step, validated=validated)

    def step(self, facts: dict[str, Any], took: float) -> None:
        """Tell of a step.

        Args:
            facts: `step`, `loss`, `avg`, `learning_rate`, `gradient_norm`, `epoch`.
            took: its seconds.
        """
        self._pace.step_took(took)
        seconds = self.seconds
        line = facts | {"seconds": round(seconds, 3)} | self._pace.clocks(facts["step"])
        self._metrics.append(line)
        self._events.append("metrics", **line)
        self._tensorboard.append(line)
        # train.py's line, to the letter.
        print(f"[{facts['step']} | {seconds:.2f}] loss={facts['loss']:.2f} avg={facts['avg']:.2f}", flush=True)

    def validation(self, facts: dict[str, Any]) -> bool:
        """Tell of a validation; True when its loss is the lowest so far.

        Args:
            facts: `step`, `loss`, `bits_per_byte`, `token_accuracy`.
        """
        others = {name: value for name, value in facts.items() if name != "loss"}
        line = others | {"seconds": round(self.seconds, 3), "validation_loss": facts["loss"]}
        is_best = self._metrics.append_validation(line)
        self._events.append("validation", **facts, best=is_best)
        self._tensorboard.append(line)
        print(f"[{facts['step']} | {self.seconds:.2f}] validation loss = {facts['loss']:.2f}", flush=True)
        return is_best

    def costing(self, what: str) -> AbstractContextManager[None]:
        """Time the block as one `validation`, `sample` or `checkpoint` of those that the run has yet to make."""
        return self._pace.costing(what)

    def flush(self) -> None:
        """Write the lines that a full disk has kept waiting; OSError says why they cannot be written."""
        self._metrics.flush()

    @property
    def seconds(self) -> float:
        """Seconds since the process began."""
        return time.monotonic() - self._started

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._metrics.__exit__(kind, error, trace)
        self._tensorboard.close()

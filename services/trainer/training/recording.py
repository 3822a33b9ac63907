"""What is seen of a run in training, told in every place that tells it.

In: what a step, a validation or a look at samples computed. Out: a line of metrics.jsonl, an update for those who
watch, a record for TensorBoard, a line on the console. What the clock says is added here. Computes nothing of the run.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from services.trainer.events import EventLog
from services.trainer.metrics_log import FILE_NAME, MetricsLog
from services.trainer.training.measuring import Pace, Work
from services.trainer.training.originality import StepOriginality
from services.trainer.training.tensorboard import TensorBoard


class Record:
    """A run's record from a step on.

    Args:
        folder: the run's.
        pace: told how long each step took.
        started: `time.monotonic()` when the process began.
        after_step: the last step that is done; what the files say of later ones is dropped.
        left_out: what of that step is done again, of `validation` and `sample`.
    """

    def __init__(
        self, folder: Path, events: EventLog, pace: Pace, *, started: float, after_step: int, left_out: Collection[str]
    ) -> None:
        self._events, self._pace, self._started = events, pace, started
        self._metrics = MetricsLog(folder / FILE_NAME, after_step=after_step, left_out=left_out)
        self._tensorboard = TensorBoard(folder, after_step=after_step, left_out=left_out)

    def step(self, facts: dict[str, Any], took: float, num_tokens: int) -> None:
        """Tell of a step.

        Args:
            facts: `step`, `loss`, `avg`, `learning_rate`, `gradient_norm`, `epoch`.
            took: its seconds.
            num_tokens: targets that counted.
        """
        self._pace.step_took(took, num_tokens)
        seconds = self.seconds
        clocks = self._pace.clocks(facts["step"], epoch=facts["epoch"], seconds=seconds)
        line = facts | {"seconds": round(seconds, 3)} | clocks
        self._metrics.append(line)
        self._events.append("metrics", **line)
        self._tensorboard.append(line)
        # train.py's line, to the letter.
        print(f"[{facts['step']} | {seconds:.2f}] loss={facts['loss']:.2f} avg={facts['avg']:.2f}", flush=True)

    def validation(self, facts: dict[str, Any], *, is_best: bool) -> None:
        """Tell of a validation.

        Args:
            facts: `step`, `loss`, `bits_per_byte`, `token_accuracy`.
            is_best: its loss is the lowest so far.
        """
        others = {name: value for name, value in facts.items() if name != "loss"}
        line = others | {"seconds": round(self.seconds, 3), "validation_loss": facts["loss"]}
        self._metrics.append(line | ({"best": True} if is_best else {}))
        self._events.append("validation", **facts)
        self._tensorboard.append(line)
        print(f"[{facts['step']} | {self.seconds:.2f}] validation loss = {facts['loss']:.2f}", flush=True)

    def originality(self, step: int, found: StepOriginality) -> None:
        """Tell what a step's samples have from the posts."""
        facts = found.facts(step)
        line = facts | {"seconds": round(self.seconds, 3)}
        self._metrics.append(line | {"samples": [sample.facts() if sample else None for sample in found.samples]})
        self._events.append("originality", **facts)
        self._tensorboard.append(line)
        share, longest = found.verbatim_share, found.longest_run_tokens
        print(f"[{step} | {self.seconds:.2f}] verbatim share = {share:.1%}, longest run = {longest}", flush=True)

    def costing(self, what: Work) -> AbstractContextManager[None]:
        """Time the block as one of the run's validations, samples or checkpoints, for the time to go."""
        return self._pace.costing(what)

    def flush(self) -> None:
        """Write the lines that a full disk has kept waiting; OSError says why they cannot be written."""
        self._metrics.flush()
        self._tensorboard.flush()

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

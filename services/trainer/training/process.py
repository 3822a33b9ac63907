"""A run's training, from its newest sound checkpoint to its last step.

In: the volume and a run's folder, which the service has made (run.json, hparams.json, vocabulary). Out:
metrics,
samples, checkpoints, console lines. Ends when the last step is done, or after the step in which a stop was
asked for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from threading import Event

import numpy as np

from services.common.errors import FailedPrecondition
from services.common.files import remove_partials
from services.tokens.codec import Codec
from services.tokens.dataset import Dataset
from services.trainer import runs
from services.trainer.checkpoints import folder_of
from services.trainer.events import EventLog
from services.trainer.samples import write_samples
from services.trainer.training import loading, saving
from services.trainer.training.batches import Batches
from services.trainer.training.due import due
from services.trainer.training.measuring import pace_of
from services.trainer.training.recording import Record
from services.trainer.training.schedule import learning_rate
from services.trainer.training.state import TrainingState
from services.trainer.training.writing import Writer
from services.trainer.volume import Volume

MAX_LOGITS = 1 << 26  # of one validation pass: 256 MiB


class TrainingProcess:
    """One run, loaded and ready to train.

    Args:
        volume: the shared volume.
        run: name of the run.
        started: `time.monotonic()` when the process began.

    Raises:
        Corrupt: a file of the run, its dataset or its base is damaged; names the file.
    """

    def __init__(self, volume: Volume, run: str, *, started: float) -> None:
        self._folder, self._samples_folder = volume.runs / run, volume.samples / run
        remove_partials(self._folder)
        self._settings = runs.read_record(self._folder).settings
        self._events = EventLog(self._folder)
        self._state = TrainingState()

        dataset = Dataset.open(volume.datasets / self._settings.dataset)
        train = dataset.train.documents
        self._batches = Batches(
            dataset.tokens,
            train["start"],
            train["end"],
            context=self._settings.context,
            seed=self._settings.seed,
        )
        self._codec = Codec(dataset.vocabulary())
        self._state, self._trainer = loading.take_up(self._folder, volume.bases, self._settings, self._note)
        print("Loading dataset...", flush=True)
        print(f"dataset has {self._batches.num_tokens} tokens", flush=True)
        self._evaluator = loading.make_evaluator(dataset, self._settings, self._trainer)
        if self._evaluator is None:
            self._note("the dataset holds no validation documents: nothing is validated")
        self._writer: Writer | None = None
        self._record = Record(
            self._folder,
            self._events,
            pace_of(self._settings, self._trainer.config, self._trainer.compute_dtype),
            started=started,
            after_step=self._state.step,
            validated="validation" not in self._state.left_out,
        )

    def run(self, stop: Event) -> bool:
        """Train until the last step or until `stop` is set; True when the last step is done."""

        def wanted() -> bool:
            """Whether there is time to validate and sample: always after the last step, which none follows."""
            return self._state.step == self._settings.steps or not stop.is_set()

        print("Training...", flush=True)
        self._note(f"training from step {self._state.step} to {self._settings.steps} in {self._state.precision}")
        with self._record:
            self._catch_up(wanted)
            while self._state.step < self._settings.steps and not stop.is_set():
                self._do_step()
                self._do_what_is_due(last=self._state.step == self._settings.steps, wanted=wanted)
            if stop.is_set():
                print("interrupted", flush=True)
            if self._state.step:
                self._save()
        return self._state.step == self._settings.steps

    def _do_step(self) -> None:
        step = self._state.step + 1
        begun = time.monotonic()
        rate = learning_rate(step, self._settings)
        rows = self._batches.batch(step, self._settings.rows_per_step)
        loss, norm, refused = self._trainer.step(step, rows, rate)
        if refused:
            raise _diverged(f"the loss is {loss} at step {step} (gradient norm {norm})")
        took = time.monotonic() - begun
        average = self._state.average.add(loss)
        self._state = replace(self._state, step=step, average=average, left_out=())
        facts = {
            "step": step,
            "loss": loss,
            "avg": average.value,
            "learning_rate": rate,
            "gradient_norm": norm,
            "epoch": self._batches.epoch(step, self._settings.rows_per_step),
        }
        self._record.step(facts, took)

    def _do_what_is_due(self, *, last: bool, wanted: Callable[[], bool]) -> None:
        """Validate, sample and save, in this order: a checkpoint is written when its step's work is done.

        Validating and sampling may take minutes: when `wanted` says no they are left to the run's resumption, so
        that a run that shall stop has saved before anyone loses patience.
        """
        work = due(self._state.step, self._settings, last=last)
        if "validation" in work:
            self._validate(wanted)
        if "sample" in work:
            self._sample(wanted)
        if "checkpoint" in work:
            self._save()

    def _catch_up(self, wanted: Callable[[], bool]) -> None:
        """Do what a stop cut short."""
        due = self._state.left_out
        self._state = replace(self._state, left_out=())
        if "validation" in due:
            self._validate(wanted)
        if "sample" in due:
            self._sample(wanted)

    def _leave_out(self, what: str) -> None:
        self._state = replace(self._state, left_out=(*self._state.left_out, what))
        self._note(f"the run is to stop: the {what} of step {self._state.step} waits until it is resumed")

    def _validate(self, wanted: Callable[[], bool]) -> None:
        if self._evaluator is None:
            return
        with self._record.costing("validation"):
            result = self._evaluator(self._trainer.variables, wanted)
        if result is None:
            self._leave_out("validation")
            return
        if not math.isfinite(result.loss):
            raise _diverged(f"the validation loss is {result.loss} at step {self._state.step}")
        validation = {"step": self._state.step, **asdict(result)}
        self._state = replace(self._state, validation=validation)
        self._record.validation(validation)

    def _sample(self, wanted: Callable[[], bool]) -> None:
        print("Generating samples...", flush=True)
        with self._record.costing("sample"):
            if self._writer is None:
                self._writer = loading.make_writer(self._codec, self._settings, self._trainer)
            words = np.random.SeedSequence([self._settings.seed, self._state.step]).generate_state(1, np.uint64)
            written = self._writer.write(length=self._settings.sample_length, seed=int(words[0]), wanted=wanted)
        if written is None:
            self._leave_out("sample")
            return
        texts = [self._codec.decode(ids) for ids in written]
        write_samples(self._samples_folder, self._state.step, texts)
        for index in range(1, len(texts) + 1):
            self._events.append("sample", step=self._state.step, index=index)

    def _save(self) -> None:
        """Write the step's checkpoint, unless it is there already."""
        if folder_of(self._folder, self._state.step).exists():
            return
        print(f"Saving {self._folder / f'model-{self._state.step}'}", flush=True)
        state = replace(self._state, seconds=self._state.seconds + self._record.seconds)
        with self._record.costing("checkpoint"):
            saving.save(self._folder, self._trainer, state, keep=self._settings.keep)
        self._events.append("checkpoint", step=state.step)

    def _note(self, message: str) -> None:
        """Tell those who watch the run."""
        self._events.append("event", step=self._state.step, message=message)


def _diverged(what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{what}: training has diverged; start another run with a lower learning_rate", reason="DIVERGED"
    )

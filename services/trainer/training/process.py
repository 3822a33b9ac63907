"""A run's training, from its newest sound checkpoint to its last step.

In: the volume and a run's folder, which the service has made (run.json, hparams.json, vocabulary). Out:
metrics,
samples, checkpoints, console lines. Ends when the last step is done, or after the step in which a stop was
asked for.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from threading import Event

import numpy as np
import tensorflow as tf

from services.common.errors import Corrupt, FailedPrecondition
from services.common.files import remove_partials
from services.gpt2 import checkpoint as weights
from services.tokens.codec import Codec
from services.tokens.dataset import Dataset
from services.trainer import metrics_log, runs
from services.trainer.checkpoints import delete_after, folder_of, newest_sound
from services.trainer.events import EventLog
from services.trainer.metrics_log import MetricsLog
from services.trainer.samples import write_samples
from services.trainer.training import precision, saving
from services.trainer.training.batches import make_batches
from services.trainer.training.evaluation import Evaluator
from services.trainer.training.loop import Trainer
from services.trainer.training.saving import TrainingState
from services.trainer.training.schedule import learning_rate
from services.trainer.training.start import start_params
from services.trainer.training.writing import Writer
from services.trainer.volume import Volume

SPEED_STEPS = 20  # tokens per second are averaged over so many steps
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
        self._started = started
        remove_partials(self._folder)
        self._settings = runs.read_record(self._folder).settings
        self._events = EventLog(self._folder)
        self._state = TrainingState()

        dataset = Dataset.open(volume.datasets / self._settings.dataset)
        train = dataset.train.documents
        self._batches = make_batches(
            dataset.tokens, train["start"], train["end"], dataset.end_of_text_id, settings=self._settings
        )
        self._codec = Codec(dataset.vocabulary())
        self._state, self._trainer = self._load()
        self._evaluator = self._make_evaluator(dataset)
        self._writer: Writer | None = None
        self._metrics = MetricsLog(
            self._folder / metrics_log.FILE_NAME,
            after_step=self._state.step,
            validated="validation" not in self._state.left_out,
        )
        self._durations: deque[float] = deque(maxlen=SPEED_STEPS)

    def run(self, stop: Event) -> bool:
        """Train until the last step or until `stop` is set; True when the last step is done."""

        def wanted() -> bool:
            """Whether there is time to validate and sample: always after the last step, which none follows."""
            return self._state.step == self._settings.steps or not stop.is_set()

        print("Training...", flush=True)
        self._note(f"training from step {self._state.step} to {self._settings.steps} in {self._state.precision}")
        with self._metrics:
            self._catch_up(wanted)
            while self._state.step < self._settings.steps and not stop.is_set():
                self._do_step()
                self._do_what_is_due(last=self._state.step == self._settings.steps, wanted=wanted)
            if stop.is_set():
                print("interrupted", flush=True)
            if self._state.step:
                self._save()
        return self._state.step == self._settings.steps

    def _load(self) -> tuple[TrainingState, Trainer]:
        """Take up the newest sound checkpoint, or the base when there is none."""
        config = weights.read_config(self._folder)
        checkpoint, damage = newest_sound(self._folder)
        if checkpoint is None and damage:
            raise damage[0]
        for error in damage:
            self._note(f"{error.message}; going back to step {checkpoint.step if checkpoint else 0}")
        if checkpoint is not None:
            print(f"Loading checkpoint {checkpoint.folder}", flush=True)
            state = saving.read_state(checkpoint)
            _, params = weights.read_weights(checkpoint.folder)
            delete_after(self._folder, state.step)  # damaged ones, whose steps are done again
            trainer = Trainer(params, config, self._settings, _dtype(state.precision))
            saving.restore_optimizer(checkpoint, trainer)
            return state, trainer
        params = start_params(self._folder, config, self._settings)
        dtype = precision.choose(self._settings.precision, config.num_parameters)
        return TrainingState(precision=dtype.name), Trainer(params, config, self._settings, dtype)

    def _make_evaluator(self, dataset: Dataset) -> Evaluator | None:
        held_out = dataset.validation
        print("Loading dataset...", flush=True)
        print(f"dataset has {self._batches.num_tokens} tokens", flush=True)
        if not len(held_out):
            self._note("the dataset holds no validation documents: nothing is validated")
            return None
        return Evaluator(
            held_out.all(),
            num_bytes=held_out.num_bytes,
            end_of_text_id=dataset.end_of_text_id,
            context=self._settings.context,
            batch_size=min(max(1, MAX_LOGITS // (self._settings.context * self._trainer.config.n_vocab)), 32),
            config=self._trainer.config,
            compute_dtype=self._trainer.compute_dtype,
        )

    def _do_step(self) -> None:
        step = self._state.step + 1
        begun = time.monotonic()
        rate = learning_rate(step, self._settings)
        batch = self._batches.batch(step, self._settings.rows_per_step)
        loss, norm, refused = self._trainer.step(step, batch, rate)
        if refused:
            raise _diverged(f"the loss is {loss} at step {step} (gradient norm {norm})")
        self._durations.append(time.monotonic() - begun)
        average = self._state.average.add(loss)
        self._state = replace(self._state, step=step, average=average, left_out=())
        line = {
            "step": step,
            "seconds": self._seconds(),
            "loss": loss,
            "avg": average.value,
            "learning_rate": rate,
            "gradient_norm": norm,
            "tokens_per_second": batch.num_tokens * len(self._durations) / sum(self._durations),
            "epoch": self._batches.epoch(step, self._settings.rows_per_step),
        }
        self._metrics.append(line)
        self._events.append("metrics", **line)
        print(f"[{step} | {line['seconds']:.2f}] loss={loss:.2f} avg={average.value:.2f}", flush=True)

    def _do_what_is_due(self, *, last: bool, wanted: Callable[[], bool]) -> None:
        """Validate, sample and save, in this order: a checkpoint is written when its step's work is done.

        Validating and sampling may take minutes: when `wanted` says no they are left to the run's resumption, so
        that a run that shall stop has saved before anyone loses patience.
        """
        settings, step = self._settings, self._state.step
        if last or (settings.validate_every and step % settings.validate_every == 0):
            self._validate(wanted)
        if settings.sample_every and (last or step % settings.sample_every == 0):
            self._sample(wanted)
        if step % settings.save_every == 0:
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
        result = self._evaluator(self._trainer.variables, wanted)
        if result is None:
            self._leave_out("validation")
            return
        if not math.isfinite(result.loss):
            raise _diverged(f"the validation loss is {result.loss} at step {self._state.step}")
        validation = {"step": self._state.step, "loss": result.loss, "bits_per_byte": result.bits_per_byte}
        self._state = replace(self._state, validation=validation)
        self._metrics.append(
            {
                "step": self._state.step,
                "seconds": self._seconds(),
                "validation_loss": result.loss,
                "bits_per_byte": result.bits_per_byte,
            }
        )
        self._events.append("validation", **validation)
        print(f"[{self._state.step} | {self._seconds():.2f}] validation loss = {result.loss:.2f}", flush=True)

    def _sample(self, wanted: Callable[[], bool]) -> None:
        print("Generating samples...", flush=True)
        if self._writer is None:
            self._writer = Writer(
                self._trainer.variables,
                self._trainer.config,
                self._trainer.compute_dtype,
                num_samples=self._settings.sample_num,
                end_of_text_id=self._codec.vocabulary.end_of_text_id,
            )
        seed = int(np.random.SeedSequence([self._settings.seed, self._state.step]).generate_state(1, np.uint64)[0])
        written = self._writer.write(length=self._settings.sample_length, seed=seed, wanted=wanted)
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
        state = replace(self._state, seconds=self._state.seconds + self._seconds())
        saving.save(self._folder, self._trainer, state, keep=self._settings.keep)
        self._events.append("checkpoint", step=state.step)

    def _note(self, message: str) -> None:
        """Tell those who watch the run."""
        self._events.append("event", step=self._state.step, message=message)

    def _seconds(self) -> float:
        """Seconds since the process began."""
        return time.monotonic() - self._started


def _diverged(what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{what}: training has diverged; start another run with a lower learning_rate", reason="DIVERGED"
    )


def _dtype(name: str) -> tf.DType:
    if name not in ("float32", "bfloat16", "float16"):
        raise Corrupt(f"the checkpoint was written in an unknown precision, {name!r}")
    return tf.as_dtype(name)

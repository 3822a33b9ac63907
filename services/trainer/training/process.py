"""A run's training, from its newest sound checkpoint to its last step.

In: the volume and a run's folder, which the service has made (run.json, hparams.json, vocabulary). Out: metrics,
samples, checkpoints, console lines. Ends when the run does, or after the step in which a stop was asked for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from threading import Event
from typing import Any

from services.common.files import remove_partials
from services.tokens.codec import Codec
from services.trainer.adjusting import read_adjustments
from services.trainer.checkpoints import folder_of
from services.trainer.events import EventLog
from services.trainer.run_record import read_record
from services.trainer.samples import write_samples
from services.trainer.starting import open_dataset
from services.trainer.training import loading
from services.trainer.training.batches import make_batches
from services.trainer.training.divergence import MOST_REFUSED
from services.trainer.training.due import is_due
from services.trainer.training.ends import counted_end, turned_end
from services.trainer.training.going_back import after_bad_numbers
from services.trainer.training.keeping import Keeper
from services.trainer.training.measuring import pace_of
from services.trainer.training.recording import Record
from services.trainer.training.sampler import Sampler, Samples
from services.trainer.training.saving import restate
from services.trainer.training.schedule import learning_rate
from services.trainer.training.state import TrainingState
from services.trainer.volume import Volume
from services.trainer.withholding import withheld


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
        remove_partials(self._folder, files=False)  # the service may be writing a mark or a note
        self._adjustments = read_adjustments(self._folder)
        self._settings = self._adjustments.apply(read_record(self._folder).settings)
        self._events = EventLog(self._folder, patient=True)
        self._state = TrainingState()

        dataset = open_dataset(volume, self._settings.dataset)
        train = dataset.train.documents
        self._batches = make_batches(
            dataset.tokens, train["start"], train["end"], dataset.end_of_text_id, settings=self._settings
        )
        codec = Codec(dataset.vocabulary())
        self._state, self._trainer = loading.take_up(self._folder, self._settings, self._note)
        print("Loading dataset...", flush=True)
        print(f"dataset has {self._batches.num_tokens} tokens", flush=True)
        self._evaluator = loading.make_evaluator(dataset, self._settings, self._trainer)
        if self._evaluator is None:
            self._note("the dataset holds no validation documents: nothing is validated")
        index = loading.open_index(dataset, self._settings, self._note)
        self._sampler = Sampler(codec, self._settings, self._trainer, index)
        self._record = Record(
            self._folder,
            self._events,
            pace_of(self._settings, self._trainer, before=self._state.seconds),
            started=started,
            after_step=self._state.step,
            left_out=self._state.left_out,
        )
        self._keeper = Keeper(self._folder, keep=self._settings.keep, events=self._events, before=self._record.flush)
        self._keeper.prepare(self._trainer)
        self._ended = ""

    @property
    def ended_because(self) -> str:
        """Why no step follows, in a sentence; empty while one does."""
        return self._ended

    @property
    def step(self) -> int:
        """The last step that is done."""
        return self._state.step

    def run(self, stop: Event) -> bool:
        """Train until the run's end or until `stop` is set; True at the run's end.

        Raises:
            StartAgain: the numbers have gone bad; a new process goes on from the last checkpoint.
            FailedPrecondition: they have gone bad for good, or the last checkpoint cannot be written.
        """

        def wanted() -> bool:
            """Whether there is time to validate and sample: always after the last step, which none follows."""
            return bool(self._ended) or not stop.is_set()

        print("Training...", flush=True)
        self._note(f"training from step {self._state.step} to {self._settings.steps} in {self._state.precision}")
        with self._record:
            self._ended = self._counted_end() if self._state.step else ""
            self._catch_up(wanted)
            self._ended = self._ended or turned_end(self._settings, self._state)
            while not self._ended and not stop.is_set():
                self._do_step()
                self._do_what_is_due(wanted)
                self._keeper.tell()
            if not self._ended:
                print("interrupted", flush=True)
            self._save_last(stop)
        if self._ended:
            self._note(f"the run ends: {self._ended}")
        return bool(self._ended)

    def _do_step(self) -> None:
        step = self._state.step + 1
        begun = time.monotonic()
        rate = learning_rate(step, self._settings) * self._adjustments.rate_factor(step)
        batch = self._batches.batch(step, self._settings.rows_per_step)
        limit = self._state.losses.limit(self._settings.spike_limit)
        loss, norm, refused = self._trainer.step(step, batch, rate, limit=limit)
        if refused:
            self._leave_step_out(step, f"the loss is {loss} at step {step} (gradient norm {norm}): {refused}")
            return
        took = time.monotonic() - begun
        average = self._state.average.add(loss)
        losses = self._state.losses.add(loss) if self._settings.spike_limit else self._state.losses
        self._state = replace(self._state, step=step, average=average, losses=losses, left_out=(), refused=0)
        facts = {
            "step": step,
            "loss": loss,
            "avg": average.value,
            "learning_rate": rate,
            "gradient_norm": norm,
            "epoch": self._batches.epoch(step, self._settings.rows_per_step),
        }
        self._record.step(facts, took, batch.num_tokens)

    def _leave_step_out(self, step: int, what: str) -> None:
        refused = self._state.refused + 1
        self._go_back_if_need_be(step, what, refused)
        self._note(f"{what}; the step changes nothing")
        self._state = replace(self._state, step=step, left_out=(), refused=refused)

    def _go_back_if_need_be(self, step: int, what: str, refused: int) -> None:
        self._keeper.wait()  # the checkpoint that is being written may be the one to go back to
        after_bad_numbers(self._folder, self._settings, step=step, what=what, refused=refused)

    def _do_what_is_due(self, wanted: Callable[[], bool]) -> None:
        """Validate, sample and save, in this order: a checkpoint is written when its step's work is done.

        Validating and sampling may take minutes: when `wanted` says no they are left to the run's resumption, so
        that a run that shall stop has saved before anyone loses patience.
        """
        step, settings, best = self._state.step, self._settings, self._state.best
        self._ended = self._counted_end()
        if is_due("validation", step, settings, last=bool(self._ended)):
            self._validate(wanted)
        self._ended = self._ended or turned_end(settings, self._state)
        if is_due("sample", step, settings, last=bool(self._ended)):
            self._sample(wanted)
        is_best = self._state.best is not best and settings.saves_best
        self._tell_if_withheld(best)
        # After bad numbers the weights may be bad too: the last checkpoint is then the better one.
        if (is_best or is_due("checkpoint", step, settings, last=False)) and not self._state.refused:
            with self._record.costing("checkpoint"):
                self._keeper.save(self._trainer, self._state_to_save())

    def _counted_end(self) -> str:
        step, behind = self._state.step, self._state.behind
        return counted_end(
            self._settings,
            step=step,
            epoch=self._batches.epoch(step - behind, self._settings.rows_per_step),
            seconds=self._state.seconds + self._record.seconds,
            behind=behind,
        )

    def _catch_up(self, wanted: Callable[[], bool]) -> None:
        """Do what a stop cut short."""
        due, best = self._state.left_out, self._state.best
        self._state = replace(self._state, left_out=())
        if "validation" in due:
            self._validate(wanted)
        if "sample" in due:
            self._sample(wanted)
        if due:  # validated before the stop or now: what is told of it had to wait for the samples
            self._tell_if_withheld(best if "validation" in due else None)
        if due and self._state.left_out != due:
            try:
                restate(folder_of(self._folder, self._state.step), self._state_to_save())
            except OSError as error:
                self._note(f"the checkpoint of step {self._state.step} stays as it was: {error}")

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
            what = f"the validation loss is {result.loss} at step {self._state.step}"
            self._go_back_if_need_be(self._state.step, what, MOST_REFUSED)
        validation = {"step": self._state.step, **asdict(result)}
        is_best = self._state.best is None or result.loss < self._state.best["loss"]
        self._state = replace(
            self._state,
            validation=validation,
            best=validation if is_best else self._state.best,
            since_best=0 if is_best else self._state.since_best + 1,
        )
        self._record.validation(validation, is_best=is_best)

    def _tell_if_withheld(self, best: dict[str, Any] | None) -> None:
        """Tell why the step is not published, where it is the best so far and `best` was not that of it."""
        now = self._state.best
        if now is None or now is best or now["step"] != self._state.step or "sample" in self._state.left_out:
            return
        if why := withheld(self._settings, self._state.originality):
            self._note(f"step {self._state.step} is the best so far and is not published by itself: {why}")

    def _sample(self, wanted: Callable[[], bool]) -> None:
        print("Generating samples...", flush=True)
        with self._record.costing("sample"):
            samples = self._sampler.write(self._state.step, wanted)
        if samples is None:
            self._leave_out("sample")
            return
        self._tell_samples(samples)
        if found := samples.originality:
            self._state = replace(self._state, originality=found.facts(self._state.step))
            self._record.originality(self._state.step, found)

    def _tell_samples(self, samples: Samples) -> None:
        step, found = self._state.step, samples.originality
        try:
            write_samples(self._samples_folder, step, samples.texts)
        except OSError as error:
            self._note(f"no sample of step {step}: {error}")
            return
        for index in range(1, len(samples.texts) + 1):
            one = found.samples[index - 1] if found else None
            self._events.append("sample", step=step, index=index, **(one.facts() if one else {}))

    def _save_last(self, stop: Event) -> None:
        """Have the last step on the volume before the process ends."""
        if not self._state.step or (self._state.refused and not self._ended):
            return
        hurry = not self._ended
        if not self._keeper.save_last(self._trainer, self._state_to_save(), hurry=hurry, stop=stop):
            self._note(
                "stopped without a checkpoint of the last step: what was done since the one before is done again"
            )

    def _state_to_save(self) -> TrainingState:
        return replace(self._state, seconds=self._state.seconds + self._record.seconds)

    def _note(self, message: str) -> None:
        """Tell those who watch the run."""
        self._events.append("event", step=self._state.step, message=message)

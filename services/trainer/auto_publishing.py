"""Publishes what a run asks to have published by itself: its best checkpoints as they come, or one at its end.

Of the best ones a run may want those alone whose samples recite little (withholding.py).

A thread of the service looks at the checkpoints of the runs that train, so that training never waits for a copy. What
was published is noted in the run's folder, beside the versions themselves: after a restart nothing is published twice,
and a version that someone took back does not return.
In: runs and models. Out: versions. Loads no weights.
"""

from __future__ import annotations

import logging
import math
import threading
from pathlib import Path

from services.common.errors import Corrupt, FailedPrecondition, NonesuchError, NotFound
from services.common.files import read_json, write_json
from services.litert.apart import INEXACT
from services.tokens.dataset import Dataset
from services.trainer.checkpoints import Checkpoint, best, get_checkpoint, list_checkpoints
from services.trainer.converting import held_out_rows
from services.trainer.outcome import TURNED, read_outcome
from services.trainer.publishing import Models, ModelVersion
from services.trainer.run_record import RECORD_FILE, RunRecord, RunState
from services.trainer.runs import Runs
from services.trainer.starting import check_dataset, facts_for_publishing
from services.trainer.volume import Volume
from services.trainer.withholding import withheld

log = logging.getLogger(__name__)
NOTE_FILE = "published.json"  # of a run: step and validation loss of the last best that was published or withheld
POLL_S = 1.0


class AutoPublisher:
    """The publishing of all runs of a volume."""

    def __init__(self, volume: Volume, runs: Runs, models: Models) -> None:
        self._volume, self._runs, self._models = volume, runs, models
        self._lock = threading.Lock()  # the thread's look and the end of a run
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin to look, at every run once: the service may have died before it had published."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Look no more; a version that is being copied is completed."""
        self._stopping.set()

    def finish_stop(self) -> None:
        """Wait for the copy that may be under way."""
        if self._thread.is_alive():
            self._thread.join()

    def at_end(self, record: RunRecord) -> None:
        """Publish what a run that has reached its end asks for, under its name and once.

        Raises:
            NonesuchError: it could not be published; says why.
        """
        if record.settings.publishes_bests:
            self.catch_up(record)
        elif record.settings.publish == "at_end":
            checkpoint = final(self._volume, record)
            if not self._models.has(record.name, checkpoint):
                publish(self._volume, self._models, record, checkpoint, name=record.name)

    def catch_up(self, record: RunRecord) -> None:
        """Publish every checkpoint that was the best when it was written, is still there and need not be withheld.

        Raises:
            Corrupt: one is damaged; names the file. What follows it is published the next time.
        """
        folder = self._runs.folder(record.name)
        with self._lock:
            path = folder / NOTE_FILE
            note = read_json(path) if path.exists() else {}
            for checkpoint, loss in bests(list_checkpoints(folder), note.get("loss", math.inf)):
                if self._stopping.is_set():
                    return
                if checkpoint.awaits_samples and record.settings.publish == "on_best_original":
                    continue  # decided when the resumed run has written them
                why = withheld(record.settings, checkpoint.originality)
                if why:
                    log.info("run %s: step %d is not published: %s", record.name, checkpoint.step, why)
                    if not self._note(folder, checkpoint.step, loss):
                        return
                    continue
                try:
                    if not self._models.has(record.name, checkpoint):
                        publish(self._volume, self._models, record, checkpoint, name=record.name)
                except FailedPrecondition as error:
                    if error.reason != INEXACT:
                        raise
                    # As it is, it will be refused again, and what follows it may not be.
                    log.error("run %s: step %d is not published: %s", record.name, checkpoint.step, error)
                except Corrupt:
                    if checkpoint.folder.exists():
                        raise
                    continue  # a better one has taken its place meanwhile
                if not self._note(folder, checkpoint.step, loss):
                    return

    def _note(self, run_folder: Path, step: int, loss: float) -> bool:
        """Note that a best checkpoint is dealt with; False: the run was deleted meanwhile."""
        is_there = (run_folder / RECORD_FILE).exists()
        if is_there:
            write_json(run_folder / NOTE_FILE, {"step": step, "loss": loss})
        return is_there

    def _watch(self) -> None:
        looked_at: set[str] = set()
        training = {record.name for record in self._runs.all()}
        while True:
            # Those that trained at the last look too: their last checkpoint may have come after it.
            for record in self._runs.all():
                is_training = record.state == RunState.RUNNING
                if record.settings.publishes_bests and (is_training or record.name in training):
                    self._try(record, looked_at)
            training = {record.name for record in self._runs.all() if record.state == RunState.RUNNING}
            if self._stopping.wait(POLL_S):
                return

    def _try(self, record: RunRecord, complained: set[str]) -> None:
        """Catch up; what goes wrong is logged once and tried again: the disk may be full for a while."""
        try:
            self.catch_up(record)
            complained.discard(record.name)
        except (NonesuchError, OSError) as error:
            if record.name not in complained:
                log.error("run %s: not published: %s", record.name, error)
            complained.add(record.name)


def publish(
    volume: Volume, models: Models, record: RunRecord, checkpoint: Checkpoint, *, name: str
) -> tuple[ModelVersion, list[int]]:
    """Publish a run's checkpoint, then delete what its `keep_versions` does not keep.

    Returns:
        the version, and the numbers of the versions that went.

    Raises:
        Corrupt: a file of the checkpoint or of the run is damaged; names it.
    """
    dataset = _dataset(volume, record)
    version = models.publish_checkpoint(
        name,
        checkpoint,
        dataset=facts_for_publishing(volume, record),
        corpus=dataset,
        held_out=held_out_rows(dataset, record.settings.context) if dataset else None,
    )
    return version, models.prune(name, record.settings.keep_versions)


def _dataset(volume: Volume, record: RunRecord) -> Dataset | None:
    """What the run learned from, every byte of it; None when it is gone or damaged, or another has its name."""
    try:
        dataset = check_dataset(volume, record)
        dataset.verify()
        return dataset
    except (NotFound, Corrupt, FailedPrecondition) as error:
        log.warning(
            "run %s: its engine file is verified on its own text, and it goes without a corpus index: %s",
            record.name,
            error,
        )
        return None


def bests(checkpoints: list[Checkpoint], lowest: float) -> list[tuple[Checkpoint, float]]:
    """The checkpoints each of which has a lower validation loss than all before it, by step, and those losses.

    Args:
        lowest: loss of the last one that is dealt with; infinite: none is. Its step says nothing: a run that went
            back to a checkpoint before it, at a lower rate, may find better weights at the same steps.
    """
    found = []
    for checkpoint in checkpoints:
        loss = checkpoint.measured_loss
        if loss is not None and loss < lowest:
            lowest = loss
            found.append((checkpoint, loss))
    return found


def final(volume: Volume, record: RunRecord) -> Checkpoint:
    """The checkpoint that a run ends with: the best where validation ended it, else the last."""
    folder = volume.runs / record.name
    checkpoints, said = list_checkpoints(folder), read_outcome(folder)
    turned = said is not None and said.ended_because.startswith(TURNED)
    found = best(checkpoints) if turned else None
    return found or (checkpoints[-1] if checkpoints else get_checkpoint(folder, record.settings.steps))

"""Builds whatever a run lacks: base -> vocabulary -> snapshot of the corpus -> dataset. Then starts the run.

A base that is not here is fetched, where it can be.
Shared by `nonesuch train`, the library and the admin page. Doing it twice costs nothing: the same inputs are
the same snapshot and the same dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from protos import corpus_pb2, tokenizer_pb2, trainer_pb2
from services.client.bases import (
    DEFAULT_BASE,
    ELSEWHERE,
    START_S,
    find_base,
    find_or_fetch_base,
    foresee_base,
    vocabulary_of,
)
from services.client.connection import Connection
from services.client.fetching import say_nothing
from services.client.progress import Progress, silent
from services.client.watching import watch_dataset
from services.common.errors import FailedPrecondition, InvalidRequest, NotFound, Unavailable

DEFAULT_CORPUS = "default"
DEFAULT_RUN = "run1"
SNAPSHOT_S = 300.0
MOST_STEPS = 2**31 - 1
FOREIGN = "FOREIGN_RUN"  # the trainer's reason for a run that is none yet: another program began it
PLAN_S = 900.0  # a step of a large model may take minutes


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was started, whether it goes on from before, and a sentence worth telling or none."""

    run: trainer_pb2.Run
    resumed: bool
    remark: str = ""


def build_dataset(
    connection: Connection,
    *,
    corpus: str = DEFAULT_CORPUS,
    vocabulary: str | int,
    snapshot: str = "",
    validation_fraction: float | None = None,
    header: bool | None = None,
    on_progress: Progress = silent,
) -> tokenizer_pb2.Dataset:
    """Build a dataset and wait until it is complete; one that is there already is returned at once.

    Args:
        vocabulary: name of a vocabulary or base model, or the size of one to train on the corpus.
        snapshot: digest of the corpus's snapshot; empty takes one now.
        on_progress: told documents encoded.

    Raises:
        NotFound: no such corpus, snapshot or vocabulary.
        FailedPrecondition: the corpus is empty, or the dataset could not be built; the message says why.
    """
    if not snapshot:
        on_progress("freezing the corpus", 0, 0)
        request = corpus_pb2.CreateSnapshotRequest(corpus=corpus)
        snapshot = connection.corpus.CreateSnapshot(request, timeout_s=SNAPSHOT_S).snapshot.digest
    build = tokenizer_pb2.BuildDatasetRequest(
        corpus=corpus, snapshot=snapshot, validation_fraction=validation_fraction, header=header
    )
    if isinstance(vocabulary, int):
        build.own_vocabulary_size = vocabulary
    else:
        build.vocabulary = vocabulary
    dataset: tokenizer_pb2.Dataset = connection.tokenizer.BuildDataset(build, timeout_s=START_S).dataset
    if dataset.state == tokenizer_pb2.DATASET_STATE_SUCCEEDED:
        return dataset
    for state in watch_dataset(connection, dataset.id):
        on_progress("building the dataset", state.num_documents_done, state.num_documents)
        dataset = state
    if dataset.state != tokenizer_pb2.DATASET_STATE_SUCCEEDED:
        reason = dataset.error or "it was cancelled; build it again"
        raise FailedPrecondition(f"dataset {dataset.id} could not be built: {reason}", metadata={"dataset": dataset.id})
    return dataset


def dataset_for_base(
    connection: Connection, base: trainer_pb2.Base, corpus: str = DEFAULT_CORPUS, on_progress: Progress = silent
) -> tokenizer_pb2.Dataset:
    """Build the dataset that a run from this base on this corpus needs.

    A fresh base learns with a vocabulary of its size, trained on the corpus; any other with the one it has.
    """
    return build_dataset(connection, corpus=corpus, vocabulary=vocabulary_of(base), on_progress=on_progress)


def start_run(
    connection: Connection,
    *,
    run: str = DEFAULT_RUN,
    base: str = "",
    corpus: str = "",
    dataset: str = "",
    settings: trainer_pb2.RunSettings | None = None,
    fresh: bool = False,
    on_progress: Progress = silent,
    on_remark: Callable[[str], None] = say_nothing,
) -> Started:
    """Start or resume a run, building the dataset first where none is named.

    Args:
        run: its name. A run of that name that was stopped or failed goes on, with the dataset that it has; a folder
            of that name that gpt-2-simple wrote goes on with its vocabulary.
        base: what to start from, fetched where it is not here; empty is `nano`, or what the run has.
        corpus: what to learn from when no dataset is named; empty is `default`, or what the run has.
        dataset: id of a dataset; empty builds the one needed.
        settings: fields left unset take the defaults of the base. Minutes alone become steps too: a few are tried to
            learn how many there is time for (not for a folder of gpt-2-simple, which has steps behind it).
        fresh: refuse with AlreadyExists instead of resuming.
        on_progress: told what is being built.
        on_remark: told what was tried again or elsewhere while a base was fetched.

    Raises:
        NotFound, InvalidRequest, FailedPrecondition, AlreadyExists, Corrupt: as the services say.
    """
    remark = ""
    known, theirs = _existing(connection, run)
    if known is None and theirs:
        if not dataset and not base and not fresh:  # else it is refused, by name
            dataset = _dataset_for_folder(connection, run, corpus, on_progress).id
    elif known is None:
        if not dataset:
            found = find_or_fetch_base(connection, base or DEFAULT_BASE, on_progress, on_remark)
            if not found.name.startswith(ELSEWHERE):
                base = found.name  # `117M` is 124M; `runs/a@best` stays, to be asked for again
            _check_context(found, settings)
            dataset = dataset_for_base(connection, found, corpus or DEFAULT_CORPUS, on_progress).id
    elif not dataset and not fresh:
        learned_from = _dataset_or_none(connection, known.dataset)
        if learned_from is not None and corpus not in ("", learned_from.corpus):
            # Not what the run has: let the trainer refuse it by name.
            found = find_base(connection, base or known.base)
            dataset = dataset_for_base(connection, found, corpus, on_progress).id
        elif learned_from is not None and _has_changed(connection, learned_from):
            remark = (
                f"the posts have changed since {run} began; it goes on with those it had. "
                "For a run on the new ones: nonesuch train --run NAME"
            )
    if known is None and not theirs and settings is not None and _ends_by_minutes_alone(settings):
        settings = _with_steps_for_minutes(connection, run, base, dataset, settings, on_progress)
    on_progress("starting the run", 0, 0)
    request = trainer_pb2.StartRunRequest(run=run, dataset=dataset, base=base, settings=settings, fresh=fresh)
    response: trainer_pb2.StartRunResponse = connection.trainer.StartRun(request, timeout_s=START_S)
    return Started(response.run, response.resumed, remark if response.resumed else "")


def plan_run(
    connection: Connection,
    *,
    run: str = DEFAULT_RUN,
    base: str = "",
    corpus: str = "",
    dataset: str = "",
    settings: trainer_pb2.RunSettings | None = None,
    skip_probe: bool = False,
    on_progress: Progress = silent,
) -> trainer_pb2.RunPlan:
    """Return what a new run would do, building the dataset first where none is named; no run is started.

    A base that is not here is not fetched for that: where it is known by name, its shape says enough.

    Args:
        run, base, corpus, dataset, settings, on_progress: as for `start_run`.
        skip_probe: estimate without trying steps.

    Raises:
        NotFound, InvalidRequest, FailedPrecondition, Corrupt: as the services say.
    """
    if not dataset and not base and _existing(connection, run)[1]:
        dataset = _dataset_for_folder(connection, run, corpus, on_progress).id
    elif not dataset:
        found, vocabulary = foresee_base(connection, base or DEFAULT_BASE)
        _check_context(found, settings)
        corpus = corpus or DEFAULT_CORPUS
        dataset = build_dataset(connection, corpus=corpus, vocabulary=vocabulary, on_progress=on_progress).id
    wanted = trainer_pb2.StartRunRequest(run=run, dataset=dataset, base=base, settings=settings)
    request = trainer_pb2.PlanRunRequest(run=wanted, skip_probe=skip_probe)
    for update in connection.trainer.PlanRun(request, timeout_s=PLAN_S):
        if update.WhichOneof("update") == "plan":
            plan: trainer_pb2.RunPlan = update.plan
            return plan
        on_progress(update.progress, 0, 0)
    raise Unavailable("the trainer ended without a plan; ask again")


def _ends_by_minutes_alone(settings: trainer_pb2.RunSettings) -> bool:
    counted = any(settings.HasField(name) for name in ("steps", "epochs", "tokens"))
    return settings.minutes > 0 and not counted


def _with_steps_for_minutes(
    connection: Connection,
    run: str,
    base: str,
    dataset: str,
    settings: trainer_pb2.RunSettings,
    on_progress: Progress,
) -> trainer_pb2.RunSettings:
    """Settings with as many steps as the minutes are enough for, so that the learning rate has fallen when they end."""
    asked, timeless = trainer_pb2.RunSettings(), trainer_pb2.RunSettings()
    asked.CopyFrom(settings)
    timeless.CopyFrom(settings)
    timeless.ClearField("minutes")

    def plan(skip_probe: bool) -> trainer_pb2.RunPlan:
        return plan_run(
            connection,
            run=run,
            base=base,
            dataset=dataset,
            settings=timeless,
            skip_probe=skip_probe,
            on_progress=on_progress,
        )

    try:
        planned = plan(False)
    except FailedPrecondition as error:
        if error.reason not in ("RUN_TRAINING", "PROBE_FAILED"):
            raise
        planned = plan(True)
    share = settings.minutes * 60 / planned.total_seconds
    asked.steps = max(1, min(int(planned.settings.steps * share), MOST_STEPS))
    return asked


def _check_context(base: trainer_pb2.Base, settings: trainer_pb2.RunSettings | None) -> None:
    """Refuse what the trainer will refuse, before minutes are spent on a dataset."""
    if settings is not None and settings.context > base.context:
        raise InvalidRequest(
            f"context is {settings.context}: base {base.name!r} sees at most {base.context} tokens",
            field="settings.context",
        )


def _existing(connection: Connection, run: str) -> tuple[trainer_pb2.Run | None, bool]:
    """The run of that name, and where there is none, whether its folder holds one that another program began."""
    try:
        return connection.trainer.GetRun(trainer_pb2.GetRunRequest(run=run)).run, False
    except NotFound as error:
        return None, error.reason == FOREIGN


def _dataset_for_folder(connection: Connection, run: str, corpus: str, on_progress: Progress) -> tokenizer_pb2.Dataset:
    """Build the dataset that a run which another program began needs: with the vocabulary that lies in its folder."""
    return build_dataset(connection, corpus=corpus or DEFAULT_CORPUS, vocabulary=f"runs/{run}", on_progress=on_progress)


def _dataset_or_none(connection: Connection, dataset: str) -> tokenizer_pb2.Dataset | None:
    try:
        request = tokenizer_pb2.GetDatasetRequest(dataset=dataset)
        found: tokenizer_pb2.Dataset = connection.tokenizer.GetDataset(request).dataset
    except NotFound:
        return None
    return found


def _has_changed(connection: Connection, dataset: tokenizer_pb2.Dataset) -> bool:
    """Whether the corpus is no longer what the dataset was built from; one that is gone has not changed."""
    try:
        request = corpus_pb2.CreateSnapshotRequest(corpus=dataset.corpus)
        snapshot = connection.corpus.CreateSnapshot(request, timeout_s=SNAPSHOT_S).snapshot
    except (NotFound, FailedPrecondition):
        return False
    return bool(snapshot.digest != dataset.snapshot)

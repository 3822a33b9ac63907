"""TrainerService of protos/trainer.proto: message in, one call of a pure module, message out."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc

from protos import trainer_pb2 as pb
from protos import trainer_pb2_grpc
from services.common.errors import AlreadyExists, Corrupt, FailedPrecondition, InvalidRequest, NotFound
from services.common.files import check_name
from services.gpt2.config import FRESH
from services.trainer import beginning, foreign, messages
from services.trainer.auto_publishing import publish
from services.trainer.bases import Bases
from services.trainer.checkpoints import delete_checkpoint, get_checkpoint, list_checkpoints, mark, newest_sound
from services.trainer.publishing import Models
from services.trainer.run_settings import check_same
from services.trainer.runs import ACTIVE, RESUMABLE, RunRecord, Runs, RunState
from services.trainer.samples import delete_samples, read_samples, steps_with_samples
from services.trainer.sources import is_fresh
from services.trainer.starting import Plan, check_dataset, plan, plan_again
from services.trainer.supervisor import Supervisor
from services.trainer.trying import tell_ahead
from services.trainer.volume import Volume, is_foreign
from services.trainer.watching import watch

log = logging.getLogger(__name__)
DEFAULT_RUN = "run1"


class TrainerServicer(trainer_pb2_grpc.TrainerServiceServicer):
    """The rpcs; each one's contract is its comment in the proto."""

    def __init__(self, volume: Volume, bases: Bases, runs: Runs, models: Models, supervisor: Supervisor) -> None:
        self._volume, self._bases, self._runs, self._models = volume, bases, runs, models
        self._supervisor = supervisor
        self._marking = threading.Lock()
        self._starting = threading.Lock()  # two calls that start one run: the second finds it
        self._trying = threading.Lock()  # steps are tried one plan at a time: two would slow each other
        self._stopping = threading.Event()

    def drain(self) -> None:
        """End the open watch streams."""
        self._stopping.set()

    # Base models

    def ListBases(self, request: pb.ListBasesRequest, context: grpc.ServicerContext) -> pb.ListBasesResponse:
        """List fresh sizes, then the folders of base/ that can be read."""
        bases = [messages.base_message(name, config, fresh=True) for name, config in FRESH.items()]
        for name in self._bases.names():
            try:
                base = self._bases.describe(name)
            except Corrupt as error:
                log.warning("base %s is left out: %s", name, error.message)
                continue
            bases.append(
                messages.base_message(name, base.config, fresh=False, vocabulary_digest=base.vocabulary_digest)
            )
        found, token = messages.page(bases, request.page_size, request.page_token)
        return pb.ListBasesResponse(bases=found, next_page_token=token)

    def ImportBase(
        self, requests: Iterator[pb.ImportBaseRequest], context: grpc.ServicerContext
    ) -> pb.ImportBaseResponse:
        """Take a base's files and check them whole."""
        first = next(requests, None)
        if first is None or first.WhichOneof("part") != "name":
            raise InvalidRequest("the first message must name the base", field="name")
        base = self._bases.import_files(first.name, _files(requests))
        return pb.ImportBaseResponse(
            base=messages.base_message(base.name, base.config, fresh=False, vocabulary_digest=base.vocabulary_digest)
        )

    def DeleteBase(self, request: pb.DeleteBaseRequest, context: grpc.ServicerContext) -> pb.DeleteBaseResponse:
        """Delete a base that no active run starts from."""
        for record in self._runs.all():
            if record.settings.base == request.base and record.state in ACTIVE:
                raise FailedPrecondition(f"run {record.name!r} starts from base {request.base!r}: stop it first")
        self._bases.delete(request.base)
        return pb.DeleteBaseResponse()

    def GetBase(self, request: pb.GetBaseRequest, context: grpc.ServicerContext) -> pb.GetBaseResponse:
        """Say what a run would start from."""
        found = beginning.find(self._volume, self._bases, request.base)
        return pb.GetBaseResponse(
            base=messages.base_message(
                found.word, found.config, fresh=found.fresh, vocabulary_digest=found.vocabulary_digest
            )
        )

    # Runs

    def StartRun(self, request: pb.StartRunRequest, context: grpc.ServicerContext) -> pb.StartRunResponse:
        """Queue a new run, or carry on the one that is there."""
        name = check_name(request.run or DEFAULT_RUN, field="run", kind="run")
        choices = messages.choices(request.settings)
        choices |= {field: getattr(request, field) for field in ("dataset", "base") if getattr(request, field)}
        with self._starting:
            record = self._runs.find(name)
            if record and request.fresh:
                raise AlreadyExists(f"there is a run {name!r} already", metadata={"run": name})
            if record:
                check_same(record.settings, record.asked, choices, run=name)
                resumed = record.state in (*RESUMABLE, *ACTIVE)
                if record.state in RESUMABLE:
                    record = self._resume(record)
            else:
                planned, resumed = self._plan(name, choices)
                record = self._runs.create(
                    name,
                    planned.settings,
                    choices,
                    num_parameters=planned.config.num_parameters,
                    fill=planned.fill,
                    dataset_facts=planned.dataset_facts,
                    in_place=resumed,
                )
        self._supervisor.wake()
        return pb.StartRunResponse(run=messages.run_message(self._runs, record), resumed=resumed)

    def _plan(self, name: str, choices: dict[str, Any]) -> tuple[Plan, bool]:
        """Plan a new run; True when its folder holds one that another program began."""
        folder = self._runs.folder(name)
        if not is_foreign(folder):
            return plan(self._volume, self._bases, choices), False
        foreign.refuse_base(choices.get("base", ""), name)
        begin = foreign.begin(folder)
        planned = plan(self._volume, self._bases, choices, begin)
        settings = foreign.go_on(planned.settings, step=begin.step, asked_steps="steps" in choices)
        return replace(planned, settings=settings), True

    def PlanRun(self, request: pb.PlanRunRequest, context: grpc.ServicerContext) -> Iterator[pb.PlanRunUpdate]:
        """Tell what a run would do, trying a few steps."""
        if not request.skip_probe and any(record.state in ACTIVE for record in self._runs.all()):
            raise FailedPrecondition(
                "a run is training, which would spoil the measurement: wait for it, or ask for a plan without trying",
                reason="RUN_TRAINING",
            )
        asked = request.run
        choices = messages.choices(asked.settings)
        choices |= {field: getattr(asked, field) for field in ("dataset", "base") if getattr(asked, field)}
        yield pb.PlanRunUpdate(progress="reading the dataset and the base")
        planned, _ = self._plan(check_name(asked.run or DEFAULT_RUN, field="run.run", kind="run"), choices)

        def wanted() -> bool:
            return context.is_active() and not self._stopping.is_set()

        with contextlib.nullcontext() if request.skip_probe else self._trying:
            for told in tell_ahead(planned, try_them=not request.skip_probe, wanted=wanted):
                if isinstance(told, str):
                    yield pb.PlanRunUpdate(progress=told)
                else:
                    yield pb.PlanRunUpdate(plan=messages.plan_message(told))

    def RepeatRun(self, request: pb.RepeatRunRequest, context: grpc.ServicerContext) -> pb.RepeatRunResponse:
        """Queue a run that does what another did."""
        record = self._runs.get(request.run)
        with self._starting:
            name = request.new_run or self._runs.free_name(record.name)
            check_name(name, field="new_run", kind="run")
            if self._runs.find(name):
                raise AlreadyExists(f"there is a run {name!r} already", metadata={"run": name})
            planned = plan_again(self._volume, record)
            repeated = self._runs.create(
                name,
                planned.settings,
                record.asked,
                num_parameters=planned.config.num_parameters,
                fill=planned.fill,
                dataset_facts=planned.dataset_facts,
            )
        self._supervisor.wake()
        return pb.RepeatRunResponse(run=messages.run_message(self._runs, repeated))

    def MoveRun(self, request: pb.MoveRunRequest, context: grpc.ServicerContext) -> pb.MoveRunResponse:
        """Give a pending run another place."""
        record = self._runs.reorder(request.run, request.queue_position)
        return pb.MoveRunResponse(run=messages.run_message(self._runs, record))

    def ListRuns(self, request: pb.ListRunsRequest, context: grpc.ServicerContext) -> pb.ListRunsResponse:
        """List runs, newest first."""
        records, token = messages.page(self._runs.all(), request.page_size, request.page_token)
        return pb.ListRunsResponse(
            runs=[messages.run_message(self._runs, record) for record in records], next_page_token=token
        )

    def GetRun(self, request: pb.GetRunRequest, context: grpc.ServicerContext) -> pb.GetRunResponse:
        """Return one run."""
        return pb.GetRunResponse(run=messages.run_message(self._runs, self._runs.get(request.run)))

    def WatchRun(self, request: pb.WatchRunRequest, context: grpc.ServicerContext) -> Iterator[pb.RunUpdate]:
        """Stream the run's state now, then its history from the cursor on."""
        record = self._runs.get(request.run)
        yield pb.RunUpdate(cursor=request.cursor, run=messages.run_message(self._runs, record))
        lines = watch(self._runs, request.run, request.cursor, stopping=self._stopping, listening=context.is_active)
        for cursor, line in lines:
            update = pb.RunUpdate(cursor=cursor)
            kind = line["kind"]
            if kind == "metrics":
                update.metrics.CopyFrom(messages.metrics_message(line))
            elif kind == "validation":
                update.validation.CopyFrom(messages.validation_message(line))
            elif kind == "state":
                record = self._runs.get(request.run)
                update.run.CopyFrom(messages.run_message(self._runs, record, state=line["state"], error=line["error"]))
            elif kind == "sample":
                samples = read_samples(self._volume.samples / request.run, line["step"])
                if line["index"] > len(samples):
                    continue  # deleted since
                update.sample.CopyFrom(messages.sample_message(samples[line["index"] - 1], record.settings))
            elif kind == "checkpoint":
                try:
                    update.checkpoint.CopyFrom(self._checkpoint_message(request.run, line["step"]))
                except (NotFound, Corrupt, OSError):
                    continue  # superseded since
            else:
                update.event.step, update.event.message = line["step"], line["message"]
                update.event.created_at.CopyFrom(messages.timestamp(line["time"]))
            yield update

    def StopRun(self, request: pb.StopRunRequest, context: grpc.ServicerContext) -> pb.StopRunResponse:
        """Take a run out of the queue, or let its step be the last."""
        record = self._supervisor.stop_run(request.run)
        return pb.StopRunResponse(run=messages.run_message(self._runs, record))

    def ResumeRun(self, request: pb.ResumeRunRequest, context: grpc.ServicerContext) -> pb.ResumeRunResponse:
        """Queue a failed or cancelled run again."""
        record = self._resume(self._runs.get(request.run))
        self._supervisor.wake()
        return pb.ResumeRunResponse(run=messages.run_message(self._runs, record))

    def DeleteRun(self, request: pb.DeleteRunRequest, context: grpc.ServicerContext) -> pb.DeleteRunResponse:
        """Delete a run with its checkpoints and samples."""
        self._runs.delete(request.run)
        return pb.DeleteRunResponse()

    def _resume(self, record: RunRecord) -> RunRecord:
        if record.state not in RESUMABLE:
            raise FailedPrecondition(
                f"run {record.name!r} is {record.state}: only a FAILED or CANCELLED run can be resumed",
                reason="WRONG_STATE",
                metadata={"run": record.name, "state": record.state},
            )
        check_dataset(self._volume, record)
        checkpoint, damage = newest_sound(self._runs.folder(record.name))
        if checkpoint is None and damage:
            raise damage[0]
        return self._runs.move(record.name, RunState.PENDING)

    # Checkpoints and samples

    def ListCheckpoints(
        self, request: pb.ListCheckpointsRequest, context: grpc.ServicerContext
    ) -> pb.ListCheckpointsResponse:
        """List a run's checkpoints by step."""
        checkpoints = messages.checkpoint_messages(self._runs.folder(self._runs.get(request.run).name))
        found, token = messages.page(checkpoints, request.page_size, request.page_token)
        return pb.ListCheckpointsResponse(checkpoints=found, next_page_token=token)

    def DeleteCheckpoint(
        self, request: pb.DeleteCheckpointRequest, context: grpc.ServicerContext
    ) -> pb.DeleteCheckpointResponse:
        """Delete one of a resting run's checkpoints."""
        record = self._runs.get(request.run)
        if record.state in ACTIVE:
            raise FailedPrecondition(f"run {record.name!r} is {record.state}: stop it first", reason="WRONG_STATE")
        delete_checkpoint(get_checkpoint(self._runs.folder(record.name), request.step))
        return pb.DeleteCheckpointResponse()

    def MarkCheckpoint(
        self, request: pb.MarkCheckpointRequest, context: grpc.ServicerContext
    ) -> pb.MarkCheckpointResponse:
        """Let a checkpoint be kept, or no longer."""
        record = self._runs.get(request.run)
        folder = self._runs.folder(record.name)
        with self._marking:
            get_checkpoint(folder, request.step)
            mark(folder, request.step, request.marked)
        return pb.MarkCheckpointResponse(checkpoint=self._checkpoint_message(record.name, request.step))

    def _checkpoint_message(self, run: str, step: int) -> pb.Checkpoint:
        folder = self._runs.folder(run)
        for message in messages.checkpoint_messages(folder):
            if message.step == step:
                return message
        raise NotFound(f"the checkpoint of step {step} of run {run!r} was deleted meanwhile")

    def ListSamples(self, request: pb.ListSamplesRequest, context: grpc.ServicerContext) -> pb.ListSamplesResponse:
        """List a run's samples by step and number."""
        record = self._runs.get(request.run)
        folder = self._volume.samples / record.name
        samples = [sample for step in steps_with_samples(folder) for sample in read_samples(folder, step)]
        found, token = messages.page(samples, request.page_size, request.page_token)
        return pb.ListSamplesResponse(
            samples=[messages.sample_message(sample, record.settings) for sample in found], next_page_token=token
        )

    def DeleteSamples(
        self, request: pb.DeleteSamplesRequest, context: grpc.ServicerContext
    ) -> pb.DeleteSamplesResponse:
        """Delete a run's samples of one step."""
        record = self._runs.get(request.run)
        if not delete_samples(self._volume.samples / record.name, request.step):
            raise NotFound(f"run {record.name!r} has no samples of step {request.step}", reason="SAMPLES_NOT_FOUND")
        return pb.DeleteSamplesResponse()

    # Models

    def PublishModel(self, request: pb.PublishModelRequest, context: grpc.ServicerContext) -> pb.PublishModelResponse:
        """Make the next version of a model from a checkpoint or a base."""
        source = request.WhichOneof("source")
        deleted: list[int] = []
        if source == "base":
            if is_fresh(request.base):
                raise FailedPrecondition(f"base {request.base!r} has no weights to publish: train it first")
            name = check_name(request.model or request.base, field="model", kind="model")
            version = self._models.publish_base(name, self._bases.get(request.base))
        elif source == "checkpoint":
            record = self._runs.get(request.checkpoint.run)
            name = check_name(request.model or record.name, field="model", kind="model")
            folder = self._runs.folder(record.name)
            steps = [checkpoint.step for checkpoint in list_checkpoints(folder)]
            if not steps:
                raise FailedPrecondition(
                    f"run {record.name!r} has no checkpoint yet; stop it, or wait for its first",
                    reason="NO_CHECKPOINT",
                    metadata={"run": record.name},
                )
            step = request.checkpoint.step if request.checkpoint.HasField("step") else steps[-1]
            version, deleted = publish(self._volume, self._models, record, get_checkpoint(folder, step), name=name)
        else:
            raise InvalidRequest("name a checkpoint or a base to publish", field="source")
        return pb.PublishModelResponse(version=messages.version_message(version), deleted_versions=deleted)

    def ListModels(self, request: pb.ListModelsRequest, context: grpc.ServicerContext) -> pb.ListModelsResponse:
        """List models with their versions."""
        found, token = messages.page(self._models.all(), request.page_size, request.page_token)
        models = [
            pb.Model(name=versions[0].name, versions=[messages.version_message(version) for version in versions])
            for versions in found
        ]
        return pb.ListModelsResponse(models=models, next_page_token=token)

    def RollbackModel(
        self, request: pb.RollbackModelRequest, context: grpc.ServicerContext
    ) -> pb.RollbackModelResponse:
        """Delete a model's newest version."""
        check_name(request.model, field="model", kind="model")
        return pb.RollbackModelResponse(version=messages.version_message(self._models.rollback(request.model)))

    def MarkModelVersion(
        self, request: pb.MarkModelVersionRequest, context: grpc.ServicerContext
    ) -> pb.MarkModelVersionResponse:
        """Let a version be kept, or no longer."""
        check_name(request.model, field="model", kind="model")
        version = self._models.mark(request.model, request.version, request.marked)
        return pb.MarkModelVersionResponse(version=messages.version_message(version))

    def DeleteModel(self, request: pb.DeleteModelRequest, context: grpc.ServicerContext) -> pb.DeleteModelResponse:
        """Delete a version, or a model whole."""
        check_name(request.model, field="model", kind="model")
        self._models.delete(request.model, request.version if request.HasField("version") else None)
        return pb.DeleteModelResponse()


def _files(requests: Iterator[pb.ImportBaseRequest]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The files of an import, each with its chunks, which are taken before the next file is asked for."""
    message = next(requests, None)
    while message is not None:
        if message.WhichOneof("part") != "file":
            raise InvalidRequest("a chunk came before its file's name, or the base was named twice", field="file")
        following: list[pb.ImportBaseRequest | None] = [None]

        def chunks(following: list[pb.ImportBaseRequest | None] = following) -> Iterator[bytes]:
            for part in requests:
                if part.WhichOneof("part") != "chunk":
                    following[0] = part
                    return
                yield part.chunk

        yield message.file, chunks()
        message = following[0]

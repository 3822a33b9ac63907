"""TrainerService of protos/trainer.proto: message in, one call of a pure module, message out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import grpc

from protos import trainer_pb2 as pb
from protos import trainer_pb2_grpc
from services.common.errors import AlreadyExists, Corrupt, FailedPrecondition, InvalidRequest, NotFound
from services.common.files import check_name
from services.gpt2.config import FRESH
from services.trainer import messages
from services.trainer.bases import Bases
from services.trainer.checkpoints import delete_checkpoint, get_checkpoint, list_checkpoints, newest_sound
from services.trainer.fetching.fetches import Fetches
from services.trainer.fetching.names import KNOWN, folder_name
from services.trainer.publishing import Models
from services.trainer.run_settings import check_same
from services.trainer.runs import ACTIVE, RESUMABLE, RunRecord, Runs, RunState
from services.trainer.samples import delete_samples, read_samples, steps_with_samples
from services.trainer.starting import open_dataset, plan
from services.trainer.supervisor import Supervisor
from services.trainer.volume import Volume
from services.trainer.watching import watch

log = logging.getLogger(__name__)
DEFAULT_RUN = "run1"


class TrainerServicer(trainer_pb2_grpc.TrainerServiceServicer):
    """The rpcs; each one's contract is its comment in the proto."""

    def __init__(
        self, volume: Volume, bases: Bases, fetches: Fetches, runs: Runs, models: Models, supervisor: Supervisor
    ) -> None:
        self._volume, self._bases, self._runs, self._models = volume, bases, runs, models
        self._fetches, self._supervisor = fetches, supervisor
        self._starting = threading.Lock()  # two calls that start one run: the second finds it
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

    def ListFetchableBases(
        self, request: pb.ListFetchableBasesRequest, context: grpc.ServicerContext
    ) -> pb.ListFetchableBasesResponse:
        """List what is known by name."""
        here = self._bases.names()
        found, token = messages.page(list(KNOWN), request.page_size, request.page_token)
        return pb.ListFetchableBasesResponse(
            bases=[messages.fetchable_message(known, is_here=known.name in here) for known in found],
            next_page_token=token,
        )

    def FetchBase(self, request: pb.FetchBaseRequest, context: grpc.ServicerContext) -> pb.FetchBaseResponse:
        """Queue a fetch, or find the one under way."""
        if not request.base:
            raise InvalidRequest("no base was named: give 124M, distilgpt2 or <owner>/<name>", field="base")
        record = self._fetches.ask(request.base, name=request.name, source=messages.fetch_source(request.source))
        return pb.FetchBaseResponse(fetch=messages.fetch_message(record))

    def WatchFetch(self, request: pb.WatchFetchRequest, context: grpc.ServicerContext) -> Iterator[pb.Fetch]:
        """Stream a fetch until it has ended."""
        for record in self._fetches.watch(request.name, stopping=self._stopping, listening=context.is_active):
            yield messages.fetch_message(record)

    def CancelFetch(self, request: pb.CancelFetchRequest, context: grpc.ServicerContext) -> pb.CancelFetchResponse:
        """End a fetch."""
        record = self._fetches.cancel(request.name, discard=request.discard)
        return pb.CancelFetchResponse(fetch=messages.fetch_message(record))

    def ListFetches(self, request: pb.ListFetchesRequest, context: grpc.ServicerContext) -> pb.ListFetchesResponse:
        """List fetches by name."""
        found, token = messages.page(self._fetches.all(), request.page_size, request.page_token)
        return pb.ListFetchesResponse(
            fetches=[messages.fetch_message(record) for record in found], next_page_token=token
        )

    # Runs

    def StartRun(self, request: pb.StartRunRequest, context: grpc.ServicerContext) -> pb.StartRunResponse:
        """Queue a new run, or carry on the one that is there."""
        name = check_name(request.run or DEFAULT_RUN, field="run", kind="run")
        choices = messages.choices(request.settings)
        choices |= {field: getattr(request, field) for field in ("dataset", "base") if getattr(request, field)}
        if choices.get("base") and choices["base"] not in self._bases.names():
            choices["base"] = folder_name(choices["base"])
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
                planned = plan(self._volume, self._bases, choices)
                resumed = False
                record = self._runs.create(
                    name,
                    planned.settings,
                    choices,
                    num_parameters=planned.config.num_parameters,
                    fill=planned.fill,
                )
        self._supervisor.wake()
        return pb.StartRunResponse(run=messages.run_message(self._runs, record), resumed=resumed)

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
                update.validation.CopyFrom(
                    messages.validation_message(line["step"], line["loss"], line["bits_per_byte"])
                )
            elif kind == "state":
                record = self._runs.get(request.run)
                update.run.CopyFrom(messages.run_message(self._runs, record, state=line["state"], error=line["error"]))
            elif kind == "sample":
                samples = read_samples(self._volume.samples / request.run, line["step"])
                if line["index"] > len(samples):
                    continue  # deleted since
                update.sample.CopyFrom(messages.sample_message(samples[line["index"] - 1]))
            elif kind == "checkpoint":
                try:
                    checkpoint = get_checkpoint(self._runs.folder(request.run), line["step"])
                    update.checkpoint.CopyFrom(messages.checkpoint_message(checkpoint))
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
        checkpoint, damage = newest_sound(self._runs.folder(record.name))
        if checkpoint is None and damage:
            raise damage[0]
        return self._runs.move(record.name, RunState.PENDING)

    # Checkpoints and samples

    def ListCheckpoints(
        self, request: pb.ListCheckpointsRequest, context: grpc.ServicerContext
    ) -> pb.ListCheckpointsResponse:
        """List a run's checkpoints by step."""
        checkpoints = list_checkpoints(self._runs.folder(self._runs.get(request.run).name))
        found, token = messages.page(checkpoints, request.page_size, request.page_token)
        return pb.ListCheckpointsResponse(
            checkpoints=[messages.checkpoint_message(checkpoint) for checkpoint in found],
            next_page_token=token,
        )

    def DeleteCheckpoint(
        self, request: pb.DeleteCheckpointRequest, context: grpc.ServicerContext
    ) -> pb.DeleteCheckpointResponse:
        """Delete one of a resting run's checkpoints."""
        record = self._runs.get(request.run)
        if record.state in ACTIVE:
            raise FailedPrecondition(f"run {record.name!r} is {record.state}: stop it first", reason="WRONG_STATE")
        delete_checkpoint(get_checkpoint(self._runs.folder(record.name), request.step))
        return pb.DeleteCheckpointResponse()

    def ListSamples(self, request: pb.ListSamplesRequest, context: grpc.ServicerContext) -> pb.ListSamplesResponse:
        """List a run's samples by step and number."""
        folder = self._volume.samples / self._runs.get(request.run).name
        samples = [sample for step in steps_with_samples(folder) for sample in read_samples(folder, step)]
        found, token = messages.page(samples, request.page_size, request.page_token)
        return pb.ListSamplesResponse(
            samples=[messages.sample_message(sample) for sample in found], next_page_token=token
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
        if source == "base":
            if request.base in FRESH:
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
            dataset = open_dataset(self._volume, record.settings.dataset)
            version = self._models.publish_checkpoint(name, get_checkpoint(folder, step), dataset=dataset.manifest)
        else:
            raise InvalidRequest("name a checkpoint or a base to publish", field="source")
        return pb.PublishModelResponse(version=messages.version_message(version))

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

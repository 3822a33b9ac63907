"""The rpcs of runs: message in, one call of a pure module, message out."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc

from protos import trainer_pb2 as pb
from services.common.errors import AlreadyExists, Corrupt, FailedPrecondition, NotFound
from services.common.files import check_name
from services.trainer import beginning, foreign, messages
from services.trainer.bases import Bases
from services.trainer.beginning import Beginning
from services.trainer.checkpoints import newest_sound
from services.trainer.fetching.names import folder_name
from services.trainer.run_record import ACTIVE, RESUMABLE, RunRecord, RunState
from services.trainer.run_settings import check_same
from services.trainer.runs import Runs
from services.trainer.samples import read_samples
from services.trainer.starting import Plan, check_dataset, plan, plan_again
from services.trainer.supervisor import Supervisor
from services.trainer.trying import tell_ahead, turn
from services.trainer.volume import Volume, is_foreign
from services.trainer.watching import watch

log = logging.getLogger(__name__)
DEFAULT_RUN = "run1"


class RunRpcs:
    """The part of TrainerServicer that is about runs; each rpc's contract is its comment in the proto."""

    _volume: Volume
    _bases: Bases
    _runs: Runs
    _supervisor: Supervisor
    _starting: threading.Lock
    _trying: threading.Lock
    _stopping: threading.Event

    def StartRun(self, request: pb.StartRunRequest, context: grpc.ServicerContext) -> pb.StartRunResponse:
        """Queue a new run, or carry on the one that is there."""
        name = check_name(request.run or DEFAULT_RUN, field="run", kind="run")
        choices = self._choices(request)
        with self._starting:
            record = self._runs.find(name)
            if request.fresh and (record or is_foreign(self._runs.folder(name))):
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

    def _choices(self, request: pb.StartRunRequest) -> dict[str, Any]:
        """What a request names, by field of RunSettings; a base goes by the name of its folder."""
        choices = messages.choices(request.settings)
        choices |= {field: getattr(request, field) for field in ("dataset", "base") if getattr(request, field)}
        if choices.get("base") and choices["base"] not in self._bases.names():
            choices["base"] = folder_name(choices["base"])  # `117M` is 124M
        return choices

    def _plan(
        self, name: str, choices: dict[str, Any], find: Callable[[Volume, Bases, str], Beginning] = beginning.find
    ) -> tuple[Plan, bool]:
        """Plan a new run; True when its folder holds one that another program began."""
        folder = self._runs.folder(name)
        if not is_foreign(folder):
            return plan(self._volume, self._bases, choices, find=find), False
        foreign.refuse_base(choices.get("base", ""), name)
        begin = foreign.begin(folder)
        planned = plan(self._volume, self._bases, choices, begin)
        settings = foreign.go_on(planned.settings, step=begin.step, asked_steps=choices.get("steps", 0))
        return replace(planned, settings=settings), True

    def PlanRun(self, request: pb.PlanRunRequest, context: grpc.ServicerContext) -> Iterator[pb.PlanRunUpdate]:
        """Tell what a run would do, trying a few steps."""
        if not request.skip_probe:
            self._refuse_while_training()
        asked = request.run
        choices = self._choices(asked)
        yield pb.PlanRunUpdate(progress="reading the dataset and the base")
        name = check_name(asked.run or DEFAULT_RUN, field="run.run", kind="run")
        planned, _ = self._plan(name, choices, beginning.foresee)

        def wanted() -> bool:
            return context.is_active() and not self._stopping.is_set()

        with contextlib.nullcontext() if request.skip_probe else turn(self._trying, wanted):
            if not request.skip_probe:
                self._refuse_while_training()
            for told in tell_ahead(planned, try_them=not request.skip_probe, wanted=wanted):
                if isinstance(told, str):
                    yield pb.PlanRunUpdate(progress=told)
                else:
                    yield pb.PlanRunUpdate(plan=messages.plan_message(told))

    def _refuse_while_training(self) -> None:
        if any(record.state in ACTIVE for record in self._runs.all()):
            raise FailedPrecondition(
                "a run is training, which would spoil the measurement: wait for it, or ask for a plan without trying",
                reason="RUN_TRAINING",
            )

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
        """List runs, newest first; one whose log is damaged without its metrics."""
        records, token = messages.page(self._runs.all(), request.page_size, request.page_token)
        return pb.ListRunsResponse(runs=[self._listed(record) for record in records], next_page_token=token)

    def _listed(self, record: RunRecord) -> pb.Run:
        try:
            return messages.run_message(self._runs, record)
        except Corrupt as error:  # one damaged log must not hide the other runs
            log.error("run %s is listed without its metrics: %s", record.name, error.message)
            return messages.run_message(self._runs, record, measured=False)

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
                update.sample.CopyFrom(messages.sample_message(samples[line["index"] - 1], record.settings, line))
            elif kind == "originality":
                update.originality.CopyFrom(messages.originality_message(line))
            elif kind == "checkpoint":
                try:
                    update.checkpoint.CopyFrom(messages.checkpoint_of(self._runs.folder(request.run), line["step"]))
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

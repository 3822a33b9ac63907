"""A trainer service that answers from memory, and whose runs do what they are told to have done."""

from __future__ import annotations

import threading
import time

from protos import (
    trainer_pb2,
    trainer_pb2_grpc,
)
from services.common.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    Unavailable,
)
from tests.rpc.client.answers import POST_TEXT, WAIT_S, page


class FakeTrainer(trainer_pb2_grpc.TrainerServiceServicer):
    """Its runs do nothing until told: `script` is what WatchRun tells, `hold` keeps the run open after it."""

    def __init__(self):
        self.bases = [
            trainer_pb2.Base(name="nano", fresh=True, vocabulary_size=2048, num_layers=4, width=128, context=256),
            trainer_pb2.Base(name="micro", fresh=True, vocabulary_size=4096, context=512),
            trainer_pb2.Base(name="124M", vocabulary_size=50257, context=1024),
        ]
        self.runs: dict[str, trainer_pb2.Run] = {}
        self.foreign: set[str] = set()  # folders of gpt-2-simple
        self.started: list[trainer_pb2.StartRunRequest] = []
        self.planned: list[trainer_pb2.PlanRunRequest] = []
        self.busy = False  # a run trains, so that no step can be tried
        self.script: list[trainer_pb2.RunUpdate] = []
        self.end_state = trainer_pb2.RUN_STATE_SUCCEEDED
        self.hold = False
        self.watched_from: list[int] = []
        self.break_after = 0  # the first stream breaks after so many updates of the script
        self.stopped = threading.Event()
        self.ignores_stop: threading.Event | None = None  # set instead of stopping
        self.watching = threading.Event()
        self.models: dict[str, list[trainer_pb2.ModelVersion]] = {}
        self.imported: dict[str, bytes] = {}
        self.fetchable = {"355M": "355M", "345M": "355M", "someone/tiny": "someone--tiny"}
        self.fetches: list[trainer_pb2.Fetch] = []
        self.fetch_requests: list[trainer_pb2.FetchBaseRequest] = []
        self.fetch_script: list[trainer_pb2.Fetch] = []
        self.fetch_error = ""
        self.holds_fetch = False
        self.fetch_waits, self.fetch_cancelled = threading.Event(), threading.Event()
        self.checkpoints = [10, 20]
        self.elsewhere: dict[str, trainer_pb2.Base] = {}  # by the words that are no base's name
        self.moved: list[tuple[str, int]] = []
        self.marked_steps: set[int] = set()
        self.deleted_versions: list[int] = []
        self.samples = [(10, 1), (10, 2), (20, 1)]
        self.recited: dict[tuple[int, int], float] = {}  # shares of the samples that were measured

    def ListBases(self, request, context):
        return page(self.bases, request, trainer_pb2.ListBasesResponse, "bases")

    def GetBase(self, request, context):
        return trainer_pb2.GetBaseResponse(base=self.elsewhere[request.base])

    def ImportBase(self, requests, context):
        name, file = next(requests).name, ""
        if any(base.name == name for base in self.bases):
            raise AlreadyExists(f"base {name!r} exists; give another --name")
        for request in requests:
            if request.WhichOneof("part") == "file":
                file = request.file
                self.imported[file] = b""
            else:
                self.imported[file] += request.chunk
        self.bases.append(trainer_pb2.Base(name=name, num_parameters=1000))
        return trainer_pb2.ImportBaseResponse(base=self.bases[-1])

    def ListFetchableBases(self, request, context):
        names = {base.name for base in self.bases}
        size = {"vocabulary_size": 50257, "context": 1024}
        known = [
            trainer_pb2.FetchableBase(name="124M", **size),
            trainer_pb2.FetchableBase(name="355M", aliases=["345M"], download_bytes=10**9, **size),
        ]
        for base in known:
            base.is_here = base.name in names
        return page(known, request, trainer_pb2.ListFetchableBasesResponse, "bases")

    def ListFetches(self, request, context):
        return page(self.fetches, request, trainer_pb2.ListFetchesResponse, "fetches")

    def FetchBase(self, request, context):
        if request.base not in self.fetchable:
            raise NotFound(f"there is no base {request.base!r} to fetch")
        self.fetch_requests.append(request)
        name = request.name or self.fetchable[request.base]
        return trainer_pb2.FetchBaseResponse(fetch=trainer_pb2.Fetch(name=name, state=trainer_pb2.FETCH_STATE_PENDING))

    def WatchFetch(self, request, context):
        for fetch in self.fetch_script:
            told = trainer_pb2.Fetch(name=request.name)
            told.MergeFrom(fetch)
            yield told
        self.fetch_waits.set()
        if self.holds_fetch:
            self.fetch_cancelled.wait(WAIT_S)
            yield trainer_pb2.Fetch(name=request.name, state=trainer_pb2.FETCH_STATE_CANCELLED)
            return
        if not self.fetch_error:
            self.bases.append(trainer_pb2.Base(name=request.name, num_parameters=1000, context=64))
        yield trainer_pb2.Fetch(
            name=request.name,
            state=trainer_pb2.FETCH_STATE_FAILED if self.fetch_error else trainer_pb2.FETCH_STATE_SUCCEEDED,
            error=self.fetch_error,
        )

    def CancelFetch(self, request, context):
        self.fetch_cancelled.set()
        return trainer_pb2.CancelFetchResponse()

    def DeleteBase(self, request, context):
        kept = [base for base in self.bases if base.name != request.base]
        if len(kept) == len(self.bases):
            raise NotFound(f"no base {request.base!r}")
        self.bases = kept
        return trainer_pb2.DeleteBaseResponse()

    def _run(self, name):
        if name in self.foreign:
            raise NotFound(f"checkpoint/{name} holds a run that gpt-2-simple began", reason="FOREIGN_RUN")
        if name not in self.runs:
            raise NotFound(f"no run {name!r}; `nonesuch runs list` names them", metadata={"run": name})
        return self.runs[name]

    def StartRun(self, request, context):
        self.started.append(request)
        known = self.runs.get(request.run)
        if known is not None and request.fresh:
            raise AlreadyExists(f"run {request.run!r} exists; give another --run")
        if known is not None:
            if request.settings.HasField("steps") and request.settings.steps != known.settings.steps:
                raise FailedPrecondition(f"run {request.run!r} has steps={known.settings.steps}")
            if known.state == trainer_pb2.RUN_STATE_SUCCEEDED:
                return trainer_pb2.StartRunResponse(run=known)
            known.state = trainer_pb2.RUN_STATE_RUNNING
            return trainer_pb2.StartRunResponse(run=known, resumed=True)
        run = trainer_pb2.Run(
            name=request.run,
            state=trainer_pb2.RUN_STATE_RUNNING,
            dataset=request.dataset,
            base=request.base or "nano",
            settings=request.settings,
        )
        if not run.settings.HasField("steps"):
            run.settings.steps = 3
        self.runs[request.run] = run
        return trainer_pb2.StartRunResponse(run=run)

    def PlanRun(self, request, context):
        if not request.skip_probe and self.busy:
            raise FailedPrecondition("a run is training", reason="RUN_TRAINING")
        self.planned.append(request)
        yield trainer_pb2.PlanRunUpdate(progress="trying step 1 of 3")
        settings = trainer_pb2.RunSettings(steps=100, batch_size=2, accumulation=3, context=64, validate_every=10)
        settings.MergeFrom(request.run.settings)
        plan = trainer_pb2.RunPlan(
            settings=settings,
            num_parameters=1_000_000,
            num_trained_parameters=1_000_000,
            seconds_per_step=0.5,
            is_measured=not request.skip_probe,
            total_seconds=60.0,
            memory_bytes={"weights": 4_000_000, "activations": 3 * 1024**3},
            peak_memory_bytes=3 * 1024**3 + 4_000_000,
            available_memory_bytes=8 * 1024**3,
            changes=["with 2 rows at a time in 3 passes a step (it was 6 in 1)"],
            remarks=["100 passes over the posts are many"],
            fits=True,
        )
        yield trainer_pb2.PlanRunUpdate(plan=plan)

    def MoveRun(self, request, context):
        run = self._run(request.run)
        if run.state != trainer_pb2.RUN_STATE_PENDING:
            raise FailedPrecondition(f"run {request.run!r} is not pending")
        self.moved.append((request.run, request.queue_position))
        run.queue_position = request.queue_position
        return trainer_pb2.MoveRunResponse(run=run)

    def RepeatRun(self, request, context):
        run = trainer_pb2.Run()
        run.CopyFrom(self._run(request.run))
        run.name = request.new_run or f"{request.run}-2"
        run.state, run.queue_position = trainer_pb2.RUN_STATE_PENDING, 1
        self.runs[run.name] = run
        return trainer_pb2.RepeatRunResponse(run=run)

    def ListRuns(self, request, context):
        return page(list(self.runs.values()), request, trainer_pb2.ListRunsResponse, "runs")

    def GetRun(self, request, context):
        return trainer_pb2.GetRunResponse(run=self._run(request.run))

    def WatchRun(self, request, context):
        run = self._run(request.run)
        self.watched_from.append(request.cursor)
        yield trainer_pb2.RunUpdate(cursor=request.cursor, run=run)
        for number, update in enumerate(self.script, 1):
            if number > request.cursor:
                update.cursor = number
                if update.WhichOneof("update") == "metrics":
                    run.step = update.metrics.step
                yield update
                if self.break_after == number:
                    self.break_after = 0
                    raise Unavailable("draining; try again")
        self.watching.set()
        deadline = time.monotonic() + WAIT_S
        while self.hold and not self.stopped.is_set() and context.is_active() and time.monotonic() < deadline:
            self.stopped.wait(0.01)
        if not context.is_active():
            return
        run.state = trainer_pb2.RUN_STATE_CANCELLED if self.stopped.is_set() else self.end_state
        run.checkpoint_step = run.step
        # An event of the history: its cursor follows on the others.
        yield trainer_pb2.RunUpdate(cursor=len(self.script) + 1, run=run)

    def StopRun(self, request, context):
        run = self._run(request.run)
        if run.state != trainer_pb2.RUN_STATE_RUNNING:
            raise FailedPrecondition(f"run {request.run!r} is not training")
        if self.ignores_stop is not None:
            self.ignores_stop.set()
            return trainer_pb2.StopRunResponse(run=run)
        self.stopped.set()
        if not self.hold:
            run.state = trainer_pb2.RUN_STATE_CANCELLED
        return trainer_pb2.StopRunResponse(run=run)

    def ResumeRun(self, request, context):
        run = self._run(request.run)
        run.state = trainer_pb2.RUN_STATE_RUNNING
        return trainer_pb2.ResumeRunResponse(run=run)

    def DeleteRun(self, request, context):
        self._run(request.run)
        del self.runs[request.run]
        return trainer_pb2.DeleteRunResponse()

    def ListCheckpoints(self, request, context):
        entries = [self._checkpoint(request.run, step) for step in self.checkpoints]
        self._run(request.run)
        return page(entries, request, trainer_pb2.ListCheckpointsResponse, "checkpoints")

    def _checkpoint(self, run, step):
        return trainer_pb2.Checkpoint(run=run, step=step, size_bytes=2048, marked=step in self.marked_steps)

    def MarkCheckpoint(self, request, context):
        if request.step not in self.checkpoints:
            raise NotFound(f"run {request.run!r} has no checkpoint at step {request.step}")
        (self.marked_steps.add if request.marked else self.marked_steps.discard)(request.step)
        return trainer_pb2.MarkCheckpointResponse(checkpoint=self._checkpoint(request.run, request.step))

    def DeleteCheckpoint(self, request, context):
        if request.step not in self.checkpoints:
            raise NotFound(f"run {request.run!r} has no checkpoint at step {request.step}")
        self.checkpoints.remove(request.step)
        return trainer_pb2.DeleteCheckpointResponse()

    def ListSamples(self, request, context):
        self._run(request.run)
        entries = [
            trainer_pb2.Sample(
                run=request.run,
                step=step,
                index=index,
                text=f"{POST_TEXT} {step}.{index}",
                verbatim_share=self.recited.get((step, index)),
                longest_run_tokens=33 if (step, index) in self.recited else None,
            )
            for step, index in self.samples
        ]
        return page(entries, request, trainer_pb2.ListSamplesResponse, "samples")

    def PublishModel(self, request, context):
        if request.WhichOneof("source") == "base":
            name = request.model or request.base
            version = trainer_pb2.ModelVersion(model=name)
        else:
            self._run(request.checkpoint.run)
            step = request.checkpoint.step if request.checkpoint.HasField("step") else self.checkpoints[-1]
            name = request.model or request.checkpoint.run
            version = trainer_pb2.ModelVersion(model=name, run=request.checkpoint.run, step=step)
        versions = self.models.setdefault(name, [])
        version.version = len(versions) + 1
        versions.insert(0, version)
        return trainer_pb2.PublishModelResponse(version=version, deleted_versions=self.deleted_versions)

    def ListModels(self, request, context):
        entries = [trainer_pb2.Model(name=name, versions=versions) for name, versions in sorted(self.models.items())]
        return page(entries, request, trainer_pb2.ListModelsResponse, "models")

    def RollbackModel(self, request, context):
        versions = self.models[request.model]
        if len(versions) == 1:
            raise FailedPrecondition(f"model {request.model!r} has one version only; delete the model instead")
        versions.pop(0)
        return trainer_pb2.RollbackModelResponse(version=versions[0])

    def MarkModelVersion(self, request, context):
        for version in self.models.get(request.model, ()):
            if version.version == request.version:
                version.marked = request.marked
                return trainer_pb2.MarkModelVersionResponse(version=version)
        raise NotFound(f"model {request.model!r} has no version {request.version}")

    def SetModelAlias(self, request, context):
        for version in self.models.get(request.model, ()):
            kept = [alias for alias in version.aliases if alias != request.alias]
            wanted = request.HasField("version") and version.version == request.version
            version.ClearField("aliases")
            version.aliases.extend([*kept, request.alias] if wanted else kept)
            if wanted:
                return trainer_pb2.SetModelAliasResponse(version=version)
        if request.HasField("version"):
            raise NotFound(f"model {request.model!r} has no version {request.version}")
        return trainer_pb2.SetModelAliasResponse()

    def DeleteModel(self, request, context):
        if request.model not in self.models:
            raise NotFound(f"no model {request.model!r}")
        if request.HasField("version"):
            self.models[request.model] = [v for v in self.models[request.model] if v.version != request.version]
        else:
            del self.models[request.model]
        return trainer_pb2.DeleteModelResponse()

"""Small stand-ins for the four services: just enough memory to answer what the client asks."""

from __future__ import annotations

import hashlib
import threading
import time

from protos import (
    corpus_pb2,
    corpus_pb2_grpc,
    generator_pb2,
    generator_pb2_grpc,
    tokenizer_pb2,
    tokenizer_pb2_grpc,
    trainer_pb2,
    trainer_pb2_grpc,
)
from services.common import rpc
from services.common.errors import (
    AlreadyExists,
    Busy,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    Unavailable,
)

HEADER = "title: The heron\ntags: birds, water\ndate: 2019-09-01"
POST_TEXT = f"{HEADER}\n\nIt stood there all day.\n\nNobody asked it why."
WAIT_S = 120.0  # for what comes at once


def _page(items, request, response_type, field):
    """Two entries a page whatever is asked, so that clients must turn pages."""
    start = int(request.page_token or 0)
    response = response_type(**{field: items[start : start + 2]})
    if start + 2 < len(items):
        response.next_page_token = str(start + 2)
    return response


class FakeCorpus(corpus_pb2_grpc.CorpusServiceServicer):
    def __init__(self):
        self.posts: dict[str, dict[str, bytes]] = {}
        self.skipped: list[corpus_pb2.SkippedFile] = []
        self.received: list[str] = []
        self.reports: dict[str, corpus_pb2.CorpusReport] = {}
        self.rules: dict[str, corpus_pb2.CleaningRules] = {}
        self.overrides: dict[str, int] = {}

    def GetCorpusReport(self, request, context):
        if request.corpus not in self.reports:
            raise NotFound(f"no corpus {request.corpus!r}; add posts to it first")
        return corpus_pb2.GetCorpusReportResponse(report=self.reports[request.corpus])

    def _corpus(self, name):
        if name not in self.posts:
            raise NotFound(f"no corpus {name!r}; add posts to it first")
        return self.posts[name]

    def CheckPosts(self, request, context):
        held = self.posts.get(request.corpus, {})
        return corpus_pb2.CheckPostsResponse(
            needed_paths=[
                post.path
                for post in request.posts
                if post.path not in held or hashlib.sha256(held[post.path]).digest() != post.sha256
            ]
        )

    def UploadPosts(self, requests, context):
        header = next(requests).header
        held = self.posts.setdefault(header.corpus, {})
        if header.HasField("rules"):
            self.rules[header.corpus] = header.rules
        report = corpus_pb2.ImportReport(corpus=header.corpus)
        sent: dict[str, bytes] = {}
        path = part = ""
        unchanged = list(header.unchanged_paths)
        for request in requests:
            part = request.WhichOneof("part")
            if part == "file":
                path = request.file.path
                sent[path] = b""
            elif part == "chunk":
                assert len(request.chunk) <= 1 << 20
                sent[path] += request.chunk
            elif part == "unchanged":
                unchanged += request.unchanged.paths
            elif part == "skipped":
                report.skipped.add(path=request.skipped.path, reason=request.skipped.reason)
        assert part == "end"
        self.received = list(sent)
        for path, content in sent.items():
            if path in held:
                report.num_changed += 1
            else:
                report.num_added += 1
            held[path] = content
        report.num_unchanged = len(unchanged)
        if header.prune:
            for path in set(held) - set(sent) - set(unchanged):
                del held[path]
                report.num_removed += 1
        report.num_documents = len(held)
        report.num_words = sum(len(content.split()) for content in held.values())
        return corpus_pb2.UploadPostsResponse(report=report)

    def _post(self, corpus, path):
        return corpus_pb2.Post(
            id=f"{corpus}/{path}",
            path=path,
            title=f"Title of {path}",
            num_words=3,
            included=self._is_included(corpus, path),
            date="2019-09-01",
            override=self.overrides.get(path, 0),
        )

    def _is_included(self, corpus, path):
        if self.overrides.get(path):
            return self.overrides[path] == corpus_pb2.OVERRIDE_INCLUDE
        return path not in self.rules.get(corpus, corpus_pb2.CleaningRules()).exclude_paths

    def GetCorpus(self, request, context):
        held = self._corpus(request.corpus)
        found = corpus_pb2.Corpus(name=request.corpus, num_posts=len(held), cutoff_date="2019-09-01")
        found.num_documents = sum(self._is_included(request.corpus, path) for path in held)
        found.rules.CopyFrom(self.rules.get(request.corpus, corpus_pb2.CleaningRules()))
        return corpus_pb2.GetCorpusResponse(corpus=found)

    def ListCorpora(self, request, context):
        corpora = [corpus_pb2.Corpus(name=name, num_posts=len(held)) for name, held in sorted(self.posts.items())]
        return _page(corpora, request, corpus_pb2.ListCorporaResponse, "corpora")

    def ListSnapshots(self, request, context):
        self._corpus(request.corpus)
        found = [corpus_pb2.Snapshot(corpus=request.corpus, digest=digest * 64) for digest in "abc"]
        return _page(found, request, corpus_pb2.ListSnapshotsResponse, "snapshots")

    def DeleteCorpus(self, request, context):
        del self.posts[self._corpus(request.corpus) and request.corpus]
        return corpus_pb2.DeleteCorpusResponse()

    def OverridePosts(self, request, context):
        held = self._corpus(request.corpus)
        for path in request.paths:
            if path not in held:
                raise NotFound(f"no post {path!r}")
            self.overrides[path] = request.override
        return corpus_pb2.OverridePostsResponse(posts=[self._post(request.corpus, path) for path in request.paths])

    def ListPosts(self, request, context):
        posts = [self._post(request.corpus, path) for path in sorted(self._corpus(request.corpus))]
        return _page(posts, request, corpus_pb2.ListPostsResponse, "posts")

    def GetPost(self, request, context):
        held = self._corpus(request.corpus)
        if request.path not in held:
            raise NotFound(f"no post {request.path!r} in corpus {request.corpus!r}")
        response = corpus_pb2.GetPostResponse(post=self._post(request.corpus, request.path))
        response.document.text = held[request.path].decode(errors="replace")
        if request.include_source:
            response.source = held[request.path]
        if request.include_effects:
            response.effects.add(rule="keep_code", value="true", other_value="false", diff="@@ -1 +1,2 @@\n a\n+code")
            response.effects.add(rule="keep_maths", value="true", other_value="false")
            response.effects.add(rule="secrets", value="mask", other_value="keep", problem="it took more than 5 s")
        return response

    def DeletePosts(self, request, context):
        held = self._corpus(request.corpus)
        for path in request.paths:
            if path not in held:
                raise NotFound(f"no post {path!r}")
        for path in request.paths:
            del held[path]
        return corpus_pb2.DeletePostsResponse(num_removed=len(request.paths))

    def CreateSnapshot(self, request, context):
        held = self._corpus(request.corpus)
        if not held:
            raise FailedPrecondition(f"corpus {request.corpus!r} holds no document; add posts first")
        digest = hashlib.sha256(repr(sorted(held.items())).encode()).hexdigest()
        return corpus_pb2.CreateSnapshotResponse(snapshot=corpus_pb2.Snapshot(corpus=request.corpus, digest=digest))


class FakeTokenizer(tokenizer_pb2_grpc.TokenizerServiceServicer):
    def __init__(self):
        self.datasets: dict[str, tokenizer_pb2.Dataset] = {}
        self.vocabularies = ["default-2048-aa"]
        self.build_error = ""
        self.breaks = 0  # WatchDataset ends this many times with UNAVAILABLE first
        self.corpus_tokens: dict[tuple[str, str], int] = {}  # by corpus and vocabulary

    def CountCorpusTokens(self, request, context):
        key = (request.corpus, request.vocabulary)
        if key not in self.corpus_tokens:
            raise Unavailable("starting; try again")
        return tokenizer_pb2.CountCorpusTokensResponse(num_tokens=self.corpus_tokens[key])

    def BuildDataset(self, request, context):
        name = request.vocabulary or f"own-{request.own_vocabulary_size}"
        key = f"{request.corpus}-{hashlib.sha256((request.snapshot + name).encode()).hexdigest()[:12]}"
        if key not in self.datasets:
            self.datasets[key] = tokenizer_pb2.Dataset(
                id=key,
                state=tokenizer_pb2.DATASET_STATE_RUNNING,
                corpus=request.corpus,
                snapshot=request.snapshot,
                vocabulary=name,
                vocabulary_size=request.own_vocabulary_size,
                num_documents=2,
            )
        return tokenizer_pb2.BuildDatasetResponse(dataset=self.datasets[key])

    def WatchDataset(self, request, context):
        dataset = self.datasets[request.dataset]
        yield dataset
        if self.breaks:
            self.breaks -= 1
            raise Unavailable("draining")
        dataset.num_documents_done = 2
        dataset.num_tokens = 100
        dataset.error = self.build_error
        failed = tokenizer_pb2.DATASET_STATE_FAILED
        dataset.state = failed if self.build_error else tokenizer_pb2.DATASET_STATE_SUCCEEDED
        yield dataset

    def ListDatasets(self, request, context):
        return _page(list(self.datasets.values()), request, tokenizer_pb2.ListDatasetsResponse, "datasets")

    def GetDataset(self, request, context):
        if request.dataset not in self.datasets:
            raise NotFound(f"no dataset {request.dataset!r}")
        return tokenizer_pb2.GetDatasetResponse(dataset=self.datasets[request.dataset])

    def DeleteDataset(self, request, context):
        self.GetDataset(request, context)
        del self.datasets[request.dataset]
        return tokenizer_pb2.DeleteDatasetResponse()

    def ListVocabularies(self, request, context):
        entries = [
            tokenizer_pb2.Vocabulary(id=name, size=50257 if name == "124M" else 2048, created_at={"seconds": number})
            for number, name in enumerate(self.vocabularies)
        ]
        return _page(entries, request, tokenizer_pb2.ListVocabulariesResponse, "vocabularies")

    def Encode(self, request, context):
        if request.vocabulary not in self.vocabularies:
            raise NotFound(f"no vocabulary {request.vocabulary!r}")
        return tokenizer_pb2.EncodeResponse(ids=list(request.text.encode()))

    def Decode(self, request, context):
        return tokenizer_pb2.DecodeResponse(text=bytes(request.ids).decode(errors="replace"))

    def CountTokens(self, request, context):
        size = len(request.text.encode())
        return tokenizer_pb2.CountTokensResponse(num_tokens=size, num_bytes=size)


class FakeTrainer(trainer_pb2_grpc.TrainerServiceServicer):
    """Its runs do nothing until told: `script` is what WatchRun tells, `hold` keeps the run open after it."""

    def __init__(self):
        self.bases = [
            trainer_pb2.Base(name="nano", fresh=True, vocabulary_size=2048, num_layers=4, width=128, context=256),
            trainer_pb2.Base(name="micro", fresh=True, vocabulary_size=4096, context=512),
            trainer_pb2.Base(name="124M", vocabulary_size=50257, context=1024),
        ]
        self.runs: dict[str, trainer_pb2.Run] = {}
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

    def ListBases(self, request, context):
        return _page(self.bases, request, trainer_pb2.ListBasesResponse, "bases")

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
        known = [trainer_pb2.FetchableBase(name="124M"), trainer_pb2.FetchableBase(name="355M", download_bytes=10**9)]
        for base in known:
            base.is_here = base.name in names
        return _page(known, request, trainer_pb2.ListFetchableBasesResponse, "bases")

    def ListFetches(self, request, context):
        return _page(self.fetches, request, trainer_pb2.ListFetchesResponse, "fetches")

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
        return _page(list(self.runs.values()), request, trainer_pb2.ListRunsResponse, "runs")

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
        return _page(entries, request, trainer_pb2.ListCheckpointsResponse, "checkpoints")

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
            trainer_pb2.Sample(run=request.run, step=step, index=index, text=f"{POST_TEXT} {step}.{index}")
            for step, index in self.samples
        ]
        return _page(entries, request, trainer_pb2.ListSamplesResponse, "samples")

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
        return _page(entries, request, trainer_pb2.ListModelsResponse, "models")

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

    def DeleteModel(self, request, context):
        if request.model not in self.models:
            raise NotFound(f"no model {request.model!r}")
        if request.HasField("version"):
            self.models[request.model] = [v for v in self.models[request.model] if v.version != request.version]
        else:
            del self.models[request.model]
        return trainer_pb2.DeleteModelResponse()


class FakeGenerator(generator_pb2_grpc.GeneratorServiceServicer):
    def __init__(self):
        self.requests: list[generator_pb2.GenerateRequest] = []
        self.busy = 0  # refuse so many requests first
        self.unpublished = 0  # so many requests find no model
        self.hold = False  # keep streams open until the caller leaves
        self.answered = threading.Event()

    def _start(self, request):
        if self.unpublished:
            self.unpublished -= 1
            raise NotFound(f"no model {request.model!r}; publish one first")
        if self.busy:
            self.busy -= 1
            raise Busy("the queue is full; try again", retry_after_s=0.02)
        if request.sampling.HasField("top_p") and not 0 < request.sampling.top_p <= 1:
            raise InvalidRequest("must be above 0 and at most 1", field="sampling.top_p")
        self.requests.append(request)
        return generator_pb2.StreamStart(
            model=generator_pb2.ModelReference(name=request.model or "run1", version=request.version or 1),
            effective=generator_pb2.EffectiveParameters(max_new_tokens=10, n=request.n, seed=request.seed),
        )

    def _texts(self, request):
        return [f"{POST_TEXT} ({index})" for index in range(max(1, request.n))]

    def Generate(self, request, context):
        start = self._start(request)
        response = generator_pb2.GenerateResponse(model=start.model, effective=start.effective)
        for index, text in enumerate(self._texts(request)):
            ended = generator_pb2.FINISH_REASON_END_OF_TEXT
            response.samples.add(index=index, text=text, finish_reason=ended)
        response.usage.generated_tokens = 10
        if len(self.requests) >= 3:
            self.answered.set()
        return response

    def GenerateStream(self, request, context):
        yield generator_pb2.GenerateDelta(start=self._start(request))
        texts = self._texts(request)
        for place in range(max(map(len, texts))):
            for index, text in enumerate(texts):
                if place < len(text):
                    delta = generator_pb2.TextDelta(index=index, text=text[place], ids=[place])
                    yield generator_pb2.GenerateDelta(text=delta)
        self.answered.set()
        deadline = time.monotonic() + WAIT_S
        while self.hold and context.is_active() and time.monotonic() < deadline:
            time.sleep(0.01)
        for index in range(len(texts)):
            ended = generator_pb2.FINISH_REASON_END_OF_TEXT
            yield generator_pb2.GenerateDelta(end=generator_pb2.SampleEnd(index=index, finish_reason=ended))
        yield generator_pb2.GenerateDelta(done=generator_pb2.StreamEnd(usage={"generated_tokens": 10}))

    def GetServerInfo(self, request, context):
        served = generator_pb2.ServedModel(name="run1", version=2, state=generator_pb2.MODEL_STATE_SERVING)
        return generator_pb2.GetServerInfoResponse(models=[served], num_running=1, num_queued=2)


class Fakes:
    """The four on one port, and the environment that points to it."""

    def __init__(self):
        self.corpus = FakeCorpus()
        self.tokenizer = FakeTokenizer()
        self.trainer = FakeTrainer()
        self.generator = FakeGenerator()
        self.server = rpc.start("127.0.0.1:0", self._register, services=())
        address = f"127.0.0.1:{self.server.port}"
        names = ("CORPUS", "TOKENIZER", "TRAINER", "GENERATOR")
        self.environment = {f"NONESUCH_{name}_ADDRESS": address for name in names}

    def _register(self, server):
        corpus_pb2_grpc.add_CorpusServiceServicer_to_server(self.corpus, server)
        tokenizer_pb2_grpc.add_TokenizerServiceServicer_to_server(self.tokenizer, server)
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(self.trainer, server)
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server(self.generator, server)

    def stop(self):
        self.trainer.stopped.set()
        self.server.stop(0)

"""The library's face: one object whose methods are what a person does with Nonesuch.

Methods return the messages of protos/*.proto, whose comments say what each field means, and raise the errors
of services/common/errors.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from protos import corpus_pb2, generator_pb2, trainer_pb2
from services.client import bases, fetching, preparing, settings, watching, writing
from services.client.connection import Connection, pages
from services.client.folder import find_posts
from services.client.progress import Progress, silent
from services.client.shelf import Shelf
from services.client.uploading import upload
from services.common.errors import NonesuchError
from services.common.settings import CommonSettings

PUBLISH_S = 600.0  # a version is copied and verified before the trainer answers
MODEL_PATIENCE_S = 60.0  # how long a model may take to load before a request gives up


def publish_request(
    run: str, *, step: int | None = None, base: str = "", model: str = ""
) -> trainer_pb2.PublishModelRequest:
    """What asks to publish a run's checkpoint, or a base; see Nonesuch.publish."""
    request = trainer_pb2.PublishModelRequest(model=model)
    if base:
        request.base = base
    else:
        request.checkpoint.CopyFrom(trainer_pb2.CheckpointSource(run=run, step=step))
    return request


class Nonesuch:
    """A person's way to the services. A context manager; close it when done.

    `shelf` is where generated posts wait for a person's word; see shelf.py.

    Args:
        addresses: where the services answer; None reads the environment.
    """

    def __init__(self, addresses: CommonSettings | None = None) -> None:
        self.connection = Connection(addresses or settings.from_environment())
        self.shelf = Shelf(self.connection)

    def add_posts(
        self,
        *paths: Path | str,
        corpus: str = preparing.DEFAULT_CORPUS,
        prune: bool = False,
        on_progress: Progress = silent,
    ) -> corpus_pb2.ImportReport:
        """Bring folders and files of posts into a corpus; return what went in and what did not.

        Args:
            prune: remove the corpus's posts that are not among them.
        """
        found = find_posts(Path(path).expanduser() for path in paths)
        return upload(self.connection, found, corpus=corpus, prune=prune, on_progress=on_progress)

    def posts(self, corpus: str = preparing.DEFAULT_CORPUS) -> Iterator[corpus_pb2.Post]:
        """Yield the posts of a corpus in order of path, those left out included."""
        return pages(self.connection.corpus.ListPosts, corpus_pb2.ListPostsRequest(corpus=corpus), "posts")

    def train(
        self,
        run: str = preparing.DEFAULT_RUN,
        *,
        base: str = "",
        corpus: str = "",
        dataset: str = "",
        fresh: bool = False,
        on_progress: Progress = silent,
        **run_settings: Any,
    ) -> trainer_pb2.Run:
        """Start a run, or go on with one that was stopped, building what it lacks; do not wait for it.

        Args:
            run_settings: fields of RunSettings by name, such as `steps=600`.
        """
        started = preparing.start_run(
            self.connection,
            run=run,
            base=base,
            corpus=corpus,
            dataset=dataset,
            settings=trainer_pb2.RunSettings(**run_settings),
            fresh=fresh,
            on_progress=on_progress,
        )
        return started.run

    def plan(
        self,
        run: str = preparing.DEFAULT_RUN,
        *,
        base: str = "",
        corpus: str = "",
        dataset: str = "",
        skip_probe: bool = False,
        on_progress: Progress = silent,
        **run_settings: Any,
    ) -> trainer_pb2.RunPlan:
        """Tell what a new run would do: settings, memory, time, disk. Tries a few steps unless `skip_probe`."""
        return preparing.plan_run(
            self.connection,
            run=run,
            base=base,
            corpus=corpus,
            dataset=dataset,
            settings=trainer_pb2.RunSettings(**run_settings),
            skip_probe=skip_probe,
            on_progress=on_progress,
        )

    def watch(
        self,
        run: str = preparing.DEFAULT_RUN,
        cursor: int = 0,
        on_break: Callable[[NonesuchError], None] = watching.say_nothing,
    ) -> Iterator[trainer_pb2.RunUpdate]:
        """Yield what happens in a run until it ends, over broken connections, after `cursor`."""
        return watching.watch_run(self.connection, run, cursor=cursor, on_break=on_break)

    def wait(self, run: str = preparing.DEFAULT_RUN) -> trainer_pb2.Run:
        """Wait until a run has ended and return it; its `state` says how it ended."""
        for _ in self.watch(run):
            pass
        return self.run(run)

    def run(self, run: str = preparing.DEFAULT_RUN) -> trainer_pb2.Run:
        """Return a run as it is now."""
        found: trainer_pb2.Run = self.connection.trainer.GetRun(trainer_pb2.GetRunRequest(run=run)).run
        return found

    def runs(self) -> Iterator[trainer_pb2.Run]:
        """Yield all runs, newest first."""
        return pages(self.connection.trainer.ListRuns, trainer_pb2.ListRunsRequest(), "runs")

    def stop(self, run: str = preparing.DEFAULT_RUN) -> trainer_pb2.Run:
        """Ask a run to finish its step, save and stop; return without waiting for it."""
        found: trainer_pb2.Run = self.connection.trainer.StopRun(trainer_pb2.StopRunRequest(run=run)).run
        return found

    def move(self, run: str, place: int) -> trainer_pb2.Run:
        """Give a pending run another place in the queue, from 1; beyond the end means last."""
        request = trainer_pb2.MoveRunRequest(run=run, queue_position=place)
        moved: trainer_pb2.Run = self.connection.trainer.MoveRun(request).run
        return moved

    def repeat(self, run: str = preparing.DEFAULT_RUN, new_run: str = "") -> trainer_pb2.Run:
        """Queue a run with the settings, dataset and first weights of another.

        Args:
            new_run: its name; empty is the other's with the next free number.
        """
        request = trainer_pb2.RepeatRunRequest(run=run, new_run=new_run)
        queued: trainer_pb2.Run = self.connection.trainer.RepeatRun(request, timeout_s=bases.START_S).run
        return queued

    def checkpoints(self, run: str = preparing.DEFAULT_RUN) -> Iterator[trainer_pb2.Checkpoint]:
        """Yield the checkpoints of a run by step."""
        request = trainer_pb2.ListCheckpointsRequest(run=run)
        return pages(self.connection.trainer.ListCheckpoints, request, "checkpoints")

    def mark_checkpoint(self, run: str, step: int, *, marked: bool = True) -> trainer_pb2.Checkpoint:
        """Let a checkpoint be kept whatever the run's `keep` says, or no longer."""
        request = trainer_pb2.MarkCheckpointRequest(run=run, step=step, marked=marked)
        found: trainer_pb2.Checkpoint = self.connection.trainer.MarkCheckpoint(request).checkpoint
        return found

    def samples(self, run: str = preparing.DEFAULT_RUN) -> Iterator[trainer_pb2.Sample]:
        """Yield the samples of a run by step."""
        return pages(self.connection.trainer.ListSamples, trainer_pb2.ListSamplesRequest(run=run), "samples")

    def fetch_base(
        self,
        base: str,
        *,
        name: str = "",
        source: str = "",
        on_progress: Progress = silent,
        on_remark: Callable[[str], None] = fetching.say_nothing,
    ) -> trainer_pb2.Base:
        """Fetch a base model by name, such as `124M` or `<owner>/<name>` of the hub, and return it once it is here.

        Args:
            name: what to call it; empty is its own name.
            source: `hub` or `openai` alone; empty is as the trainer is set.
        """
        fetched = fetching.fetch_base(
            self.connection, base, name=name, source=source, on_progress=on_progress, on_remark=on_remark
        )
        return bases.find_base(self.connection, fetched)

    def publish(
        self, run: str = preparing.DEFAULT_RUN, *, step: int | None = None, base: str = "", model: str = ""
    ) -> trainer_pb2.ModelVersion:
        """Publish a run's checkpoint, or a base as it is, as the next version of a model.

        Args:
            step: which checkpoint; None is the newest.
            base: publish this base model instead of a run's checkpoint.
            model: name of the model; empty is the run's or the base's.
        """
        request = publish_request(run, step=step, base=base, model=model)
        version: trainer_pb2.ModelVersion = self.connection.trainer.PublishModel(request, timeout_s=PUBLISH_S).version
        return version

    def mark_model(self, model: str, version: int, *, marked: bool = True) -> trainer_pb2.ModelVersion:
        """Let a model's version be kept whatever a run's `keep_versions` says, or no longer."""
        request = trainer_pb2.MarkModelVersionRequest(model=model, version=version, marked=marked)
        found: trainer_pb2.ModelVersion = self.connection.trainer.MarkModelVersion(request).version
        return found

    def models(self) -> Iterator[trainer_pb2.Model]:
        """Yield the published models by name."""
        return pages(self.connection.trainer.ListModels, trainer_pb2.ListModelsRequest(), "models")

    def generate(
        self, prompt: str = "", *, model: str = "", patience_s: float = MODEL_PATIENCE_S, **options: Any
    ) -> generator_pb2.GenerateResponse:
        """Ask for whole samples.

        Args:
            model: `NAME` or `NAME@VERSION`; empty is the one published last.
            patience_s: how long to wait for a full queue or a model that is loading.
            options: fields of GenerateRequest and SamplingParameters by name, such as `temperature=0.8, n=3`.
        """
        request = writing.make_request(prompt, model=model, **options)
        return writing.patiently(lambda: writing.generate(self.connection, request), patience_s)

    def stream(self, prompt: str = "", *, model: str = "", **options: Any) -> Iterator[generator_pb2.GenerateDelta]:
        """Ask for samples piece by piece. Closing the iterator ends the writing."""
        return writing.stream(self.connection, writing.make_request(prompt, model=model, **options))

    def close(self) -> None:
        """Close all channels."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

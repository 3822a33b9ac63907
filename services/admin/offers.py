"""What a run can start from and learn from, as the form that starts one offers it. In: what the services list.
Out: groups of starts, in words for people who never trained a model. Knows no form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protos import corpus_pb2, trainer_pb2
from services.admin.peers import QUICK_S
from services.admin.words import number
from services.client.connection import Connection, pages

MOST_RUNS = 100  # the newest ones are offered
# What the fresh bases mean to someone who waits for them.
IN_WORDS = {
    "nano": (
        "Small and quick",
        "Learns the sound of your writing in minutes. The best way to see how this works.",
    ),
    "micro": ("In between", "Takes a few times longer. For some hundred posts."),
    "mini": ("Larger and slower", "Takes longest. For many hundred posts; a few would be learned by heart."),
}


@dataclass(frozen=True, slots=True)
class Start:
    """One thing to start from."""

    word: str
    """As StartRunRequest.base has it."""
    name: str
    title: str
    meaning: str
    num_parameters: int


@dataclass(frozen=True, slots=True)
class Offers:
    """What a run can start from and learn from."""

    bases: tuple[Start, ...] = ()
    runs: tuple[Start, ...] = ()
    models: tuple[Start, ...] = ()
    corpora: tuple[corpus_pb2.Corpus, ...] = ()

    @property
    def folded(self) -> tuple[tuple[str, tuple[Start, ...]], ...]:
        """The groups that are not for the first time, each with its heading."""
        groups = (("Go on from a run", self.runs), ("Go on from a published model", self.models))
        return tuple((heading, starts) for heading, starts in groups if starts)


def offers(services: Connection) -> Offers:
    """Ask trainer and corpus what there is."""
    trainer = services.trainer
    corpora = pages(services.corpus.ListCorpora, corpus_pb2.ListCorporaRequest(), "corpora")
    known = pages(trainer.ListFetchableBases, trainer_pb2.ListFetchableBasesRequest(), "bases")
    runs = trainer.ListRuns(trainer_pb2.ListRunsRequest(page_size=MOST_RUNS), timeout_s=QUICK_S).runs
    models = pages(trainer.ListModels, trainer_pb2.ListModelsRequest(), "models")
    bases = [_of_base(base) for base in pages(trainer.ListBases, trainer_pb2.ListBasesRequest(), "bases")]
    return Offers(
        bases=(*bases, *(_of_fetchable(base) for base in known if not base.is_here)),
        runs=tuple(start for run in runs for start in _of_run(run)),
        models=tuple(_of_model(model) for model in models if model.versions),
        corpora=tuple(corpus for corpus in corpora if corpus.num_documents),
    )


def _of_base(base: trainer_pb2.Base) -> Start:
    title, meaning = "Already knows a language", f"Imported. Sees {number(base.context)} tokens at a time."
    if base.fresh:
        title, meaning = IN_WORDS.get(base.name, ("From scratch", "Begins knowing nothing."))
    return Start(base.name, base.name, title, meaning, base.num_parameters)


def _of_fetchable(base: trainer_pb2.FetchableBase) -> Start:
    size = f"{base.download_bytes / 1e9:.1f} GB"
    meaning = f"Is fetched from the internet first, {size}. Wants a graphics card, or patience."
    return Start(base.name, base.name, "Already knows English", meaning, base.num_parameters)


def _of_run(run: trainer_pb2.Run) -> Iterable[Start]:
    """Its best checkpoint and its newest, where it has any and they are two."""
    if not run.checkpoint_step:
        return
    newest, best = run.checkpoint_step, run.best_validation.step
    meaning = f"It began with {run.base}. Knows what it learned there, and learns on."
    if best and best < newest:
        title = f"At its best, after {number(best)} steps"
        yield Start(f"runs/{run.name}@best", run.name, title, meaning, run.num_parameters)
    title = f"As it is, after {number(newest)} steps"
    yield Start(f"runs/{run.name}", run.name, title, meaning, run.num_parameters)


def _of_model(model: trainer_pb2.Model) -> Start:
    newest = model.versions[0]
    source = f"run {newest.run}, step {number(newest.step)}" if newest.run else "a base model"
    return Start(
        f"models/{model.name}",
        model.name,
        f"Version {newest.version}, the newest",
        f"Published from {source}.",
        newest.num_parameters,
    )

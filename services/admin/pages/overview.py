"""The first page: three steps from posts to a post that does not exist, and how the services are."""

from __future__ import annotations

from flask import Blueprint, render_template

from protos import corpus_pb2, trainer_pb2
from services.admin.context import current
from services.admin.peers import QUICK_S, health_of
from services.admin.problems import attempt

blueprint = Blueprint("overview", __name__)

WHAT_THEY_DO = {
    "corpus": "keeps your posts",
    "tokenizer": "prepares them for training",
    "trainer": "trains models",
    "generator": "writes",
}


@blueprint.get("/")
def index() -> str:
    """Show what there is and what comes next. A service that is down leaves the rest of the page whole."""
    services = current().services
    corpora, corpus_problem = attempt(
        lambda: services.corpus.ListCorpora(corpus_pb2.ListCorporaRequest(), timeout_s=QUICK_S).corpora
    )
    runs, run_problem = attempt(
        lambda: services.trainer.ListRuns(trainer_pb2.ListRunsRequest(page_size=20), timeout_s=QUICK_S).runs
    )
    models, _ = attempt(lambda: services.trainer.ListModels(trainer_pb2.ListModelsRequest(), timeout_s=QUICK_S).models)
    num_documents = sum(corpus.num_documents for corpus in corpora or ())
    active = [run for run in runs or () if run.state in (trainer_pb2.RUN_STATE_RUNNING, trainer_pb2.RUN_STATE_PENDING)]
    return render_template(
        "overview.html",
        num_documents=num_documents,
        num_words=sum(corpus.num_words for corpus in corpora or ()),
        runs=runs or (),
        training=next((run for run in active if run.state == trainer_pb2.RUN_STATE_RUNNING), None),
        active=active,
        models=models or (),
        jobs=current().jobs.underway(),
        corpus_problem=corpus_problem,
        run_problem=run_problem,
        current_step=1 if not num_documents else 2 if not models else 3,
        health=health_of(services),
        what_they_do=WHAT_THEY_DO,
    )

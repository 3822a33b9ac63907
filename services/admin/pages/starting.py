"""Starting a run, or asking what it would do: the form, and the page that shows how far the preparation is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms.fields.choices import SelectChoice

from protos import trainer_pb2
from services.admin import job_events, streams
from services.admin.context import current
from services.admin.jobs import PREPARING, Progress
from services.admin.offers import Offers, offers
from services.admin.peers import QUICK_S
from services.admin.train_form import TrainForm
from services.client import plan_words
from services.client.preparing import plan_run, start_run
from services.common.errors import FailedPrecondition, NotFound

blueprint = Blueprint("starting", __name__, url_prefix="/start")

STAGES = {
    "freezing the corpus": "Taking stock of your posts",
    "building the dataset": "Preparing your posts for training",
    "starting the run": "Starting the training",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a form asks for."""

    run: str
    base: str
    corpus: str
    settings: trainer_pb2.RunSettings


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and the form that it is of, to be sent again."""

    plan: trainer_pb2.RunPlan
    said: list[tuple[str, str]]


def empty_form(taken: Sequence[str], choices: Offers | None) -> FlaskForm:
    """The form with a name that is free and the first base chosen."""
    form = TrainForm(formdata=None)
    form.run.data = next(name for number in range(1, 10_000) if (name := f"run{number}") not in taken)
    _offer(form, choices)
    if choices and choices.bases:
        form.base.data = choices.bases[0].word
    return form


def _offer(form: FlaskForm, choices: Offers | None) -> None:
    form.corpus.choices = [SelectChoice(corpus.name) for corpus in choices.corpora] if choices else []


@blueprint.post("")
def index() -> Response | tuple[str, int]:
    """Check the form, begin to prepare, and show that page."""
    services, wish = current().services, _wish()
    if not isinstance(wish, Wish):
        return wish
    try:
        services.trainer.GetRun(trainer_pb2.GetRunRequest(run=wish.run), timeout_s=QUICK_S)
    except NotFound:
        pass
    else:
        form, choices = TrainForm(), offers(services)
        _offer(form, choices)
        form.run.errors = [f"There is a run called {wish.run} already. Give this one another name."]
        return render_template("start.html", form=form, offers=choices), 400

    def work(progress: Progress) -> None:
        start_run(
            services,
            run=wish.run,
            base=wish.base,
            corpus=wish.corpus,
            settings=wish.settings,
            fresh=True,
            on_progress=_telling(progress),
        )

    return redirect(url_for("starting.show", job=current().jobs.start(wish.run, work).id))


@blueprint.post("/plan")
def plan() -> Response | tuple[str, int]:
    """Check the form, and have the trainer tell what the run would do; nothing is started."""
    services, wish = current().services, _wish()
    if not isinstance(wish, Wish):
        return wish
    said = [(name, value) for name, value in request.form.items(multi=True) if name != "csrf_token"]

    def work(progress: Progress) -> Planned:
        def planned(skip_probe: bool) -> trainer_pb2.RunPlan:
            return plan_run(
                services,
                run=wish.run,
                base=wish.base,
                corpus=wish.corpus,
                settings=wish.settings,
                skip_probe=skip_probe,
                on_progress=_telling(progress),
            )

        try:
            return Planned(planned(False), said)
        except FailedPrecondition as error:
            if error.reason != "RUN_TRAINING":
                raise
            return Planned(planned(True), said)

    return redirect(url_for("starting.show", job=current().jobs.start(wish.run, work).id))


def _wish() -> Wish | Response | tuple[str, int]:
    """What the form asks for, or the answer that says what is wrong with it."""
    form = TrainForm()
    choices = offers(current().services)
    _offer(form, choices)
    if not form.validate():
        return render_template("start.html", form=form, offers=choices), 400
    if not choices.corpora:
        flash("There are no posts to learn from yet. Add some first.", "problem")
        return redirect(url_for("posts.index"))
    corpus = form.corpus.data or choices.corpora[0].name
    return Wish(form.run.data, form.start(), corpus, form.settings())


def _telling(progress: Progress) -> Progress:
    """Progress in the page's words."""

    def tell(stage: str, done: int, total: int) -> None:
        if stage.startswith(("fetching ", "converting ")) and total:
            stage, done, total = f"{stage} (MB)", done // 10**6, total // 10**6
        progress(STAGES.get(stage, stage[:1].upper() + stage[1:]), done, total)

    return tell


@blueprint.get("")
def form() -> str:
    """The form on a page of its own: where a form that was sent with a mistake lands after a reload."""
    services = current().services
    runs = services.trainer.ListRuns(trainer_pb2.ListRunsRequest(page_size=1000), timeout_s=QUICK_S).runs
    choices = offers(services)
    return render_template("start.html", form=empty_form([run.name for run in runs], choices), offers=choices)


@blueprint.get("/<job>")
def show(job: str) -> str | Response:
    """How far the preparation is."""
    found = current().jobs.get(job)
    if found is None:
        abort(404, "This page no longer knows of that start. See the list of runs for what became of it.")
    if found.state != PREPARING and isinstance(found.result, Planned):
        told = found.result.plan
        return render_template(
            "plan.html",
            job=found,
            said=found.result.said,
            plan=told,
            facts=plan_words.facts(told),
            memory=plan_words.memory(told),
        )
    if found.state != PREPARING and found.problem is None:
        return redirect(url_for("runs.show", run=found.run))
    return render_template("starting.html", job=found)


@blueprint.get("/<job>/events")
def events(job: str) -> Response:
    """The preparation's progress as server-sent events."""
    context = current()
    found = context.jobs.get(job)
    if found is None:
        abort(404)
    return streams.respond(job_events.lines(context.jobs, found, context.stopping))


@blueprint.app_context_processor
def _where() -> dict[str, object]:
    return {"endpoint": request.endpoint or ""}

"""Runs: the list, one run while it trains, and what can be done with it. Starting one is in starting.py."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from protos import trainer_pb2
from services.admin import comparison, run_events, streams, words
from services.admin.context import current
from services.admin.fields import chosen_number
from services.admin.offers import offers
from services.admin.pages.models import say_published
from services.admin.pages.starting import empty_form
from services.admin.paging import place
from services.admin.peers import PUBLISH_S, QUICK_S
from services.admin.problems import attempt
from services.client.bases import START_S
from services.client.comparing import read_curve
from services.client.connection import pages

blueprint = Blueprint("runs", __name__, url_prefix="/runs")

PER_PAGE = 30
MOST_COMPARED = 8


@blueprint.get("")
def index() -> str:
    """All runs, and the form that starts one."""
    services, here = current().services, place()
    wanted = trainer_pb2.ListRunsRequest(page_size=PER_PAGE, page_token=here.token)
    listed = services.trainer.ListRuns(wanted, timeout_s=QUICK_S)
    choices, problem = attempt(lambda: offers(services))
    return render_template(
        "runs.html",
        runs=listed.runs,
        queue=_queue(listed),
        here=here,
        next_token=listed.next_page_token,
        form=empty_form([run.name for run in listed.runs], choices),
        offers=choices,
        problem=problem,
        jobs=current().jobs.underway(),
    )


def _queue(listed: trainer_pb2.ListRunsResponse) -> list[trainer_pb2.Run]:
    """The runs that wait, next first; `listed` is the page of runs that was asked for."""
    runs: Iterable[trainer_pb2.Run] = listed.runs
    if listed.next_page_token or place().token:
        trainer = current().services.trainer
        runs = pages(trainer.ListRuns, trainer_pb2.ListRunsRequest(page_size=1000), "runs")
    return sorted((run for run in runs if run.queue_position), key=lambda run: run.queue_position)


@blueprint.get("/-compare")  # no run has a name like this
def compare() -> str:
    """Two or more runs on one chart, and in what they differ; with fewer, the runs to choose from."""
    services = current().services
    wanted = trainer_pb2.ListRunsRequest(page_size=100)
    listed = services.trainer.ListRuns(wanted, timeout_s=QUICK_S).runs
    names = list(dict.fromkeys(request.args.getlist("run")))[:MOST_COMPARED]
    curves = [read_curve(services, name) for name in names] if len(names) > 1 else []
    return render_template(
        "compare.html",
        runs=listed,
        chosen=names,
        curves=curves,
        drawn=[comparison.drawn(curve) for curve in curves],
        facts=comparison.facts(curves),
        common=comparison.at_common_steps(curves),
    )


@blueprint.get("/<run>")
def show(run: str) -> str:
    """One run: its curve, its samples, its checkpoints."""
    services = current().services
    found = services.trainer.GetRun(trainer_pb2.GetRunRequest(run=run), timeout_s=QUICK_S).run
    wanted = trainer_pb2.ListCheckpointsRequest(run=run)
    checkpoints, _ = attempt(lambda: list(pages(services.trainer.ListCheckpoints, wanted, "checkpoints")))
    models, _ = attempt(lambda: list(pages(services.trainer.ListModels, trainer_pb2.ListModelsRequest(), "models")))
    return render_template(
        "run.html",
        run=found,
        published=[model.name for model in models or () if any(v.run == run for v in model.versions)],
        state=run_events.run_json(found),
        checkpoints=list(reversed(checkpoints or [])),
        settings=run_events.settings_in_words(found.settings),
    )


@blueprint.get("/<run>/events")
def events(run: str) -> Response:
    """The run's progress as server-sent events, from where the browser was cut off."""
    last = request.headers.get("Last-Event-ID", "")
    cursor = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else 0
    context = current()
    return streams.respond(run_events.lines(context.services, run, cursor, context.stopping))


@blueprint.post("/<run>/stop")
def stop(run: str) -> Response:
    """Ask it to finish its step, save and stop."""
    current().services.trainer.StopRun(trainer_pb2.StopRunRequest(run=run), timeout_s=QUICK_S)
    if request.form.get("waiting"):
        flash(f"{run} has left the queue. You can go on with it later.", "done")
        return redirect(url_for("runs.index"))
    flash(f"{run} finishes its step, saves and stops. You can go on with it later.", "done")
    return redirect(url_for("runs.show", run=run))


@blueprint.post("/<run>/move")
def move(run: str) -> Response:
    """Give it another place in the queue."""
    wanted = trainer_pb2.MoveRunRequest(run=run, queue_position=chosen_number(request.form.get("place", ""), "place"))
    moved = current().services.trainer.MoveRun(wanted, timeout_s=QUICK_S).run
    flash(f"{run} is {'next' if moved.queue_position == 1 else f'number {moved.queue_position}'} in the queue.", "done")
    return redirect(url_for("runs.index"))


@blueprint.post("/<run>/repeat")
def repeat(run: str) -> Response:
    """Queue a run that does the same again."""
    wanted = trainer_pb2.RepeatRunRequest(run=run, new_run=request.form.get("new_run", "").strip())
    queued = current().services.trainer.RepeatRun(wanted, timeout_s=START_S).run
    flash(f"{queued.name} does what {run} did, with the same posts, settings and beginning.", "done")
    return redirect(url_for("runs.show", run=queued.name))


@blueprint.post("/<run>/resume")
def resume(run: str) -> Response:
    """Let it go on from its newest checkpoint."""
    resumed = current().services.trainer.ResumeRun(trainer_pb2.ResumeRunRequest(run=run), timeout_s=QUICK_S).run
    waits = resumed.state == trainer_pb2.RUN_STATE_PENDING and resumed.queue_position > 1
    flash(
        f"{run} waits for its turn." if waits else f"{run} goes on from step {resumed.checkpoint_step:,}.",
        "done",
    )
    return redirect(url_for("runs.show", run=run))


@blueprint.post("/<run>/publish")
def publish(run: str) -> Response:
    """Make a checkpoint a model version."""
    source = trainer_pb2.CheckpointSource(run=run)
    if step := request.form.get("step", ""):
        source.step = chosen_number(step, "step")
    wanted = trainer_pb2.PublishModelRequest(checkpoint=source, model=request.form.get("model", "").strip())
    say_published(current().services.trainer.PublishModel(wanted, timeout_s=PUBLISH_S))
    return redirect(url_for("models.index"))


@blueprint.post("/<run>/delete")
def delete(run: str) -> Response:
    """Delete it with its checkpoints and samples."""
    current().services.trainer.DeleteRun(trainer_pb2.DeleteRunRequest(run=run), timeout_s=QUICK_S)
    flash(f"{run} was deleted with its checkpoints and samples. Models published from it stay.", "done")
    return redirect(url_for("runs.index"))


@blueprint.post("/<run>/checkpoints/<int(max=2147483647):step>/mark")
def mark_checkpoint(run: str, step: int) -> Response:
    """Keep one checkpoint whatever the settings say, or no longer."""
    wanted = trainer_pb2.MarkCheckpointRequest(run=run, step=step, marked="marked" in request.form)
    marked = current().services.trainer.MarkCheckpoint(wanted, timeout_s=QUICK_S).checkpoint.marked
    word = "is kept until you delete it" if marked else "may go when newer ones come"
    flash(f"The checkpoint of {run} at step {words.number(step)} {word}.", "done")
    return redirect(url_for("runs.show", run=run))


@blueprint.post("/<run>/checkpoints/<int(max=2147483647):step>/delete")
def delete_checkpoint(run: str, step: int) -> Response:
    """Delete one checkpoint."""
    wanted = trainer_pb2.DeleteCheckpointRequest(run=run, step=step)
    current().services.trainer.DeleteCheckpoint(wanted, timeout_s=QUICK_S)
    flash(f"The checkpoint of {run} at step {words.number(step)} was deleted.", "done")
    return redirect(url_for("runs.show", run=run))

"""Models: what can write, in which version, and how to add one or go back.

Opening the page begins to gather what the game's classifier needs to judge a version that was published since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from protos import generator_pb2, trainer_pb2
from services.admin.context import current
from services.admin.fields import chosen_number
from services.admin.game.gathering import gather
from services.admin.game.rounds import Rounds
from services.admin.game.store import Store
from services.admin.game.version import from_message
from services.admin.peers import PUBLISH_S, QUICK_S
from services.admin.problems import attempt
from services.client.connection import pages
from services.common.errors import InvalidRequest

blueprint = Blueprint("models", __name__, url_prefix="/models")


@blueprint.get("")
def index() -> str:
    """All models with their versions, and what the generator makes of each."""
    services = current().services
    listed = list(pages(services.trainer.ListModels, trainer_pb2.ListModelsRequest(), "models"))
    served, problem = attempt(
        lambda: list(pages(services.generator.ListModels, generator_pb2.ListModelsRequest(), "models"))
    )
    runs, _ = attempt(
        lambda: services.trainer.ListRuns(trainer_pb2.ListRunsRequest(page_size=100), timeout_s=QUICK_S).runs
    )
    bases, _ = attempt(lambda: list(pages(services.trainer.ListBases, trainer_pb2.ListBasesRequest(), "bases")))
    by_version = {(model.name, model.version): model for model in served or ()}
    attempt(lambda: _gather_newest(listed, by_version))  # what is wrong with the game's file is told with its figures
    return render_template(
        "models.html",
        models=listed,
        served=by_version,
        problem=problem,
        game=_figures(listed),
        runs=[run for run in runs or () if run.checkpoint_step],
        bases=[base for base in bases or () if not base.fresh],
    )


def _gather_newest(
    listed: Sequence[trainer_pb2.Model], served: Mapping[tuple[str, int], generator_pb2.ServedModel]
) -> None:
    """Let the classifier judge the newest version of each model, one after another, where the generator has it.

    Older ones are judged when somebody plays against them: each takes the generator's time.
    """
    context = current()
    store = Store(context.game)
    newest = [max(model.versions, key=lambda version: version.version) for model in listed if model.versions]
    newest.sort(key=lambda version: version.created_at.ToNanoseconds(), reverse=True)
    able = [
        from_message(version)
        for version in newest
        if version.dataset
        and (version.model, version.version) in served
        and served[version.model, version.version].state != generator_pb2.MODEL_STATE_FAILED
    ]
    missing = [version for version in able if not store.stock(version).is_complete]
    context.gatherings.begin_unasked(
        missing, lambda version, progress: gather(context.services, store, version, progress)
    )


def _figures(listed: Sequence[trainer_pb2.Model]) -> dict[str, Any]:
    """How well each version passes for the author, by model and number; the game's file may be damaged."""
    database = current().game
    wrong, problem = attempt(Rounds(database).all_wrong)
    told_right, _ = attempt(Store(database).all_told_right)
    versions = [from_message(version) for model in listed for version in model.versions]
    figures = {(each.model, each.number): ((wrong or {}).get(each), (told_right or {}).get(each)) for each in versions}
    judged = {job.run for job in current().gatherings.jobs.underway()}
    return {"figures": figures, "problem": problem, "judged": judged}


@blueprint.post("/publish")
def publish() -> Response:
    """Publish the newest checkpoint of a run, or a base model as it is."""
    kind, _, name = request.form.get("source", "").partition(":")
    wanted = trainer_pb2.PublishModelRequest(model=request.form.get("model", "").strip())
    if kind == "run" and name:
        wanted.checkpoint.run = name
    elif kind == "base" and name:
        wanted.base = name
    else:
        raise InvalidRequest("choose a run or a base model to publish", field="source")
    say_published(current().services.trainer.PublishModel(wanted, timeout_s=PUBLISH_S))
    return redirect(url_for("models.index"))


def say_published(answer: trainer_pb2.PublishModelResponse) -> None:
    """Say which version is there now, and which went for it."""
    version = answer.version
    told = f"Version {version.version} of {version.model} is published. It can write within a few seconds."
    if answer.deleted_versions:
        gone = ", ".join(str(number) for number in answer.deleted_versions)
        told += f" To save space, these versions were deleted: {gone}. Mark those that you want to keep."
    flash(told, "done")


@blueprint.post("/<model>/mark")
def mark(model: str) -> Response:
    """Keep a version whatever a run's settings say, or no longer."""
    number = chosen_number(request.form.get("version", ""), "version")
    wanted = trainer_pb2.MarkModelVersionRequest(model=model, version=number, marked="marked" in request.form)
    marked = current().services.trainer.MarkModelVersion(wanted, timeout_s=QUICK_S).version.marked
    word = "is kept until you delete it" if marked else "may go when newer ones come"
    flash(f"Version {number} of {model} {word}.", "done")
    return redirect(url_for("models.index"))


@blueprint.post("/<model>/rollback")
def rollback(model: str) -> Response:
    """Delete the newest version, so that the one before writes again."""
    wanted = trainer_pb2.RollbackModelRequest(model=model)
    version = current().services.trainer.RollbackModel(wanted, timeout_s=QUICK_S).version
    flash(f"{model} is back at version {version.version}.", "done")
    return redirect(url_for("models.index"))


@blueprint.post("/<model>/delete")
def delete(model: str) -> Response:
    """Delete a model with all its versions, or one version."""
    wanted = trainer_pb2.DeleteModelRequest(model=model)
    version = request.form.get("version", "")
    if version:
        wanted.version = chosen_number(version, "version")
    current().services.trainer.DeleteModel(wanted, timeout_s=QUICK_S)
    flash(f"Version {wanted.version} of {model} was deleted." if version else f"{model} was deleted.", "done")
    return redirect(url_for("models.index"))

"""The game: two excerpts, one real and one generated. Which is which?

Opening the page of a version whose excerpts or figures are missing begins to gather them.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from flask import Blueprint, abort, flash, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from protos import trainer_pb2
from services.admin import job_events, streams
from services.admin.context import Context, current
from services.admin.game import sentences
from services.admin.game.classifier import MIN_EXCERPTS
from services.admin.game.gathering import gather
from services.admin.game.rounds import SIDES, Rounds
from services.admin.game.store import Stock, Store
from services.admin.game.version import Version, from_message
from services.admin.jobs import Job
from services.admin.problems import Problem, attempt
from services.client.connection import pages
from services.common.errors import InvalidRequest

blueprint = Blueprint("game", __name__, url_prefix="/game")

ANSWERS_SHOWN = 30


@blueprint.get("")
def index() -> str:
    """A round of the version asked for, or of the newest; an answered round is shown with its answer."""
    context = current()
    versions, problem = _versions(context)
    version = _chosen(versions, request.args.get("version", ""), problem)
    if version is None:
        return render_template("game.html", version=None, versions=versions, problem=problem)
    store, rounds, player = Store(context.game), Rounds(context.game), _player()
    stock = store.stock(version)
    job = None if stock.is_complete or not version.dataset else _gathering(context, version)
    shown = None
    if _is_enough(stock):
        asked = request.args.get("round", "")
        shown = (rounds.show(asked, player) if asked else None) or rounds.open(version, player)
    score = rounds.score(version, player)
    return render_template(
        "game.html",
        version=version,
        versions=versions,
        problem=problem,
        stock=stock,
        job=job,
        round=shown,
        score=score,
        answers=score.own[-ANSWERS_SHOWN:],
        say=sentences,
    )


@blueprint.post("/answer")
def answer() -> Response:
    """Take a guess and show what was right."""
    version, guess = request.form.get("version", ""), request.form.get("guess", "")
    if guess not in SIDES:
        raise InvalidRequest("choose the left or the right excerpt", field="guess")
    told = Rounds(current().game).answer(request.form.get("round", ""), _player(), guess)
    if told is None:
        flash("That round is over. Here is another.", "note")
        return redirect(url_for("game.index", version=version))
    return redirect(url_for("game.index", version=version, round=told.id))


@blueprint.post("/gather")
def try_again() -> Response:
    """Begin a gathering that failed once more."""
    context = current()
    versions, problem = _versions(context)
    version = _chosen(versions, request.form.get("version", ""), problem)
    if version is not None and version.dataset:
        _gathering(context, version, again=True)
    return redirect(url_for("game.index", version=version.name if version else ""))


@blueprint.get("/gathering/<job>/events")
def events(job: str) -> Response:
    """A gathering's progress as server-sent events."""
    context = current()
    found = context.gatherings.jobs.get(job)
    if found is None:
        abort(404)
    return streams.respond(job_events.lines(context.gatherings.jobs, found, context.stopping))


def _versions(context: Context) -> tuple[list[Version], Problem | None]:
    """All versions, newest first; while the trainer is down, those that the game knows."""
    listed, problem = attempt(
        lambda: list(pages(context.services.trainer.ListModels, trainer_pb2.ListModelsRequest(), "models"))
    )
    if problem is not None:
        return Store(context.game).versions(), problem
    found = [version for model in listed or () for version in model.versions]
    found.sort(key=lambda version: version.created_at.ToNanoseconds(), reverse=True)
    return [from_message(version) for version in found], None


def _chosen(versions: Sequence[Version], name: str, problem: Problem | None) -> Version | None:
    """The version of that name; without a name the newest that learned from posts, or the newest of all."""
    if name:
        found = next((version for version in versions if version.name == name), None)
        if found is None and problem is None:
            abort(
                404, f"There is no version {name}. It may have been deleted; the game has the list of those that are."
            )
        return found
    return next((version for version in versions if version.dataset), versions[0] if versions else None)


def _gathering(context: Context, version: Version, *, again: bool = False) -> Job:
    services, store = context.services, Store(context.game)
    return context.gatherings.begin(version, lambda progress: gather(services, store, version, progress), again=again)


def _is_enough(stock: Stock) -> bool:
    """Whether a round can be dealt: with all excerpts, or while the rest is gathered with a good number of them."""
    return stock.is_complete or min(stock.num_real, stock.num_generated) >= MIN_EXCERPTS


def _player() -> str:
    """Who plays: a name without meaning, for as long as the browser is signed in."""
    if "player" not in session:
        session["player"] = secrets.token_urlsafe(9)
    return str(session["player"])

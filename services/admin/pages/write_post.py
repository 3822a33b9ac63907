"""Having a whole post written: it goes on the shelf, and the page stays usable while it is written.

The page's script asks for events and shows a clock. Without a script the answer to the form is the post's page, once
there is one.
"""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from protos import generator_pb2
from services.admin import post_events, streams
from services.admin.context import current
from services.admin.fields import complaints
from services.admin.model_choices import choices, usable_models
from services.admin.post_form import PostForm
from services.admin.problems import Problem, attempt, explain
from services.admin.shelf_words import NUMBER
from services.client import post_writing
from services.client.shelf import Shelf
from services.common.errors import NonesuchError

blueprint = Blueprint("write_post", __name__, url_prefix="/shelf")


@blueprint.get("/write")
def index() -> str:
    """The form."""
    form = PostForm(formdata=None)
    form.model.data = request.args.get("model", "")
    return _show(form)


def _show(form: PostForm, failed: Problem | None = None) -> str:
    models, problem = attempt(lambda: usable_models(current().services))
    form.model.choices = choices(models or [])
    return render_template("write_post.html", form=form, models=models, problem=problem, failed=failed)


@blueprint.post("/write")
def write() -> Response | tuple[dict[str, dict[str, str]], int] | tuple[str, int]:
    """Have a post written as the form asks, and put it on the shelf."""
    form = PostForm()
    if not form.validate():
        return ({"problems": complaints(form)}, 400) if _wants_events() else (_show(form), 400)
    wanted = form.generation()
    if _wants_events():
        return _events(wanted)
    try:
        return _written(wanted)
    except NonesuchError as error:  # what was filled in is not lost
        problem = explain(error)
        name = problem.field.rpartition(".")[2]
        if name in form:
            form[name].errors = [problem.message]
        return _show(form, problem), problem.status


@blueprint.post(f"{NUMBER}/again")
def again(number: int) -> Response:
    """The same request as for a post of the shelf, with a new seed."""
    post = Shelf(current().services).get(number)
    return _answer(post_writing.again(post.request, post.response))


@blueprint.post(f"{NUMBER}/more")
def more(number: int) -> Response:
    """Another post with the tags of one on the shelf, written in the same way."""
    post = Shelf(current().services).get(number)
    return _answer(post_writing.more_like(post.request, post.response))


def _answer(wanted: generator_pb2.GeneratePostRequest) -> Response:
    return _events(wanted) if _wants_events() else _written(wanted)


def _events(wanted: generator_pb2.GeneratePostRequest) -> Response:
    context = current()
    return streams.respond(post_events.lines(context.services, wanted, url_for("shelf.index"), context.stopping))


def _written(wanted: generator_pb2.GeneratePostRequest) -> Response:
    post = Shelf(current().services).write(wanted)
    flash("Here it is. It waits for your word.", "done")
    return redirect(url_for("shelf.show", number=post.id))


def _wants_events() -> bool:
    return "text/event-stream" in request.headers.get("Accept", "")

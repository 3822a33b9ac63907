"""Try it: ask a model for a text and read along while it writes."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from werkzeug.wrappers import Response

from services.admin import streams, text_events
from services.admin.context import current
from services.admin.downloads import attachment, file_stem
from services.admin.fields import complaints
from services.admin.model_choices import choices, usable_models
from services.admin.problems import attempt
from services.admin.try_form import TryForm
from services.client.post import as_markdown, parse

blueprint = Blueprint("try_it", __name__, url_prefix="/try")

MAX_DOWNLOAD_CHARACTERS = 500_000


@blueprint.get("")
def index() -> str:
    """The form, and a sheet of paper to write on."""
    usable, problem = attempt(lambda: usable_models(current().services))
    form = TryForm(formdata=None)
    form.model.choices = choices(usable or [])
    form.model.data = request.args.get("model", "")
    return render_template("try.html", form=form, models=usable, problem=problem)


@blueprint.post("/stream")
def stream() -> Response | tuple[dict[str, object], int]:
    """Write a text, sending it piece by piece. The call to the generator ends when the browser goes away."""
    form = TryForm()
    if not form.validate():
        return {"problems": complaints(form)}, 400
    context = current()
    return streams.respond(text_events.lines(context.services, form.generation(), context.stopping))


@blueprint.post("/download")
def download() -> Response:
    """Give a text back as a file: the page's script holds it, the rules for Markdown are here."""
    text = request.form.get("text", "").replace("\r\n", "\n")[:MAX_DOWNLOAD_CHARACTERS]
    stem = file_stem(text, "a-post-that-does-not-exist")
    if request.form.get("form") == "txt":
        return attachment(text, stem, "txt")
    return attachment(as_markdown(parse(text)), stem, "md")

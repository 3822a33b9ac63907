"""Posts: bring them in, see what became of each, take them out."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from protos import corpus_pb2
from services.admin import uploads
from services.admin.context import current
from services.admin.paging import place
from services.admin.peers import QUICK_S, UPLOAD_S
from services.client.folder import BUNDLE_SUFFIXES, EXPORT_SUFFIXES, MAX_POST_BYTES, POST_SUFFIXES
from services.client.preparing import DEFAULT_CORPUS
from services.common.errors import InvalidRequest, NotFound

blueprint = Blueprint("posts", __name__, url_prefix="/posts")

PER_PAGE = 50
SELECTIONS = {
    "in": (corpus_pb2.POST_SELECTION_INCLUDED, "those that went in"),
    "out": (corpus_pb2.POST_SELECTION_LEFT_OUT, "those left out"),
    "noted": (corpus_pb2.POST_SELECTION_NOTED, "those mended or noticed"),
}
TOO_SHORT = "-"  # the language of a post that is too short to tell, in an address
OVERRIDES = {
    "include": (corpus_pb2.OVERRIDE_INCLUDE, "{} goes in, whatever the rules say."),
    "exclude": (corpus_pb2.OVERRIDE_EXCLUDE, "{} stays out, whatever the rules say."),
    "rules": (corpus_pb2.OVERRIDE_UNSPECIFIED, "The rules decide about {} again."),
}
VIEW_S = 60.0  # every rule is tried on the post


def widen_limits() -> None:
    """Allow large bodies where posts come in, and nowhere else; runs after the login was checked."""
    if request.endpoint == "posts.preview":
        request.max_content_length = MAX_POST_BYTES + (1 << 16)
    if request.endpoint == "posts.upload":
        limits = current().settings
        request.max_content_length = limits.upload_limit_mib << 20
        request.max_form_parts = limits.upload_limit_posts + 16
        request.max_form_memory_size = 8 << 20  # the list of what the browser left out


def _corpus() -> str:
    return request.values.get("corpus", "") or DEFAULT_CORPUS


@blueprint.get("")
def index() -> str:
    """The posts of a corpus, all or some of them, and where to drop more."""
    services, here, corpus = current().services, place(), _corpus()
    corpora = services.corpus.ListCorpora(corpus_pb2.ListCorporaRequest(), timeout_s=QUICK_S).corpora
    details = next((found for found in corpora if found.name == corpus), None)
    which = _which()
    try:
        listed = services.corpus.ListPosts(
            corpus_pb2.ListPostsRequest(corpus=corpus, page_size=PER_PAGE, page_token=here.token, **which),
            timeout_s=QUICK_S,
        )
    except NotFound:  # nothing was ever added
        listed = corpus_pb2.ListPostsResponse()
    imports = []
    if details is not None:
        wanted = corpus_pb2.ListImportsRequest(corpus=corpus, page_size=5)
        imports = services.corpus.ListImports(wanted, timeout_s=QUICK_S).imports
    return render_template(
        "posts.html",
        corpus=corpus,
        corpora=corpora,
        details=details,
        posts=listed.posts,
        total=listed.total_size,
        is_part=bool(which),
        filters={name: request.args[name] for name in ("show", "reason", "language") if request.args.get(name)},
        selections=SELECTIONS,
        reasons=[code for code in corpus_pb2.ReasonCode.values() if code],
        imports=imports,
        here=here,
        next_token=listed.next_page_token,
        suffixes=POST_SUFFIXES,
        bundles=BUNDLE_SUFFIXES,
        exports=EXPORT_SUFFIXES,
        max_post_bytes=MAX_POST_BYTES,
        limits=current().settings,
    )


def _which() -> dict[str, Any]:
    """What this request's address asks of the posts, as fields of ListPostsRequest; what makes no sense is all."""
    which: dict[str, Any] = {}
    if (show := request.args.get("show", "")) in SELECTIONS:
        which["selection"] = SELECTIONS[show][0]
    reason = request.args.get("reason", "")
    if reason.isascii() and reason.isdigit() and len(reason) < 4 and int(reason) in corpus_pb2.ReasonCode.values():
        which["reason"] = int(reason)
    if language := request.args.get("language", ""):
        which["language"] = "" if language == TOO_SHORT else language[:8].strip().lower()
    return which


@blueprint.post("/upload")
def upload() -> Response | tuple[dict[str, str], int]:
    """Take in files. A script gets the report's address, a plain form is sent there."""
    files = [file for file in request.files.getlist("files") if file.filename]
    corpus = _corpus()
    skipped = uploads.read_skipped(request.form.get("skipped", "[]"))
    if not files:
        flash(
            "No file that looks like a post was chosen. Choose Markdown, text or HTML files, an archive or an export.",
            "problem",
        )
        return _go(url_for("posts.index", corpus=corpus))
    if len(files) > current().settings.upload_limit_posts:
        abort(413)
    messages = uploads.messages(corpus, files, skipped)
    report = current().services.corpus.UploadPosts(messages, timeout_s=UPLOAD_S).report
    return _go(url_for("posts.report", corpus=corpus, import_id=report.import_id))


def _go(address: str) -> Response | tuple[dict[str, str], int]:
    if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
        return {"address": address}, 200
    return redirect(address)


@blueprint.get("/report/<int:import_id>")
def report(import_id: int) -> str:
    """What one import took in and left out, with the reasons."""
    services, corpus, token = current().services, _corpus(), ""
    while True:
        wanted = corpus_pb2.ListImportsRequest(corpus=corpus, page_size=100, page_token=token)
        page = services.corpus.ListImports(wanted, timeout_s=QUICK_S)
        for found in page.imports:
            if found.import_id == import_id:
                return render_template("report.html", report=found, corpus=corpus)
        token = page.next_page_token
        if not token:
            abort(404, f"There is no import {import_id} into {corpus}.")


@blueprint.get("/view")
def view() -> str:
    """One post: what its author wrote beside what the model reads, and what each rule does to it."""
    path = request.args.get("path", "")
    wanted = corpus_pb2.GetPostRequest(corpus=_corpus(), path=path, include_source=True, include_effects=True)
    found = current().services.corpus.GetPost(wanted, timeout_s=VIEW_S)
    return render_template(
        "post.html",
        corpus=_corpus(),
        post=found.post,
        document=found.document if found.HasField("document") else None,
        source=found.source.decode("utf-8", errors="replace"),
        effects=found.effects,
        includes=found.post.override == corpus_pb2.OVERRIDE_INCLUDE,
        excludes=found.post.override == corpus_pb2.OVERRIDE_EXCLUDE,
    )


@blueprint.post("/override")
def override() -> Response:
    """Take a post in, leave it out, or let the rules decide."""
    path, word = request.form.get("path", ""), request.form.get("word", "")
    if word not in OVERRIDES:
        raise InvalidRequest(f"{word[:40]!r} is nothing that can be done with a post; reload the page", field="word")
    value, message = OVERRIDES[word]
    wanted = corpus_pb2.OverridePostsRequest(corpus=_corpus(), paths=[path], override=value)
    posts = current().services.corpus.OverridePosts(wanted, timeout_s=QUICK_S).posts
    said = message.format(path)
    if value == corpus_pb2.OVERRIDE_INCLUDE and posts and not posts[0].included:
        said = f"{path} has no text that a model could read, so it stays out."
    flash(said, "done")
    return redirect(url_for("posts.view", corpus=_corpus(), path=path))


@blueprint.post("/preview")
def preview() -> str | Response:
    """What would become of one file, without taking it in."""
    file = request.files.get("file")
    if file is None or not file.filename:
        flash("Choose a file to try.", "problem")
        return redirect(url_for("posts.index", corpus=_corpus()))
    content = file.stream.read(MAX_POST_BYTES + 1)
    path = uploads.relative_paths([file.filename])[0]
    services = current().services
    wanted = corpus_pb2.PreviewPostRequest(path=path, content=content, include_effects=True)
    with suppress(NotFound):  # a corpus that is not there yet has the default rules
        found = services.corpus.GetCorpus(corpus_pb2.GetCorpusRequest(corpus=_corpus()), timeout_s=QUICK_S)
        wanted.rules.CopyFrom(found.corpus.rules)
    answer = services.corpus.PreviewPost(wanted, timeout_s=VIEW_S)
    return render_template(
        "preview.html",
        corpus=_corpus(),
        path=path,
        document=answer.document if answer.HasField("document") else None,
        reasons=answer.reasons,
        source=content.decode("utf-8", errors="replace"),
        effects=answer.effects,
    )


@blueprint.post("/delete")
def delete() -> Response:
    """Take one post out."""
    path = request.form.get("path", "")
    wanted = corpus_pb2.DeletePostsRequest(corpus=_corpus(), paths=[path])
    current().services.corpus.DeletePosts(wanted, timeout_s=QUICK_S)
    flash(f"{path} was removed. Models that learned from it stay as they are.", "done")
    return redirect(url_for("posts.index", corpus=_corpus()))


@blueprint.post("/delete-all")
def delete_all() -> Response:
    """Delete a corpus with everything in it."""
    corpus = _corpus()
    current().services.corpus.DeleteCorpus(corpus_pb2.DeleteCorpusRequest(corpus=corpus), timeout_s=QUICK_S)
    current_app.logger.info("corpus %s was deleted from the page", corpus)
    flash(f"All posts of {corpus} were removed. Runs and models stay.", "done")
    return redirect(url_for("posts.index"))

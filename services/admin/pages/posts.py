"""Posts: bring them in, see what became of each, take them out."""

from __future__ import annotations

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from protos import corpus_pb2
from services.admin import uploads
from services.admin.context import current
from services.admin.paging import place
from services.admin.peers import QUICK_S, UPLOAD_S
from services.client.folder import BUNDLE_SUFFIXES, EXPORT_SUFFIXES, MAX_POST_BYTES, POST_SUFFIXES
from services.client.preparing import DEFAULT_CORPUS
from services.common.errors import NotFound

blueprint = Blueprint("posts", __name__, url_prefix="/posts")

PER_PAGE = 50


def widen_limits() -> None:
    """Allow large bodies where posts come in, and nowhere else; runs after the login was checked."""
    if request.endpoint == "posts.upload":
        limits = current().settings
        request.max_content_length = limits.upload_limit_mib << 20
        request.max_form_parts = limits.upload_limit_posts + 16
        request.max_form_memory_size = 8 << 20  # the list of what the browser left out


def _corpus() -> str:
    return request.values.get("corpus", "") or DEFAULT_CORPUS


@blueprint.get("")
def index() -> str:
    """The posts of a corpus, and where to drop more."""
    services, here, corpus = current().services, place(), _corpus()
    corpora = services.corpus.ListCorpora(corpus_pb2.ListCorporaRequest(), timeout_s=QUICK_S).corpora
    try:
        listed = services.corpus.ListPosts(
            corpus_pb2.ListPostsRequest(corpus=corpus, page_size=PER_PAGE, page_token=here.token),
            timeout_s=QUICK_S,
        )
    except NotFound:  # nothing was ever added
        listed = corpus_pb2.ListPostsResponse()
    imports = []
    if listed.total_size:
        wanted = corpus_pb2.ListImportsRequest(corpus=corpus, page_size=5)
        imports = services.corpus.ListImports(wanted, timeout_s=QUICK_S).imports
    return render_template(
        "posts.html",
        corpus=corpus,
        corpora=corpora,
        details=next((found for found in corpora if found.name == corpus), None),
        posts=listed.posts,
        total=listed.total_size,
        imports=imports,
        here=here,
        next_token=listed.next_page_token,
        suffixes=POST_SUFFIXES,
        bundles=BUNDLE_SUFFIXES,
        exports=EXPORT_SUFFIXES,
        max_post_bytes=MAX_POST_BYTES,
        limits=current().settings,
    )


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
    """One post: what the model reads, and what its author wrote."""
    path = request.args.get("path", "")
    found = current().services.corpus.GetPost(
        corpus_pb2.GetPostRequest(corpus=_corpus(), path=path, include_source=True), timeout_s=QUICK_S
    )
    return render_template(
        "post.html",
        corpus=_corpus(),
        post=found.post,
        document=found.document if found.HasField("document") else None,
        source=found.source.decode("utf-8", errors="replace"),
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

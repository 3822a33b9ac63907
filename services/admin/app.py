"""The Flask app: settings and services in, a WSGI application out.

It knows nothing of gunicorn. It makes no connection by itself: those in `services` connect when first used.
"""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

from flask import Flask, flash, redirect, render_template, request
from flask_wtf.csrf import CSRFError, CSRFProtect
from prometheus_client import Counter
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from services.admin import assets, login, words
from services.admin.context import EXTENSION, Context, current
from services.admin.game.database import Database
from services.admin.jobs import Jobs
from services.admin.keys import load_keys
from services.admin.pages import (
    corpora,
    game,
    health,
    models,
    overview,
    posts,
    runs,
    samples,
    shelf,
    starting,
    try_it,
    write_post,
)
from services.admin.problems import Problem, explain
from services.admin.settings import AdminSettings
from services.admin.way_back import where_from
from services.client.connection import Connection
from services.common import logs
from services.common.errors import NonesuchError

log = logging.getLogger(__name__)

REQUESTS = Counter("nonesuch_http_total", "Answered HTTP requests of the page.", ["endpoint", "status"])

SMALL_BODY_BYTES = 1 << 20  # forms; uploads have a limit of their own
SIGNED_IN_FOR = timedelta(days=30)
HEADERS = {
    # plotly's script sets style attributes; nothing else is inline, and nothing comes from elsewhere.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_PLAIN_WORDS = {
    404: "There is no such page.",
    405: "That address does not take this kind of request.",
    413: "That is more than this page takes at once.",
}


def create_app(settings: AdminSettings, services: Connection) -> Flask:
    """Build the page.

    Args:
        settings: what it accepts, and where its keys and the game's file are kept.
        services: the four services.

    Raises:
        OSError: the keys in `settings.state` cannot be read or written.
    """
    app = Flask(__name__)
    context = Context(
        settings=settings,
        keys=load_keys(settings.state),
        services=services,
        jobs=Jobs(),
        game=Database(settings.state / "game.db"),
    )
    app.extensions[EXTENSION] = context
    app.config.update(
        SECRET_KEY=context.keys.session,
        SESSION_COOKIE_NAME="nonesuch-session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=SIGNED_IN_FOR,
        MAX_CONTENT_LENGTH=SMALL_BODY_BYTES,
        WTF_CSRF_TIME_LIMIT=None,  # a page may stay open all night while a run trains
    )
    app.before_request(_begin)
    login.guard(app)
    app.before_request(posts.widen_limits)
    CSRFProtect(app)
    pages = (assets, health, overview, posts, corpora, runs, starting, samples, models, try_it, shelf, write_post, game)
    for page in pages:
        app.register_blueprint(page.blueprint)
    words.install(app)
    app.register_error_handler(NonesuchError, _show_error)
    app.register_error_handler(HTTPException, _show_http_error)
    app.register_error_handler(Exception, _show_bug)
    app.after_request(_finish)
    return app


def _begin() -> None:
    logs.request_id.set(uuid.uuid4().hex[:16])


def _finish(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    REQUESTS.labels(request.endpoint or "-", response.status_code).inc()
    return response


def _show_error(error: NonesuchError) -> Response | tuple[str, int] | tuple[dict[str, str], int]:
    return _show(explain(error))


def _show_http_error(error: HTTPException) -> Response | tuple[str, int] | tuple[dict[str, str], int]:
    status = error.code or 500
    if isinstance(error, CSRFError):
        problem = Problem("This form is no longer valid.", "Reload the page and send it again.", status)
    elif status == 401:
        problem = Problem("You are not signed in.", "Reload the page and sign in again.", status)
    elif status == 413 and request.endpoint == "posts.upload":
        limits = current().settings
        message = f"An upload may hold {limits.upload_limit_mib} MiB in {limits.upload_limit_posts:,} files."
        problem = Problem(message, "Send the folder in parts, or use `nonesuch posts add FOLDER`.", status)
    elif status == 404 and error.description and error.response is None and "URL" not in error.description:
        problem = Problem(error.description, "", status)
    else:
        problem = Problem(_PLAIN_WORDS.get(status, error.description or error.name), "", status)
    if status in (401, 404, 405) or isinstance(error, CSRFError):
        return _page(problem)
    return _show(problem)


def _show_bug(error: Exception) -> tuple[str, int] | tuple[dict[str, str], int]:
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    identifier = logs.request_id.get()
    message = "Nonesuch made a mistake on this page."
    return _page(Problem(message, f"The log of the page says more under request {identifier}.", 500))


def _show(problem: Problem) -> Response | tuple[str, int] | tuple[dict[str, str], int]:
    """A page for a page; for a form, a line above the page it came from."""
    if request.method == "POST" and not _wants_json():
        flash(f"{problem.message} {problem.remedy}".strip(), "problem")
        return redirect(where_from())
    return _page(problem)


def _page(problem: Problem) -> tuple[str, int] | tuple[dict[str, str], int]:
    if _wants_json():
        return problem.as_json(), problem.status
    return render_template("problem.html", problem=problem), problem.status


def _wants_json() -> bool:
    return request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json" or (
        "text/event-stream" in request.headers.get("Accept", "")
    )

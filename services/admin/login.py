"""Signing in with the token that was printed at start, as in Jupyter.

Every page but the login page, its style and the health check asks for it. `?token=` in any address signs in
and is then taken out of the address, so that it does not stay in the history of the next page.

Feed readers sign in nowhere: the shelf's feed opens with a key of its own in its address, which opens nothing else.
"""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Flask, abort, flash, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from services.admin.context import current

blueprint = Blueprint("login", __name__)

OPEN_ENDPOINTS = frozenset({"static", "health.healthz", "login.show", "login.sign_in"})
FEED_ENDPOINT = "shelf.feed"


def guard(app: Flask) -> None:
    """Ask for the token before every view. Must come before CSRF protection, which reads the body."""
    app.register_blueprint(blueprint)
    app.before_request(_require_login)


def _require_login() -> Response | None:
    keys = current().keys
    token = request.args.get("token")
    if token is not None and request.method == "GET" and request.endpoint != "static":
        if keys.opens(token):
            _remember(keys.fingerprint)
            rest = [(key, value) for key, value in request.args.items(multi=True) if key != "token"]
            path = _inside("" if request.endpoint in ("login.show", None) else request.path)
            return redirect(f"{path}?{urlencode(rest)}" if rest else path)
        flash(
            "That token is not the one this page was started with. Copy it again from the terminal.",
            "problem",
        )
        return redirect(url_for("login.show"))
    if request.endpoint in OPEN_ENDPOINTS or session.get("signed_in") == keys.fingerprint:
        return None
    if request.endpoint == FEED_ENDPOINT and "key" in request.args:
        return None if keys.opens_feed(request.args["key"]) else abort(401)
    if request.method != "GET" or "text/event-stream" in request.headers.get("Accept", ""):
        abort(401)
    return redirect(url_for("login.show", next=request.full_path.rstrip("?")))


def _remember(fingerprint: str) -> None:
    if session.get("signed_in") != fingerprint:  # else it stays as it is: the player of the game, the tokens of forms
        session.clear()
    session["signed_in"] = fingerprint
    session.permanent = True


@blueprint.get("/login")
def show() -> str:
    """Ask for the token."""
    return render_template("login.html", next=request.args.get("next", ""))


@blueprint.post("/login")
def sign_in() -> Response:
    """Take the token, or the whole address that was printed."""
    given = request.form.get("token", "").strip()
    if "token=" in given:
        given = given.rpartition("token=")[2]
    keys = current().keys
    if not keys.opens(given):
        flash(
            "That token is not the one this page was started with. Copy it again from the terminal.",
            "problem",
        )
        return redirect(url_for("login.show", next=request.form.get("next", "")))
    _remember(keys.fingerprint)
    return redirect(_inside(request.form.get("next", "")))


@blueprint.post("/logout")
def sign_out() -> Response:
    """Forget this browser."""
    session.clear()
    return redirect(url_for("login.show"))


def _inside(address: str) -> str:
    """`address` if it is a path of this site, else the first page.

    Browsers and urllib drop tabs and line ends from an address: `/<tab>/elsewhere` would be another site.
    """
    is_path = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if is_path else url_for("overview.index")

"""plotly's script, served from the Python package that ships it: no other site is asked for anything."""

from __future__ import annotations

import importlib.resources
from functools import cache
from importlib.metadata import version

from flask import Blueprint, Response, request, url_for

blueprint = Blueprint("assets", __name__)

YEAR_S = 365 * 24 * 3600


@cache
def _plotly_script() -> bytes:
    return importlib.resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()


@cache
def _plotly_version() -> str:
    return version("plotly")


@blueprint.get("/assets/plotly.min.js")
def plotly() -> Response:
    """The script. Its address holds the version, so that browsers keep it for good."""
    response = Response(_plotly_script(), mimetype="text/javascript")
    response.set_etag(_plotly_version())
    response.headers["Cache-Control"] = f"private, max-age={YEAR_S}, immutable"
    response.make_conditional(request)
    return response


@blueprint.app_context_processor
def _addresses() -> dict[str, object]:
    return {"plotly_url": lambda: url_for("assets.plotly", v=_plotly_version())}

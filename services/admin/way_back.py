"""Where a form's answer leads back to."""

from __future__ import annotations

from flask import request, url_for


def where_from() -> str:
    """The page that a form was sent from, if it is one of ours."""
    referrer = request.referrer or ""
    if referrer.startswith(request.host_url):
        return referrer
    return url_for(f"{request.blueprint}.index") if request.blueprint else url_for("overview.index")

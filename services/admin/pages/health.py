"""Whether the page itself is up, for the container's health check."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that the page answers. The four services have health checks of their own."""
    return {"status": "ok"}

"""Going forth and back through a service's list, whose tokens only lead forwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import request, url_for

MAX_DEPTH = 1000  # pages that an address may remember


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a list this page is.

    Args:
        token: of this page; empty is the first.
        before: tokens of the pages that led here, the first page's empty one included.
    """

    token: str
    before: tuple[str, ...]

    @property
    def number(self) -> int:
        """The page's number, from 1."""
        return len(self.before) + 1

    def previous(self, endpoint: str, values: dict[str, Any]) -> str | None:
        """Address of the page before; None on the first. `values` are the address's other parameters."""
        if not self.before:
            return None
        return url_for(endpoint, page=self.before[-1], before=list(self.before[:-1]), **values)

    def next(self, token: str, endpoint: str, values: dict[str, Any]) -> str | None:
        """Address of the page after, given the token that the service returned; None on the last."""
        if not token:
            return None
        return url_for(endpoint, page=token, before=[*self.before, self.token], **values)


def place() -> Place:
    """The place that this request's address names."""
    return Place(request.args.get("page", ""), tuple(request.args.getlist("before")[:MAX_DEPTH]))

"""What went wrong, in words for a person: the message of a service, and what to do about it.

In: one of the errors of errors.py, as the client library raises them. Out: a Problem with an HTTP status.
Nothing here knows Flask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from services.client import statuses
from services.client.shelf import SHELF_FULL
from services.common.errors import NonesuchError

T = TypeVar("T")

OWN_FILE = "OWN_FILE"  # reason of a Corrupt about a file of the page itself, whose message says what to do

_HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "CANCELLED": 503,
}
_REMEDY = {
    "NOT_FOUND": "It may have been deleted in the meantime. Go back to the list and look again.",
    "RESOURCE_EXHAUSTED": "Try again in a moment.",
    "CANCELLED": "Try again.",
    "DATA_LOSS": "A file on the disk is damaged. Use an earlier checkpoint or version, or restore the file.",
    "UNIMPLEMENTED": "This version cannot do that yet. Leave that setting out.",
    "INTERNAL": "This is a fault in Nonesuch, not in what you did. The log of the service says more.",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that did not work.

    Args:
        message: what was wrong with which value.
        remedy: what to do next; empty when the message says it.
        status: the HTTP status that fits.
        field: path of the request field at fault, such as `sampling.top_p`; empty when none is.
    """

    message: str
    remedy: str = ""
    status: int = 500
    field: str = ""

    def as_json(self) -> dict[str, str]:
        """The parts that a script in the page shows."""
        return {"message": self.message, "remedy": self.remedy, "field": self.field}


def explain(error: NonesuchError) -> Problem:
    """Put an error into words."""
    message, remedy = error.message, _REMEDY.get(error.status, "")
    if error.reason in (statuses.UNREACHABLE, statuses.DEADLINE):
        message = message.partition(";")[0]  # what follows is for people at a terminal
    if error.reason == statuses.UNREACHABLE:
        remedy = "It is stopped or still starting. Start everything with make run or docker compose up."
    elif error.reason in (SHELF_FULL, OWN_FILE):
        remedy = ""  # it says it itself, and waiting does not help
    elif error.status == "UNAVAILABLE":
        remedy = "Wait a few seconds and try again."
    return Problem(sentence(message), remedy, _HTTP_STATUS.get(error.status, 500), error.field or "")


def attempt(call: Callable[[], T]) -> tuple[T | None, Problem | None]:
    """Return what `call` returns, or the problem in its place: for pages that go on without it."""
    try:
        return call(), None
    except NonesuchError as error:
        return None, explain(error)


def sentence(text: str) -> str:
    """The text with a capital at its head and a full stop at its end."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")

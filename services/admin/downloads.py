"""A text as a file that the browser saves."""

from __future__ import annotations

from flask import Response

KINDS = {"md": "text/markdown", "txt": "text/plain"}


def attachment(text: str, stem: str, suffix: str) -> Response:
    """A response that is saved as `stem.suffix`. `suffix` is one of KINDS."""
    safe = "".join(letter for letter in stem if letter.isascii() and (letter.isalnum() or letter in "._-"))
    response = Response(text, mimetype=KINDS[suffix])
    response.headers["Content-Disposition"] = f'attachment; filename="{safe or "text"}.{suffix}"'
    return response

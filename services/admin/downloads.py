"""A text as a file that the browser saves."""

from __future__ import annotations

import re
from io import BytesIO

from flask import Response, send_file

from services.client.post import parse

KINDS = {"md": "text/markdown", "txt": "text/plain"}


def file_stem(text: str, otherwise: str) -> str:
    """A file name without suffix, made of the text's title; `otherwise` when it has none."""
    words = re.sub(r"[^a-z0-9]+", "-", parse(text).title.lower()).strip("-")
    return words[:60].strip("-") or otherwise


def attachment(text: str, stem: str, suffix: str) -> Response:
    """A response that is saved as `stem.suffix`. `suffix` is one of KINDS."""
    safe = "".join(letter for letter in stem if letter.isascii() and (letter.isalnum() or letter in "._-"))
    response = Response(text, mimetype=KINDS[suffix])
    response.headers["Content-Disposition"] = f'attachment; filename="{safe or "text"}.{suffix}"'
    return response


def saved_as(text: str, name: str) -> Response:
    """A response that is saved under a name, such as file_name of services/client/shelf.py makes."""
    kind = KINDS.get(name.rpartition(".")[2], "text/plain")
    return send_file(BytesIO(text.encode()), kind, as_attachment=True, download_name=name, etag=False)

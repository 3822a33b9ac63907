"""What the fake services have in common."""

from __future__ import annotations

HEADER = "title: The heron\ntags: birds, water\ndate: 2019-09-01"
POST_TEXT = f"{HEADER}\n\nIt stood there all day.\n\nNobody asked it why."
DEAD = "127.0.0.1:1"  # nothing listens there
WAIT_S = 120.0  # for what comes at once


def page(items, request, response_type, field):
    """Two entries a page whatever is asked, so that clients must turn pages."""
    start = int(request.page_token or 0)
    response = response_type(**{field: items[start : start + 2]})
    if start + 2 < len(items):
        response.next_page_token = str(start + 2)
    return response

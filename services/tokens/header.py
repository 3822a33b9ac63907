"""The lines that stand in front of each document's text, so that a model learns title, tags and date.

    title: A walk by the river
    tags: walking, water
    date: 2024-03-01

    The river was high that day ...

Lines for what a post does not have are left out; a post with none of them has no header and no blank line.
"""

from __future__ import annotations

from collections.abc import Sequence

HEADER_NONE = "none"
HEADER_V1 = "header-v1"
HEADER_FORMATS = (HEADER_NONE, HEADER_V1)


def compose_header(title: str = "", tags: Sequence[str] = (), date: str = "") -> str:
    """Return the header with the blank line that ends it, or an empty string.

    Args:
        title: any text; line breaks become spaces.
        tags: tag names, written in the order given.
        date: `YYYY-MM-DD`, or empty.
    """
    values = {"title": title, "tags": ", ".join(" ".join(tag.split()) for tag in tags), "date": date}
    lines = [f"{name}: {' '.join(value.split())}\n" for name, value in values.items() if value.strip()]
    return "".join(lines) + "\n" if lines else ""

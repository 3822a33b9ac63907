"""The metadata header, format `header-v1`: what a model reads in front of a document's text.

Lines `title: …`, `tags: a, b`, `date: YYYY-MM-DD`, those that are known, then a blank line.
"""

from __future__ import annotations

from collections.abc import Sequence

FORMAT = "header-v1"


def header(title: str, tags: Sequence[str], date: str) -> str:
    """Return the header with its blank line, or "" when nothing is known.

    >>> header("On bees", ["garden", "bees"], "2019-09-01")
    'title: On bees\\ntags: garden, bees\\ndate: 2019-09-01\\n\\n'
    """
    values = (("title", title), ("tags", ", ".join(" ".join(tag.split()) for tag in tags)), ("date", date))
    lines = [f"{name}: {' '.join(value.split())}\n" for name, value in values if value.strip()]
    return "".join(lines) + "\n" if lines else ""

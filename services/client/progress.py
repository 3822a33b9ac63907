"""How long work tells how far it is: a function of stage, done and total. It may be called from another thread."""

from __future__ import annotations

from collections.abc import Callable

# Told a stage in words ("sending posts"), how much of it is done and how much there is; total 0: not known.
Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""

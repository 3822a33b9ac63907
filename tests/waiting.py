"""Waiting for what must happen, with a patience that no slow machine uses up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 120.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.001, 0.1


def wait_for(condition: Callable[[], T], what: str = "what was waited for", patience_s: float = PATIENCE_S) -> T:
    """Ask until the answer is true, and return it; fail naming what did not happen."""
    deadline = time.monotonic() + patience_s
    pause_s = FIRST_PAUSE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    return found

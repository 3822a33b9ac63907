"""Patience: how long a service waits for the next message of a stream whose client says nothing.

In: the messages of a call. Out: the same. A client may stop without going away, and would hold its call for ever.
Knows nothing of what the messages say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_LOOKS = 10  # how often a wait is looked at before it is too long


@contextmanager
def unless_stalled(messages: Iterator[T], seconds: float, give_up: Callable[[], object]) -> Iterator[Iterator[T]]:
    """Yield the messages as an iterator; call `give_up`, once, when the next one takes longer than `seconds`.

    Only waiting for the client counts, not what the reader does with a message.

    Args:
        give_up: called on a thread of its own; it should make `messages` end or raise.
    """
    waits_since: float | None = None
    ended = threading.Event()

    def passed_on() -> Iterator[T]:
        nonlocal waits_since
        while True:
            waits_since = time.monotonic()
            try:
                message = next(messages)
            except StopIteration:
                return
            finally:
                waits_since = None
            yield message

    def watch() -> None:
        while not ended.wait(seconds / _LOOKS):
            since = waits_since
            if since is not None and time.monotonic() - since > seconds:
                give_up()
                return

    threading.Thread(target=watch, name="patience", daemon=True).start()
    try:
        yield passed_on()
    finally:
        ended.set()

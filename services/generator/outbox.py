"""Events on their way from the model's thread to the caller's, and no more of them than may wait.

A caller that reads more slowly than its samples are written makes them pile up here; beyond a limit that is an
error of this request, not memory.
"""

from __future__ import annotations

import threading

from services.generator.events import Event, Text


class Outbox:
    """The events of one request.

    Args:
        limit: tokens that may wait to be read; None: any number.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._num_unread = 0
        self._closed = False

    def put(self, events: list[Event]) -> bool:
        """Add events; False when more tokens would wait than may: nothing is added then."""
        with self._changed:
            new = sum(len(event.ids) for event in events if isinstance(event, Text))
            if self._closed:
                return True
            if self.limit is not None and self._num_unread + new > self.limit:
                return False
            self._num_unread += new
            self._events += events
            self._changed.notify()
            return True

    def close(self, last: Event) -> None:
        """Forget what was not read, and leave one last event; what is put later is not taken."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._events = [last]
                self._changed.notify()

    def take(self) -> list[Event]:
        """Wait for events and return all that are there."""
        with self._changed:
            while not self._events:
                self._changed.wait()
            events, self._events, self._num_unread = self._events, [], 0
            return events

"""Events on their way from the model's thread to the caller's, and no more of them than may wait.

The caller's thread is woken when the model's thread says so, not at every event. A caller that reads more slowly than
its samples are written makes events pile up here; beyond a limit that is an error of this request, not memory.
"""

from __future__ import annotations

import threading

from services.generator.events import Event, Text


class Outbox:
    """The events of one request.

    Args:
        limit: tokens that may wait for a reader who has been woken; None: any number.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._num_unread = 0
        self._ready = False
        self._closed = False

    def put(self, events: list[Event], *, wake: bool) -> bool:
        """Add events, and let the reader have all that wait if `wake`.

        What was put without waking is not the reader's fault: only what it could have read counts against the limit.

        Returns:
            False when the reader has been woken and more tokens would wait than may: nothing is added then.
        """
        with self._changed:
            if self._closed:
                return True
            if self.limit is not None:
                num_new = sum(len(event.ids) for event in events if isinstance(event, Text))
                if self._ready and self._num_unread + num_new > self.limit:
                    return False
                self._num_unread += num_new
            self._events += events
            if wake and self._events:
                self._ready = True
                self._changed.notify()
            return True

    def close(self, last: Event) -> None:
        """Forget what was not read, and leave one last event; what is put later is not taken."""
        with self._changed:
            if not self._closed:
                self._closed = self._ready = True
                self._events = [last]
                self._changed.notify()

    def take(self) -> list[Event]:
        """Wait until there is something to read, and return all that waits."""
        with self._changed:
            while not self._ready:
                self._changed.wait()
            events, self._events, self._num_unread, self._ready = self._events, [], 0, False
            return events

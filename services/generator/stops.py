"""Stop texts: found even where they cross token borders, and never leaked in part into a stream.

In: text as it comes. Out: the text that is safe to send. Knows no tokens.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Holds back the end of the text while it may still become a stop text.

    Example: with stop "END", pushing "the E" gives "the ", then pushing "agle" gives "Eagle".
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = ""

    def push(self, text: str) -> str:
        """Return what may be sent now. Once a stop is found, `found` holds it and nothing more comes.

        Of several stops the one that begins first wins; of two that begin together, the longer
        if it is there already.
        """
        if self.found:
            return ""
        held = self._held + text
        places = [(held.find(stop), -len(stop), stop) for stop in self._stops if stop in held]
        if places:
            start, _, self.found = min(places)
            self._held = ""
            return held[:start]
        safe = len(held) - self._longest_beginning(held)
        self._held = held[safe:]
        return held[:safe]

    def flush(self) -> str:
        """Return what was held back; the text has ended without a stop."""
        rest, self._held = self._held, ""
        return rest

    def _longest_beginning(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest

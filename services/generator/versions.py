"""All versions of a volume: what is known of each, who asked for it, what answered.

In: what stands on the volume, what became of each load, what was asked. Out: which version answers, which belong in
memory and which leave it. Only keeps books: what to do is decided in choice.py, and done in models.py, whose lock
guards this.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from services.common.errors import NonesuchError, Unavailable
from services.generator.choice import (
    KEEP_ASKED_S,
    LATEST,
    LOAD_AGAIN_S,
    Entry,
    ModelStatus,
    State,
    Wish,
    choose,
    effective_alias,
    meant,
    wanted,
)
from services.generator.loaded import LoadedModel
from services.generator.published import Key, Published

log = logging.getLogger(__name__)


class Versions:
    """The versions of one volume; none at first. All times are monotonic seconds."""

    def __init__(self) -> None:
        self._present: dict[Key, Entry] = {}
        self._gone: list[Entry] = []  # deleted from the volume, still in memory
        self._aliases: dict[str, dict[str, int]] = {}  # by model, the version that each alias means
        self._meant: dict[tuple[str, str], Key] = {}  # by model and alias, what answers or did
        self._asked: dict[tuple[str, Wish], float] = {}  # time of the last request

    @property
    def entries(self) -> list[Entry]:
        """Every version, those deleted but still in memory among them."""
        return [*self._present.values(), *self._gone]

    @property
    def num_loaded(self) -> int:
        """How many are in memory."""
        return sum(entry.loaded is not None for entry in self.entries)

    def statuses(self) -> list[ModelStatus]:
        """All of them for people, by name, newest first."""
        entries = sorted(self.entries, key=lambda e: (e.published.key.name, -e.published.key.version))
        return [ModelStatus(e.published, e.state, e.error, e.loaded, self._names_of(e.published.key)) for e in entries]

    def _names_of(self, key: Key) -> tuple[str, ...]:
        aliases = self._aliases.get(key.name, {})
        return tuple(sorted(alias for alias, version in aliases.items() if version == key.version))

    def newest_served(self) -> dict[str, int]:
        """By model that can be asked, the newest version that answers."""
        serving = sorted(key for key, entry in self._present.items() if entry.state is State.SERVING)
        return {key.name: key.version for key in serving}

    # What requests ask.

    def choose(self, name: str, wish: Wish) -> Entry:
        """The version that a request means, in memory or not; raises as choice.choose."""
        return choose(self._present, self._aliases, name, wish, self._meant)

    def ask(self, entry: Entry, wish: Wish, now: float) -> None:
        """A request chose this version; if that is in memory, it answers."""
        name = entry.published.key.name
        self._asked[name, wish] = now
        if entry.loaded is not None:
            entry.state = State.SERVING
            self._meant[name, effective_alias(self._aliases, name, wish)] = entry.published.key

    # What the volume holds.

    def compare(
        self,
        found: Mapping[Key, Published],
        aliases: Mapping[str, dict[str, int]],
        damaged_aliases: Mapping[str, str],
        now: float,
    ) -> None:
        """Bring all up to date with the volume; a failed version is to be tried again when it is due or changed.

        Args:
            aliases: by model, the version that each alias means.
            damaged_aliases: models whose aliases could not be read; what they meant goes on.
        """
        self._aliases = {**aliases, **{name: self._aliases[name] for name in damaged_aliases if name in self._aliases}}
        self._meant = {what: key for what, key in self._meant.items() if key in found}
        for key in [key for key in self._present if key not in found]:
            entry = self._present.pop(key)
            if entry.loaded is not None:
                entry.state = State.DRAINING
                self._gone.append(entry)
            log.info("model %s is gone from the volume", key)
        for key, published in found.items():
            known = self._present.get(key)
            if known is None or (
                known.state is State.FAILED
                and (known.published.signature != published.signature or now >= known.try_again_at)
            ):
                self._present[key] = Entry(published)

    # What is in memory.

    def wanted(self, max_models: int, now: float) -> list[Entry]:
        """What should be in memory, most important first; see choice.wanted."""
        self._asked = {what: at for what, at in self._asked.items() if now - at < KEEP_ASKED_S}
        return wanted(self._present, self._aliases, self._asked, self._meant, max_models, now)

    def succeed(self, entry: Entry, loaded: LoadedModel) -> None:
        """A version has been loaded."""
        key = entry.published.key
        entry.loaded = loaded
        if self._present.get(key) is entry:
            entry.state = State.SERVING
            for alias in (LATEST, *self._aliases.get(key.name, {})):
                if meant(self._present, self._aliases, key.name, alias) is entry:
                    self._meant[key.name, alias] = key
        else:  # deleted meanwhile
            entry.state = State.DRAINING
            self._gone.append(entry)

    def fail(self, entry: Entry, error: Exception, now: float) -> None:
        """A version could not be loaded."""
        entry.state = State.FAILED
        entry.error = str(error) or type(error).__name__
        if isinstance(error, Unavailable) or not isinstance(error, NonesuchError):
            entry.try_again_at = now + LOAD_AGAIN_S

    def let_go(self, keep: Sequence[Entry]) -> list[tuple[Key, LoadedModel]]:
        """Mark as draining all but these, and return what has drained and is to be closed: it is no longer held."""
        closing: list[tuple[Key, LoadedModel]] = []
        for entry in self.entries:
            if entry.loaded is None or entry in keep:
                continue
            entry.state = State.DRAINING
            if entry.users == 0 and entry.waiting == 0:
                closing.append((entry.published.key, entry.loaded))
                entry.loaded = None
                entry.state = State.AVAILABLE
        self._gone = [entry for entry in self._gone if entry.loaded is not None]
        return closing

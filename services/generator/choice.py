"""Which version a request means, and which versions should be in memory: decisions, nothing done.

In: what is known of every version. Knows no threads, no files and no loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from services.common.errors import Corrupt, FailedPrecondition, NotFound, Unavailable
from services.generator.loaded import LoadedModel
from services.generator.published import Key, Published

RETRY_AFTER_S = 2.0
LOAD_AGAIN_S = 30.0  # after a failure that the files do not explain, such as too little memory
LATEST, STABLE = "latest", "stable"
KEEP_ASKED_S = 600.0  # what was asked for stays in memory so long, if there is room


class State(Enum):
    """Of a version; names as ModelState of protos/generator.proto."""

    AVAILABLE = "available"
    LOADING = "loading"
    SERVING = "serving"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Entry:
    """What is known of a version."""

    published: Published
    state: State = State.AVAILABLE
    error: str = ""
    try_again_at: float = float("inf")  # monotonic seconds, for FAILED
    loaded: LoadedModel | None = None
    users: int = 0
    waiting: int = 0  # requests that wait for it to be loaded


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A version and its state, for lists. `loaded` is None unless it is in memory."""

    published: Published
    state: State
    error: str
    loaded: LoadedModel | None
    aliases: tuple[str, ...] = ()


Aliases = Mapping[str, Mapping[str, int]]  # by model, the version that each alias means
Wish = int | str | None  # a version, an alias, or whatever the operator set


def choose(
    entries: Mapping[Key, Entry], aliases: Aliases, name: str, wish: Wish, before: Mapping[tuple[str, str], Key]
) -> Entry:
    """The version that a request means, in memory or not.

    Args:
        name: empty: the one that was published last.
        wish: None: `stable` where the model has it, else `latest`. `latest`: the newest that is not damaged.
        before: the version that last answered for each alias of each model: it goes on answering until the one
            that the alias means now is in memory.

    Raises:
        NotFound: no such model or version.
        FailedPrecondition: no model is published yet.
        Corrupt: the version is damaged, and there is no other to take.
        Unavailable: it could not be loaded for another reason, and will be tried again.
    """
    name = name or _published_last(entries)
    of_name = [entry for key, entry in sorted(entries.items()) if key.name == name]
    if not of_name:
        known = ", ".join(sorted({key.name for key in entries})) or "none yet"
        raise NotFound(f"no model {name!r}; published are: {known}", metadata={"model": name})
    alias = effective_alias(aliases, name, wish)
    version = wish if isinstance(wish, int) else aliases.get(name, {}).get(alias)
    if alias == LATEST:
        sound = [entry for entry in of_name if entry.state is not State.FAILED]
        entry = _or_before(sound[-1] if sound else of_name[-1], _sound_before(entries, before, name, alias))
    elif version is None:
        known = ", ".join([LATEST, *sorted(aliases.get(name, {}))])
        raise NotFound(
            f"model {name!r} has no alias {alias!r}; it has {known}", metadata={"model": name, "alias": alias}
        )
    elif Key(name, version) in entries:
        entry = entries[Key(name, version)]
        if alias:  # who names a version gets no other
            entry = _or_before(entry, _sound_before(entries, before, name, alias))
    else:
        known = ", ".join(str(entry.published.key.version) for entry in of_name)
        raise NotFound(
            f"model {name!r} has no version {version}; it has {known}",
            metadata={"model": name, "version": str(version)},
        )
    if entry.state is State.FAILED and entry.try_again_at < float("inf"):
        raise Unavailable(
            f"model {entry.published.key} could not be loaded: {entry.error}; it is tried again",
            retry_after_s=LOAD_AGAIN_S,
        )
    if entry.state is State.FAILED:
        raise Corrupt(f"model {entry.published.key} cannot be served: {entry.error}")
    return entry


def effective_alias(aliases: Aliases, name: str, wish: Wish) -> str:
    """The alias that a request goes by; empty when it names a version."""
    if isinstance(wish, int):
        return ""
    return wish or (STABLE if STABLE in aliases.get(name, {}) else LATEST)


def meant(entries: Mapping[Key, Entry], aliases: Aliases, name: str, wish: Wish) -> Entry | None:
    """The version that a wish is for, loaded or damaged; None when there is none."""
    alias = effective_alias(aliases, name, wish)
    if alias == LATEST:
        sound = (key for key, entry in entries.items() if key.name == name and entry.state is not State.FAILED)
        newest = max(sound, default=None)
        return None if newest is None else entries[newest]
    version = wish if isinstance(wish, int) else aliases.get(name, {}).get(alias)
    return None if version is None else entries.get(Key(name, version))


def wanted(
    entries: Mapping[Key, Entry],
    aliases: Aliases,
    asked: Mapping[tuple[str, Wish], float],
    before: Mapping[tuple[str, str], Key],
    max_models: int,
    now: float,
) -> list[Entry]:
    """What should be in memory, most important first.

    That is what requests wait for, what was asked for lately, and the default of each model. Then comes what
    answers while one of these is not loaded yet. Not all of it is in memory, there are at most `max_models` loaded
    among it, so that there is always room for the next.

    Args:
        asked: monotonic time of the last request by name and wish.
        before: as for `choose`.
    """
    # What is loaded first: until its requests wake, nothing else that is waited for may push it out again.
    awaited = [entry for entry in entries.values() if entry.waiting and entry.state is not State.FAILED]
    awaited.sort(key=lambda entry: entry.loaded is None)
    recent = [what for what in sorted(asked, key=lambda what: -asked[what]) if now - asked[what] < KEEP_ASKED_S]
    newest: dict[str, Entry] = {}
    for key, entry in sorted(entries.items()):
        if entry.state is not State.FAILED:
            newest[key.name] = entry
    names = [e.published.key.name for e in sorted(newest.values(), key=_created_at, reverse=True)]
    found = awaited
    replaced: list[Entry] = []
    for name, wish in (*recent, *((name, None) for name in names)):
        choice = meant(entries, aliases, name, wish)
        alias = effective_alias(aliases, name, wish)
        one_before = _sound_before(entries, before, name, alias) if alias else None
        if choice is not None and choice.state is State.FAILED:
            choice = one_before
        elif choice is not None and choice.loaded is None and one_before is not None and one_before.loaded is not None:
            replaced.append(one_before)
        if choice is not None and choice.state is not State.FAILED:
            found.append(choice)
    found = list(dict.fromkeys(found))[:max_models]
    replaced = [entry for entry in dict.fromkeys(replaced) if entry not in found]
    return found + replaced[: max_models - sum(entry.loaded is not None for entry in found)]


def _published_last(entries: Mapping[Key, Entry]) -> str:
    if not entries:
        raise FailedPrecondition(
            "no model is published yet: train one and publish it (`nonesuch train`, then "
            "`nonesuch models publish RUN`, or the Runs page)",
            reason="NO_MODEL",
            retry_after_s=RETRY_AFTER_S,
        )
    sound = [entry for entry in entries.values() if entry.state is not State.FAILED]
    return max(sound or entries.values(), key=_created_at).published.key.name


def _created_at(entry: Entry) -> datetime:
    return entry.published.created_at


def _sound_before(
    entries: Mapping[Key, Entry], before: Mapping[tuple[str, str], Key], name: str, alias: str
) -> Entry | None:
    """What answered for an alias before, unless it is damaged since."""
    key = before.get((name, alias))
    entry = entries.get(key) if key is not None else None
    return entry if entry is not None and entry.state is not State.FAILED else None


def _or_before(entry: Entry, one_before: Entry | None) -> Entry:
    """The entry, or while it is not loaded what answered before; if it cannot be, that is loaded again."""
    if entry.loaded is not None or one_before is None:
        return entry
    return one_before if one_before.loaded is not None or entry.state is State.FAILED else entry

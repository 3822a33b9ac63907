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


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A version and its state, for lists. `loaded` is None unless it is in memory."""

    published: Published
    state: State
    error: str
    loaded: LoadedModel | None


def choose(entries: Mapping[Key, Entry], name: str, version: int | None) -> Entry:
    """The version that a request means, in memory or not.

    Args:
        name: empty: the one that was published last.
        version: None: the newest that serves; while none does, the newest that is not damaged.

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
    if version is None:
        entry = _newest(of_name)
    elif Key(name, version) in entries:
        entry = entries[Key(name, version)]
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


def wanted(
    entries: Mapping[Key, Entry], asked: Mapping[tuple[str, int | None], float], max_models: int, now: float
) -> list[Entry]:
    """What should be in memory, most important first: what was asked for lately, then the newest by name.

    Args:
        asked: monotonic time of the last request by name and version (None: the latest).
    """
    newest: dict[str, Entry] = {}
    for key, entry in sorted(entries.items()):
        if entry.state is not State.FAILED:
            newest[key.name] = entry
    candidates: list[Entry | None] = []
    for name, version in sorted(asked, key=lambda what: -asked[what]):
        if now - asked[name, version] < KEEP_ASKED_S:
            candidates.append(newest.get(name) if version is None else entries.get(Key(name, version)))
    latest = sorted(newest.values(), key=_created_at, reverse=True)
    found: list[Entry] = []
    for candidate in (*candidates, *latest):
        if candidate is not None and candidate.state is not State.FAILED and candidate not in found:
            found.append(candidate)
    return found[:max_models]


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


def _newest(of_name: list[Entry]) -> Entry:
    for state in (State.SERVING, State.LOADING, State.AVAILABLE, State.DRAINING):
        for entry in reversed(of_name):
            if entry.state is state:
                return entry
    return of_name[-1]

"""The models that are served: found on the volume, loaded beside the old, switched, unloaded when unused.

One thread looks and loads. A request takes a model with `use`, which keeps it in memory until the request is
done: requests that run when a version is replaced finish on it. A version that cannot be loaded changes
nothing for the others; its error is shown, and it is tried again when its files change.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.common.errors import Cancelled, FailedPrecondition, NonesuchError, NotFound, Unavailable
from services.generator import metrics
from services.generator.choice import (
    KEEP_ASKED_S,
    LATEST,
    LOAD_AGAIN_S,
    RETRY_AFTER_S,
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
from services.generator.published import Key, Published, read_aliases, scan

log = logging.getLogger(__name__)

CLOSE_S = 5.0  # at the end a load is not waited for any longer


class Models:
    """All model versions of one volume.

    Args:
        folder: `NONESUCH_DATA/models`, read only; need not exist yet.
        load: turns a published version into a loaded one, or raises Corrupt, or Unavailable to be tried again.
        prepare: called once by the thread before its first look: what takes long whatever the model.
        max_models: versions in memory at once; one more while a version is replaced.
        poll_s: seconds between looks.
    """

    def __init__(
        self,
        folder: Path,
        load: Callable[[Published], LoadedModel],
        *,
        prepare: Callable[[], None] = lambda: None,
        max_models: int,
        poll_s: float,
    ) -> None:
        self._folder = folder
        self._load = load
        self._prepare = prepare
        self._max_models = max_models
        self._poll_s = poll_s
        self._on_serving: Callable[[str, bool], None] = lambda name, serving: None
        self._entries: dict[Key, Entry] = {}
        self._gone: list[Entry] = []  # deleted from the volume, still in memory
        self._aliases: dict[str, dict[str, int]] = {}  # by model, the version that each alias means
        self._damaged_aliases: dict[str, str] = {}
        self._meant: dict[tuple[str, str], Key] = {}  # by model and alias, what answers or did
        self._asked: dict[tuple[str, Wish], float] = {}  # monotonic time of the last request
        self._names: set[str] = set()  # names that can be asked
        self._changed = threading.Condition()  # guards all of the above
        self._look_lock = threading.Lock()  # one look at a time; taken before `_changed`
        self._due = False  # the thread is to look before its time
        self._stopping = False
        self._thread = threading.Thread(target=self._watch, name="models", daemon=True)

    def start(self, on_serving: Callable[[str, bool], None] = lambda name, serving: None) -> None:
        """Begin to look and load, in a thread of its own.

        Args:
            on_serving: told name and whether it can be asked, for the health service.
        """
        self._on_serving = on_serving
        self._thread.start()

    def close(self) -> None:
        """Stop looking and unload everything; requests that still run are cancelled."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S)
        for entry in (*self._entries.values(), *self._gone):
            if entry.loaded:
                entry.loaded.close()

    def statuses(self) -> list[ModelStatus]:
        """All versions, those deleted but still in use among them, by name, newest first."""
        self._look()  # what was published a moment ago is among them
        with self._changed:
            entries = [*self._entries.values(), *self._gone]
            entries.sort(key=lambda e: (e.published.key.name, -e.published.key.version))
            return [ModelStatus(e.published, e.state, e.error, e.loaded, self._names_of(e)) for e in entries]

    def _names_of(self, entry: Entry) -> tuple[str, ...]:
        key = entry.published.key
        return tuple(
            sorted(alias for alias, version in self._aliases.get(key.name, {}).items() if version == key.version)
        )

    @contextmanager
    def use(
        self, name: str, wish: Wish, *, patience_s: float, is_awaited: Callable[[], bool] = lambda: True
    ) -> Iterator[LoadedModel]:
        """Yield a model and keep it in memory meanwhile.

        Args:
            name: empty: the one that was published last.
            wish: a version, an alias, or None for the default; see choice.choose.
            patience_s: how long to wait for one that is being loaded.
            is_awaited: whether the caller is still there; asked again after each `wake`.

        Raises:
            NotFound: no such model or version.
            FailedPrecondition: no model is published yet.
            Corrupt: the version is damaged, and there is no other to take.
            Unavailable: it is still being loaded, or could not be and will be tried again.
            Cancelled: the caller has gone.
        """
        entry = self._take(name, wish, time.monotonic() + patience_s, is_awaited)
        assert entry.loaded is not None
        try:
            yield entry.loaded
        finally:
            with self._changed:
                entry.users -= 1
                if entry.users == 0 and entry.state is State.DRAINING:
                    self._hurry()

    def wake(self) -> None:
        """Have requests that wait for a model see at once whether their callers are still there."""
        with self._changed:
            self._changed.notify_all()

    # The caller's side.

    def _take(self, name: str, wish: Wish, give_up_at: float, is_awaited: Callable[[], bool]) -> Entry:
        try:
            with self._changed:
                choose(self._entries, self._aliases, name, wish, self._meant)
        except (NotFound, FailedPrecondition):
            self._look()  # it may have been published a moment ago
        told = False
        with self._changed:
            while True:
                entry = choose(self._entries, self._aliases, name, wish, self._meant)
                key = entry.published.key
                self._asked[key.name, wish] = time.monotonic()
                if entry.loaded is not None:
                    entry.state = State.SERVING
                    self._meant[key.name, effective_alias(self._aliases, key.name, wish)] = key
                    entry.users += 1
                    return entry
                if not is_awaited():
                    raise Cancelled("the caller gave up while its model was being loaded")
                remaining = give_up_at - time.monotonic()
                if remaining <= 0 or self._stopping:
                    raise Unavailable(
                        f"model {key} is being loaded; try again in a moment", retry_after_s=RETRY_AFTER_S
                    )
                if not told:  # once: requests that wake each other would keep a core busy
                    told = True
                    self._hurry()
                # Between looks it asks again, so that a request that came later does not push it out.
                entry.waiting += 1
                self._changed.wait(min(remaining, self._poll_s))
                entry.waiting -= 1

    def _hurry(self) -> None:
        """Have the thread look now; `_changed` is held."""
        self._due = True
        self._changed.notify_all()

    # The thread that looks and loads.

    def _watch(self) -> None:
        try:
            self._prepare()
        except Exception:  # loading will fail in the same way, and say so in each version's state
            log.exception("cannot prepare for models")
        while True:
            with self._changed:
                self._due = False
                if self._stopping:
                    return
            try:
                self._look()
                self._load_and_unload()
            except Exception:  # without this thread nothing would ever be loaded again
                log.exception("cannot look at %s", self._folder)
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._due, self._poll_s)

    def _look(self) -> None:
        """Bring the entries up to date with the volume."""
        with self._look_lock:
            aliases, damaged = read_aliases(self._folder)
            for problem in damaged.keys() - self._damaged_aliases.keys():
                log.error("%s; what they meant goes on", damaged[problem])
            self._damaged_aliases = damaged
            kept = {name: self._aliases[name] for name in damaged if name in self._aliases}
            self._compare(scan(self._folder), aliases | kept)

    def _compare(self, found: dict[Key, Published], aliases: dict[str, dict[str, int]]) -> None:
        now = time.monotonic()
        with self._changed:
            self._aliases = aliases
            self._meant = {what: key for what, key in self._meant.items() if key in found}
            for key in [key for key in self._entries if key not in found]:
                entry = self._entries.pop(key)
                if entry.loaded is not None:
                    entry.state = State.DRAINING
                    self._gone.append(entry)
                log.info("model %s is gone from the volume", key)
            for key, published in found.items():
                known = self._entries.get(key)
                if known is None or (
                    known.state is State.FAILED
                    and (known.published.signature != published.signature or now >= known.try_again_at)
                ):
                    self._entries[key] = Entry(published)

    def _load_and_unload(self) -> None:
        """Load what should be in memory, one by one, and let go of what should not; memory is bounded throughout."""
        while True:
            with self._changed:
                keep = self._keep()
                crowded = self._num_loaded() > self._max_models
            if crowded:
                self._unload(keep)
            with self._changed:
                entry = next((e for e in keep if e.loaded is None), None)
                crowded = self._num_loaded() > self._max_models  # by requests that run; their end is a look's time
                if entry is None or crowded or self._stopping:
                    break
                entry.state = State.LOADING
            self._load_one(entry)
            self._tell_names()
        self._unload(keep)
        self._tell_names()

    def _keep(self) -> list[Entry]:
        """What should be in memory; `_changed` is held."""
        now = time.monotonic()
        self._asked = {what: at for what, at in self._asked.items() if now - at < KEEP_ASKED_S}
        return wanted(self._entries, self._aliases, self._asked, self._meant, self._max_models, now)

    def _num_loaded(self) -> int:
        return sum(entry.loaded is not None for entry in (*self._entries.values(), *self._gone))

    def _load_one(self, entry: Entry) -> None:
        key = entry.published.key
        started = time.monotonic()
        log.info("loading model %s", key)
        try:
            loaded = self._load(entry.published)
        except Exception as error:  # whatever is wrong with one version, the others go on
            metrics.LOAD_FAILURES.inc()
            if isinstance(error, NonesuchError):
                log.error("model %s cannot be served: %s", key, error)
            else:
                log.exception("model %s cannot be served", key)
            with self._changed:
                entry.state = State.FAILED
                entry.error = str(error) or type(error).__name__
                if isinstance(error, Unavailable) or not isinstance(error, NonesuchError):
                    entry.try_again_at = time.monotonic() + LOAD_AGAIN_S
                self._changed.notify_all()
            return
        with self._changed:
            entry.loaded = loaded
            if self._entries.get(key) is entry:
                entry.state = State.SERVING
                for alias in (LATEST, *self._aliases.get(key.name, {})):
                    if meant(self._entries, self._aliases, key.name, alias) is entry:
                        self._meant[key.name, alias] = key
            else:  # deleted meanwhile
                entry.state = State.DRAINING
                self._gone.append(entry)
            self._changed.notify_all()
        metrics.LOAD_SECONDS.observe(time.monotonic() - started)
        log.info("model %s serves after %.1f s", key, time.monotonic() - started)

    def _unload(self, keep: list[Entry]) -> None:
        """Mark what is not wanted as draining, and close what drained."""
        with self._changed:
            closing: list[Entry] = []
            for entry in (*self._entries.values(), *self._gone):
                if entry.loaded is None or entry in keep:
                    continue
                entry.state = State.DRAINING
                if entry.users == 0 and entry.waiting == 0:
                    closing.append(entry)
            unloaded = [(entry.published.key, entry.loaded) for entry in closing if entry.loaded is not None]
            for entry in closing:
                entry.loaded = None
                entry.state = State.AVAILABLE
            self._gone = [entry for entry in self._gone if entry.loaded is not None]
        if unloaded:
            while unloaded:
                _close(*unloaded.pop())
            gc.collect()  # an engine's graph refers to itself: its memory would wait for a chance

    def _tell_names(self) -> None:
        with self._changed:
            serving = sorted(key for key, entry in self._entries.items() if entry.state is State.SERVING)
            newest = {key.name: key.version for key in serving}
            names = set(newest)
            before, self._names = self._names, names
        for name, version in newest.items():
            metrics.VERSION.labels(name).set(version)
        for name in before - names:
            metrics.VERSION.remove(name)
        for name in names - before:
            self._on_serving(name, True)
        for name in before - names:
            self._on_serving(name, False)


def _close(key: Key, loaded: LoadedModel) -> None:
    loaded.close()
    metrics.forget(key.name, key.version)
    log.info("model %s is unloaded", key)

"""The models that are served: found on the volume, loaded beside the old, switched, unloaded when unused.

One thread looks and loads. A request takes a model with `use`, which keeps it in memory until the request is
done: requests that run when a version is replaced finish on it. A version that cannot be loaded changes
nothing for the others; its error is shown, and it is tried again when its files change. What is known of each
version is kept in versions.py.
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
from services.generator.choice import RETRY_AFTER_S, Entry, ModelStatus, State, Wish
from services.generator.loaded import LoadedModel
from services.generator.published import Key, Published, read_aliases, scan
from services.generator.versions import Versions

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
        self._versions = Versions()
        self._damaged_aliases: dict[str, str] = {}
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
        for entry in self._versions.entries:
            if entry.loaded:
                entry.loaded.close()

    def statuses(self) -> list[ModelStatus]:
        """All versions, those deleted but still in use among them, by name, newest first."""
        self._look()  # what was published a moment ago is among them
        with self._changed:
            return self._versions.statuses()

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
                self._versions.choose(name, wish)
        except (NotFound, FailedPrecondition):
            self._look()  # it may have been published a moment ago
        told = False
        with self._changed:
            while True:
                entry = self._versions.choose(name, wish)
                self._versions.ask(entry, wish, time.monotonic())
                if entry.loaded is not None:
                    entry.users += 1
                    return entry
                if not is_awaited():
                    raise Cancelled("the caller gave up while its model was being loaded")
                remaining = give_up_at - time.monotonic()
                if remaining <= 0 or self._stopping:
                    raise Unavailable(
                        f"model {entry.published.key} is being loaded; try again in a moment",
                        retry_after_s=RETRY_AFTER_S,
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
        """Bring the versions up to date with the volume."""
        with self._look_lock:
            aliases, damaged = read_aliases(self._folder)
            for problem in damaged.keys() - self._damaged_aliases.keys():
                log.error("%s; what they meant goes on", damaged[problem])
            self._damaged_aliases = damaged
            found = scan(self._folder)
            with self._changed:
                self._versions.compare(found, aliases, damaged, time.monotonic())

    def _load_and_unload(self) -> None:
        """Load what should be in memory, one by one, and let go of what should not; memory is bounded throughout."""
        while True:
            with self._changed:
                keep = self._versions.wanted(self._max_models, time.monotonic())
                crowded = self._versions.num_loaded > self._max_models
            if crowded:
                self._unload(keep)
            with self._changed:
                entry = next((e for e in keep if e.loaded is None), None)
                # Requests that run may crowd the memory; a look's time later they may have ended.
                crowded = self._versions.num_loaded > self._max_models
                if entry is None or crowded or self._stopping:
                    break
                entry.state = State.LOADING
            self._load_one(entry)
            self._tell_names()
        self._unload(keep)
        self._tell_names()

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
                self._versions.fail(entry, error, time.monotonic())
                self._changed.notify_all()
            return
        with self._changed:
            self._versions.succeed(entry, loaded)
            self._changed.notify_all()
        metrics.LOAD_SECONDS.observe(time.monotonic() - started)
        log.info("model %s serves after %.1f s", key, time.monotonic() - started)

    def _unload(self, keep: list[Entry]) -> None:
        """Mark what is not wanted as draining, and close what drained."""
        with self._changed:
            unloaded = self._versions.let_go(keep)
        if unloaded:
            while unloaded:
                _close(*unloaded.pop())
            gc.collect()  # an engine's graph refers to itself: its memory would wait for a chance

    def _tell_names(self) -> None:
        with self._changed:
            newest = self._versions.newest_served()
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

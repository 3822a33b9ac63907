"""A folder of models, the Models on it, and a loader that loads nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt, Unavailable
from services.common.files import write_json
from services.generator.choice import State
from services.generator.models import Models
from services.generator.published import Key, Published
from tests.waiting import PATIENCE_S, wait_for


class Loaded:
    """What the loader makes: knows its version and whether it was closed."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Shelf:
    """Models of a folder, not started, and what became of them; the loader can be held back.

    Args:
        published: versions that stand in it, as `owl/1`.
    """

    def __init__(self, folder: Path, *published: str, max_models: int = 4, poll_s: float = 0.01) -> None:
        self.folder = folder
        self.loads: list[Key] = []
        self.loaded: list[Loaded] = []
        self.most_in_memory = 0
        self.looks = 0  # that are over
        self.gate = threading.Event()
        self.gate.set()
        self.health: dict[str, bool] = {}
        self.models = Models(folder, self._load, max_models=max_models, poll_s=poll_s)  # type: ignore[arg-type]
        for version in published:
            name, _, number = version.partition("/")
            self.publish(name, int(number))

    def start(self) -> None:
        look = self.models._load_and_unload

        def count() -> None:
            look()
            self.looks += 1

        self.models._load_and_unload = count  # type: ignore[method-assign]
        self.models.start(self.health.__setitem__)

    def close(self) -> None:
        self.gate.set()
        if self.models._thread.is_alive():
            self.models.close()

    def publish(self, name: str, version: int, *, when: int = 0, **changes: Any) -> None:
        manifest = {
            "kind": "model",
            "name": name,
            "version": version,
            "created_at": f"2024-01-01T00:00:{when:02d}Z",
            "vocabulary_digest": "",
            "files": {},
        }
        write_json(self.folder / name / str(version) / "manifest.json", manifest | changes)

    def name(self, model: str, **aliases: int) -> None:
        write_json(self.folder / model / ".aliases.json", aliases)

    def ask(self, name: str = "", version: int | str | None = None, patience_s: float = PATIENCE_S) -> Key:
        with self.models.use(name, version, patience_s=patience_s) as loaded:
            return loaded.key

    def start_and_ask_at_once(self, name: str, *versions: int) -> list[Key]:
        """Ask for each version in a thread, with the loader held back until all are asking; return the answers."""
        self.gate.clear()
        self.start()
        answers: list[Key] = []
        asking = [threading.Thread(target=lambda v=v: answers.append(self.ask(name, v))) for v in versions]
        for thread in asking:
            thread.start()
        self.gate.set()
        for thread in asking:
            thread.join(PATIENCE_S)
        return answers

    def wait_for_looks(self) -> None:
        """Until it has looked at the folder anew, and acted on it."""
        looks = self.looks
        wait_for(lambda: self.looks > looks + 2)

    def states(self) -> dict[str, State]:
        return {str(status.published.key): status.state for status in self.models.statuses()}

    def _load(self, published: Published) -> Loaded:
        self.loads.append(published.key)
        self.gate.wait(PATIENCE_S)
        if published.error:
            raise Corrupt(published.error)
        if published.run == "damaged":
            raise Corrupt(f"{published.folder}/model.data is damaged")
        if published.run == "killed once" and len(self.loads) == 1:
            raise Unavailable("the conversion was killed")
        if published.run == "too large":
            raise MemoryError("out of memory")
        self.loaded.append(Loaded(published.key))
        self.most_in_memory = max(self.most_in_memory, sum(not loaded.closed for loaded in self.loaded))
        return self.loaded[-1]


MakeShelf = Callable[..., Shelf]  # given what Shelf is, but for its folder

"""Which version is served, and when it is switched, with a loader that loads nothing."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.common.errors import Corrupt, FailedPrecondition, NotFound, Unavailable
from services.common.files import remove_folder, write_json
from services.generator import metrics
from services.generator.choice import Entry, State, choose, wanted
from services.generator.models import Models
from services.generator.published import Key, Published, read_aliases, scan
from tests.waiting import PATIENCE_S, wait_for


class Loaded:
    """What the loader makes: knows its version and whether it was closed."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Shelf:
    """A folder of models, the Models on it, and a loader that can be held back."""

    def __init__(self, folder: Path, *, max_models: int = 4, poll_s: float = 0.01) -> None:
        self.folder = folder
        self.loads: list[Key] = []
        self.loaded: list[Loaded] = []
        self.most_in_memory = 0
        self.looks = 0  # that are over
        self.gate = threading.Event()
        self.gate.set()
        self.health: dict[str, bool] = {}
        self.models = Models(folder, self._load, max_models=max_models, poll_s=poll_s)  # type: ignore[arg-type]

    def start(self) -> None:
        look = self.models._load_and_unload

        def count() -> None:
            look()
            self.looks += 1

        self.models._load_and_unload = count  # type: ignore[method-assign]
        self.models.start(self.health.__setitem__)

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


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Callable[..., Shelf]]:
    shelves: list[Shelf] = []

    def make(**options: Any) -> Shelf:
        shelves.append(Shelf(tmp_path / "models", **options))
        return shelves[-1]

    yield make
    for made in shelves:
        made.gate.set()
        if made.models._thread.is_alive():
            made.models.close()


def test_without_models_a_request_is_told_what_to_do(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.start()

    with pytest.raises(FailedPrecondition, match="publish") as refusal:
        made.ask()
    assert refusal.value.retry_after_s
    with pytest.raises(NotFound, match="'owl'"):
        made.ask("owl")


def test_a_model_published_a_moment_ago_is_found(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.start()
    made.publish("owl", 1)

    assert made.ask("owl") == Key("owl", 1)


def test_a_new_version_takes_over_once_it_is_loaded(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.start()
    assert made.ask("owl") == Key("owl", 1)

    made.gate.clear()
    made.publish("owl", 2)
    wait_for(lambda: made.states().get("owl/2") is State.LOADING)
    assert made.ask("owl") == Key("owl", 1)
    made.gate.set()

    wait_for(lambda: made.ask("owl") == Key("owl", 2))
    wait_for(lambda: made.loaded[0].closed)
    assert made.states() == {"owl/2": State.SERVING, "owl/1": State.AVAILABLE}


def test_a_request_keeps_its_version_until_it_is_done(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.start()

    with made.models.use("owl", None, patience_s=PATIENCE_S) as old:
        made.publish("owl", 2)
        wait_for(lambda: made.states() == {"owl/2": State.SERVING, "owl/1": State.DRAINING})
        assert not old.closed  # type: ignore[attr-defined]

    wait_for(lambda: made.loaded[0].closed)


def test_a_damaged_version_changes_nothing_and_is_reported(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.start()
    made.ask("owl")

    made.publish("owl", 2, run="damaged")
    wait_for(lambda: made.states().get("owl/2") is State.FAILED)

    assert made.ask("owl") == Key("owl", 1)
    with pytest.raises(Corrupt, match=r"model\.data is damaged"):
        made.ask("owl", 2)
    assert made.loads.count(Key("owl", 2)) == 1


def test_at_start_the_newest_sound_version_serves(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.publish("owl", 2, run="damaged")
    made.publish("owl", 3, kind="dataset")
    made.start()

    assert made.ask("owl", patience_s=PATIENCE_S) == Key("owl", 1)


def test_a_damaged_version_is_tried_again_when_its_files_change(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1, run="damaged")
    made.start()
    wait_for(lambda: made.states() == {"owl/1": State.FAILED})

    made.publish("owl", 1, run="mended")

    wait_for(lambda: made.states() == {"owl/1": State.SERVING})


def test_a_version_that_memory_had_no_room_for_is_unavailable_not_damaged(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1, run="too large")
    made.start()
    wait_for(lambda: made.states() == {"owl/1": State.FAILED})

    with pytest.raises(Unavailable, match="out of memory") as refusal:
        made.ask("owl")
    assert refusal.value.retry_after_s


def test_a_version_that_could_not_be_converted_is_tried_again(
    shelf: Callable[..., Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.generator.versions.LOAD_AGAIN_S", 0.02)
    made = shelf()
    made.publish("owl", 1, run="killed once")
    made.start()

    wait_for(lambda: made.states() == {"owl/1": State.SERVING}, patience_s=10)
    assert made.loads == [Key("owl", 1)] * 2


def test_what_failed_is_not_wanted_though_requests_have_yet_to_hear_of_it(tmp_path: Path) -> None:
    write_json(tmp_path / "owl" / "1" / "manifest.json", {})
    entries = {key: Entry(published, State.FAILED, waiting=2) for key, published in scan(tmp_path).items()}

    assert len(entries) == 1
    assert wanted(entries, {}, {("owl", 1): 0.0}, {}, 4, 1.0) == []


def test_versions_are_listed_in_order_also_while_a_deleted_one_drains(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    for name in ("auk", "emu", "owl"):
        made.publish(name, 1)
    made.start()

    with made.models.use("auk", 1, patience_s=PATIENCE_S):
        remove_folder(made.folder / "auk" / "1")
        wait_for(lambda: made.states().get("auk/1") is State.DRAINING)
        assert list(made.states()) == ["auk/1", "emu/1", "owl/1"]


def test_a_model_is_healthy_before_the_next_one_is_loaded(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1, when=2)
    made.publish("emu", 1, when=1)
    turns = threading.Semaphore(1)
    load = made.models._load
    made.models._load = lambda published: (turns.acquire(timeout=PATIENCE_S), load(published))[1]
    made.start()

    wait_for(lambda: made.states().get("emu/1") is State.LOADING)
    assert made.health == {"owl": True}
    turns.release()


def test_stable_is_what_a_request_without_a_version_gets(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    for version in (1, 2, 3):
        made.publish("owl", version)
    made.name("owl", stable=2, old=1)
    made.start()

    assert made.ask("owl") == made.ask() == made.ask("owl", "stable") == Key("owl", 2)
    assert made.ask("owl", "latest") == Key("owl", 3)
    assert made.ask("owl", "old") == Key("owl", 1)
    with pytest.raises(NotFound, match="no alias 'new'; it has latest, old, stable"):
        made.ask("owl", "new")
    aliases = {str(status.published.key): status.aliases for status in made.models.statuses()}
    assert aliases == {"owl/3": (), "owl/2": ("stable",), "owl/1": ("old",)}


def test_only_the_stable_version_is_loaded_unasked(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.publish("owl", 2)
    made.name("owl", stable=1)
    made.start()

    wait_for(lambda: made.states().get("owl/1") is State.SERVING)
    made.publish("owl", 3)
    wait_for(lambda: "owl/3" in made.states())

    assert made.loads == [Key("owl", 1)]


def test_when_stable_is_moved_the_version_before_answers_until_the_other_is_loaded(
    shelf: Callable[..., Shelf],
) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.publish("owl", 2)
    made.name("owl", stable=2)
    made.start()
    assert made.ask("owl") == Key("owl", 2)

    made.gate.clear()
    made.name("owl", stable=1)
    wait_for(lambda: made.states()["owl/1"] is State.LOADING)
    assert made.ask("owl") == Key("owl", 2)

    made.gate.set()
    wait_for(lambda: made.ask("owl") == Key("owl", 1))
    wait_for(lambda: made.states()["owl/2"] is State.AVAILABLE)


@pytest.mark.parametrize("asked", [True, False])
def test_when_stable_is_moved_to_a_damaged_version_the_one_before_goes_on(
    shelf: Callable[..., Shelf], asked: bool
) -> None:
    made = shelf(max_models=1)
    made.publish("owl", 1)
    made.name("owl", stable=1)
    made.start()
    wait_for(lambda: made.states() == {"owl/1": State.SERVING})
    if asked:
        made.ask("owl")

    made.publish("owl", 2, run="damaged")
    made.name("owl", stable=2)
    wait_for(lambda: made.states() == {"owl/1": State.SERVING, "owl/2": State.FAILED})
    looks = made.looks
    wait_for(lambda: made.looks > looks + 2)

    assert made.ask("owl") == made.ask("owl", "stable") == Key("owl", 1)
    assert made.loads.count(Key("owl", 1)) == 1
    with pytest.raises(Corrupt, match=r"model\.data is damaged"):
        made.ask("owl", 2)


def test_a_damaged_stable_version_is_reported_where_none_answered_before(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.publish("owl", 2, run="damaged")
    made.name("owl", stable=2)
    made.start()

    with pytest.raises(Corrupt, match=r"model\.data is damaged"):
        made.ask("owl")


def test_a_version_is_not_unloaded_while_the_one_that_replaces_it_is_awaited(shelf: Callable[..., Shelf]) -> None:
    made = shelf(max_models=1)
    made.publish("owl", 1)
    made.start()
    made.ask("owl")

    with made.models.use("owl", 1, patience_s=PATIENCE_S):
        made.publish("owl", 2)
        wait_for(lambda: made.ask("owl") == Key("owl", 2))
        made.publish("owl", 3)
        looks = made.looks
        wait_for(lambda: made.looks > looks + 2)
        assert made.ask("owl") == Key("owl", 2)
    wait_for(lambda: made.ask("owl") == Key("owl", 3))

    assert made.loads == [Key("owl", 1), Key("owl", 2), Key("owl", 3)]


def test_the_newest_is_loaded_for_a_request_though_an_older_one_serves(shelf: Callable[..., Shelf]) -> None:
    made = shelf(max_models=1)
    made.publish("owl", 1)
    made.publish("owl", 2)
    made.start()
    assert made.ask("owl", 1) == Key("owl", 1)
    wait_for(lambda: made.states() == {"owl/1": State.SERVING, "owl/2": State.AVAILABLE})

    assert made.ask("owl") == made.ask("owl", "latest") == Key("owl", 2)


def test_without_stable_the_newest_serves_again(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.publish("owl", 2)
    made.name("owl", stable=1)
    made.start()
    assert made.ask("owl") == Key("owl", 1)

    (made.folder / "owl" / ".aliases.json").unlink()

    wait_for(lambda: made.ask("owl") == Key("owl", 2))


def test_a_damaged_file_of_aliases_changes_nothing(
    shelf: Callable[..., Shelf], caplog: pytest.LogCaptureFixture
) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.publish("owl", 2)
    made.name("owl", stable=1)
    made.start()
    assert made.ask("owl") == Key("owl", 1)

    (made.folder / "owl" / ".aliases.json").write_text("[1]")
    wait_for(lambda: "does not hold aliases" in caplog.text)

    assert made.ask("owl") == Key("owl", 1)


def test_an_alias_of_a_version_that_is_gone_is_refused_by_number(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.name("owl", stable=7)
    made.start()

    with pytest.raises(NotFound, match="no version 7"):
        made.ask("owl")


def test_an_older_version_is_loaded_when_asked_for(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    for version in (1, 2, 3):
        made.publish("owl", version)
    made.start()

    assert made.ask("owl") == Key("owl", 3)
    assert made.ask("owl", 1) == Key("owl", 1)
    assert made.ask("owl") == Key("owl", 3)
    assert Key("owl", 2) not in made.loads
    with pytest.raises(NotFound, match="no version 9"):
        made.ask("owl", 9)


def test_no_name_means_the_model_published_last(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1, when=5)
    made.publish("emu", 4, when=1)
    made.start()

    assert made.ask() == Key("owl", 1)
    made.publish("emu", 5, when=9)
    wait_for(lambda: made.ask() == Key("emu", 5))


def test_no_more_models_than_allowed_stay_in_memory(shelf: Callable[..., Shelf]) -> None:
    made = shelf(max_models=2)
    for number, name in enumerate(("owl", "emu", "auk")):
        made.publish(name, 1, when=number)
    made.start()

    for name in ("owl", "emu", "auk", "owl"):
        assert made.ask(name) == Key(name, 1)

    wait_for(lambda: list(made.states().values()).count(State.SERVING) == 2)
    assert made.states()["owl/1"] is State.SERVING


def test_never_more_than_one_model_too_many_is_in_memory(shelf: Callable[..., Shelf]) -> None:
    made = shelf(max_models=2)
    for version in range(1, 9):
        made.publish("owl", version)
    made.gate.clear()
    made.start()
    asking = [threading.Thread(target=made.ask, args=("owl", version)) for version in range(1, 9)]
    for thread in asking:
        thread.start()
    made.gate.set()
    for thread in asking:
        thread.join(PATIENCE_S)

    assert {key.version for key in made.loads} == set(range(1, 9))
    assert made.most_in_memory <= 3


def test_requests_that_run_hold_back_what_memory_has_no_room_for(shelf: Callable[..., Shelf]) -> None:
    made = shelf(max_models=1)
    for version in (1, 2, 3):
        made.publish("owl", version)
    made.start()

    with made.models.use("owl", 1, patience_s=PATIENCE_S):
        with made.models.use("owl", 2, patience_s=PATIENCE_S), pytest.raises(Unavailable):
            made.ask("owl", 3, patience_s=0.1)
        assert made.ask("owl", 3) == Key("owl", 3)
    assert made.most_in_memory == 2


def test_a_model_that_is_unloaded_is_freed_at_once(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.start()
    made.ask("owl")
    unloaded = weakref.ref(made.loaded[0])
    made.loaded[0].itself = made.loaded[0]  # type: ignore[attr-defined]  # as graphs do
    made.loaded.clear()

    made.publish("owl", 2)

    wait_for(lambda: unloaded() is None)


def test_after_a_rollback_the_older_version_serves_again(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.publish("owl", 2)
    made.start()
    assert made.ask("owl") == Key("owl", 2)

    with made.models.use("owl", 2, patience_s=PATIENCE_S) as running:
        remove_folder(made.folder / "owl" / "2")
        wait_for(lambda: made.ask("owl") == Key("owl", 1))
        assert not running.closed  # type: ignore[attr-defined]

    wait_for(lambda: running.closed)  # type: ignore[attr-defined]
    assert made.states() == {"owl/1": State.SERVING}


def test_a_request_does_not_wait_for_ever(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.gate.clear()
    made.start()

    with pytest.raises(Unavailable) as refusal:
        made.ask("owl", patience_s=0.02)
    assert refusal.value.retry_after_s


def test_requests_that_wait_for_one_model_do_not_wake_each_other(
    shelf: Callable[..., Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shelf(poll_s=0.05)
    choices: list[str] = []

    def count(*arguments: Any) -> Any:
        choices.append(arguments[2])
        return choose(*arguments)

    monkeypatch.setattr("services.generator.versions.choose", count)
    made.publish("owl", 1)
    made.gate.clear()
    made.start()
    wait_for(lambda: made.loads)

    def give_up() -> None:
        with pytest.raises(Unavailable):
            made.ask("owl", patience_s=0.5)

    waiters = [threading.Thread(target=give_up) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    for waiter in waiters:
        waiter.join()

    assert len(choices) < 3 * 30  # one in 50 ms each, and a few more


def test_the_end_of_a_request_makes_nobody_look_at_the_volume(
    shelf: Callable[..., Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shelf(poll_s=PATIENCE_S)
    made.publish("owl", 1)
    made.start()
    wait_for(lambda: made.states() == {"owl/1": State.SERVING})
    looks: list[Path] = []
    monkeypatch.setattr("services.generator.models.scan", lambda folder: looks.append(folder) or scan(folder))
    before = threading.Event()
    load_and_unload = made.models._load_and_unload
    made.models._load_and_unload = lambda: (load_and_unload(), before.set())  # type: ignore[method-assign]

    for _ in range(50):
        made.ask("owl")
    assert not before.wait(0.1)

    assert looks == []


def test_two_versions_that_are_waited_for_are_both_served_where_one_has_room(shelf: Callable[..., Shelf]) -> None:
    made = shelf(max_models=1)
    for version in (1, 2, 3):
        made.publish("owl", version)
    made.gate.clear()
    made.start()
    answers: list[Key] = []
    asking = [threading.Thread(target=lambda v=v: answers.append(made.ask("owl", v))) for v in (1, 2, 1, 3)]
    for thread in asking:
        thread.start()
    made.gate.set()
    for thread in asking:
        thread.join(PATIENCE_S)

    assert sorted(answers) == [Key("owl", version) for version in (1, 1, 2, 3)]
    assert len(made.loads) < 10


def test_health_is_told_by_name(shelf: Callable[..., Shelf]) -> None:
    made = shelf()
    made.publish("owl", 1)
    made.start()

    wait_for(lambda: made.health == {"owl": True})
    remove_folder(made.folder / "owl" / "1")
    wait_for(lambda: made.health == {"owl": False})


def test_what_goes_wrong_in_one_look_does_not_end_the_looking(
    shelf: Callable[..., Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shelf()
    failures: list[Path] = []

    def fail_once(folder: Path) -> dict[Key, Published]:
        if not failures:
            failures.append(folder)
            raise RuntimeError("nobody thought of this")
        return scan(folder)

    monkeypatch.setattr("services.generator.models.scan", fail_once)
    made.publish("owl", 1)
    made.start()

    wait_for(lambda: made.health == {"owl": True}, patience_s=10)
    assert failures


def test_a_number_without_bounds_is_an_error_of_its_file(tmp_path: Path) -> None:
    manifest = tmp_path / "owl" / "1" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"kind": "model", "name": "owl", "version": 1e999}')
    (tmp_path / "owl" / ".aliases.json").write_text('{"stable": 1e999}')

    assert "not a model's manifest" in scan(tmp_path)[Key("owl", 1)].error
    found, wrong = read_aliases(tmp_path)
    assert found == {} and "does not hold aliases" in wrong["owl"]


def test_the_version_shown_is_the_newest_that_is_served(shelf: Callable[..., Shelf]) -> None:
    def shown() -> float | None:
        return REGISTRY.get_sample_value("nonesuch_generator_model_version", {"model": "ibis"})

    made = shelf()
    made.publish("ibis", 1)
    made.publish("ibis", 2)
    made.start()
    made.ask("ibis")
    looks = made.looks
    made.ask("ibis", 1)
    wait_for(lambda: made.looks > looks + 2)
    assert made.states() == {"ibis/2": State.SERVING, "ibis/1": State.SERVING}
    assert shown() == 2

    remove_folder(made.folder / "ibis")
    wait_for(lambda: shown() is None, patience_s=10)


def test_two_versions_show_their_loads_apart_until_they_are_unloaded() -> None:
    def shown(version: int) -> float | None:
        return REGISTRY.get_sample_value("nonesuch_generator_running", {"model": "ibis", "version": str(version)})

    metrics.LoopMetrics("ibis", 1).set_load(3, 0, 0.5)
    metrics.LoopMetrics("ibis", 2).set_load(0, 0, 0.0)
    assert (shown(1), shown(2)) == (3, 0)

    metrics.forget("ibis", 1)
    assert (shown(1), shown(2)) == (None, 0)


def test_what_has_no_manifest_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "owl" / "1").mkdir(parents=True)
    (tmp_path / ".partial-emu" / "1").mkdir(parents=True)
    write_json(tmp_path / ".partial-emu" / "1" / "manifest.json", {})
    write_json(tmp_path / "owl" / ".partial-2" / "manifest.json", {})
    for name in ("notes", "0", "01", "9" * 10):
        write_json(tmp_path / "owl" / name / "manifest.json", {})

    assert scan(tmp_path) == {}
    assert scan(tmp_path / "absent") == {}


def test_a_manifest_of_something_else_is_an_error_of_that_version(tmp_path: Path) -> None:
    write_json(tmp_path / "owl" / "1" / "manifest.json", [])
    (tmp_path / "owl" / "2").mkdir()
    (tmp_path / "owl" / "2" / "manifest.json").write_text("{")

    found = scan(tmp_path)

    assert "not a model's manifest" in found[Key("owl", 1)].error
    assert "not valid JSON" in found[Key("owl", 2)].error

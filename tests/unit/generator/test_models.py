"""Which version is served, when it is switched, and how requests wait for it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import FailedPrecondition, NotFound, Unavailable
from services.common.files import remove_folder
from services.generator.choice import State, choose
from services.generator.published import Key, scan
from tests.unit.generator.shelf import MakeShelf
from tests.waiting import PATIENCE_S, wait_for


def test_without_models_a_request_is_told_what_to_do(shelf: MakeShelf) -> None:
    made = shelf()
    made.start()

    with pytest.raises(FailedPrecondition, match="publish") as refusal:
        made.ask()
    assert refusal.value.retry_after_s
    with pytest.raises(NotFound, match="'owl'"):
        made.ask("owl")


def test_a_model_published_a_moment_ago_is_found(shelf: MakeShelf) -> None:
    made = shelf()
    made.start()
    made.publish("owl", 1)

    assert made.ask("owl") == Key("owl", 1)


def test_a_new_version_takes_over_once_it_is_loaded(shelf: MakeShelf) -> None:
    made = shelf("owl/1")
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


def test_a_request_keeps_its_version_until_it_is_done(shelf: MakeShelf) -> None:
    made = shelf("owl/1")
    made.start()

    with made.models.use("owl", None, patience_s=PATIENCE_S) as old:
        made.publish("owl", 2)
        wait_for(lambda: made.states() == {"owl/2": State.SERVING, "owl/1": State.DRAINING})
        assert not old.closed  # type: ignore[attr-defined]

    wait_for(lambda: made.loaded[0].closed)


def test_versions_are_listed_in_order_also_while_a_deleted_one_drains(shelf: MakeShelf) -> None:
    made = shelf("auk/1", "emu/1", "owl/1")
    made.start()

    with made.models.use("auk", 1, patience_s=PATIENCE_S):
        remove_folder(made.folder / "auk" / "1")
        wait_for(lambda: made.states().get("auk/1") is State.DRAINING)
        assert list(made.states()) == ["auk/1", "emu/1", "owl/1"]


def test_a_model_is_healthy_before_the_next_one_is_loaded(shelf: MakeShelf) -> None:
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


def test_an_older_version_is_loaded_when_asked_for(shelf: MakeShelf) -> None:
    made = shelf("owl/1", "owl/2", "owl/3")
    made.start()

    assert made.ask("owl") == Key("owl", 3)
    assert made.ask("owl", 1) == Key("owl", 1)
    assert made.ask("owl") == Key("owl", 3)
    assert Key("owl", 2) not in made.loads
    with pytest.raises(NotFound, match="no version 9"):
        made.ask("owl", 9)


def test_no_name_means_the_model_published_last(shelf: MakeShelf) -> None:
    made = shelf()
    made.publish("owl", 1, when=5)
    made.publish("emu", 4, when=1)
    made.start()

    assert made.ask() == Key("owl", 1)
    made.publish("emu", 5, when=9)
    wait_for(lambda: made.ask() == Key("emu", 5))


def test_after_a_rollback_the_older_version_serves_again(shelf: MakeShelf) -> None:
    made = shelf("owl/1", "owl/2")
    made.start()
    assert made.ask("owl") == Key("owl", 2)

    with made.models.use("owl", 2, patience_s=PATIENCE_S) as running:
        remove_folder(made.folder / "owl" / "2")
        wait_for(lambda: made.ask("owl") == Key("owl", 1))
        assert not running.closed  # type: ignore[attr-defined]

    wait_for(lambda: running.closed)  # type: ignore[attr-defined]
    assert made.states() == {"owl/1": State.SERVING}


def test_a_request_does_not_wait_for_ever(shelf: MakeShelf) -> None:
    made = shelf("owl/1")
    made.gate.clear()
    made.start()

    with pytest.raises(Unavailable) as refusal:
        made.ask("owl", patience_s=0.02)
    assert refusal.value.retry_after_s


def test_requests_that_wait_for_one_model_do_not_wake_each_other(
    shelf: MakeShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shelf("owl/1", poll_s=0.05)
    choices: list[str] = []

    def count(*arguments: Any) -> Any:
        choices.append(arguments[2])
        return choose(*arguments)

    monkeypatch.setattr("services.generator.versions.choose", count)
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
    shelf: MakeShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shelf("owl/1", poll_s=PATIENCE_S)
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


def test_health_is_told_by_name(shelf: MakeShelf) -> None:
    made = shelf("owl/1")
    made.start()

    wait_for(lambda: made.health == {"owl": True})
    remove_folder(made.folder / "owl" / "1")
    wait_for(lambda: made.health == {"owl": False})

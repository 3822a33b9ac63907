"""How many models are in memory at once, and which leave it."""

from __future__ import annotations

import weakref

import pytest

from services.common.errors import Unavailable
from services.generator.choice import State
from services.generator.published import Key
from tests.unit.generator.shelf import MakeShelf
from tests.waiting import PATIENCE_S, wait_for


def test_a_version_is_not_unloaded_while_the_one_that_replaces_it_is_awaited(shelf: MakeShelf) -> None:
    made = shelf("owl/1", max_models=1)
    made.start()
    made.ask("owl")

    with made.models.use("owl", 1, patience_s=PATIENCE_S):
        made.publish("owl", 2)
        wait_for(lambda: made.ask("owl") == Key("owl", 2))
        made.publish("owl", 3)
        made.wait_for_looks()
        assert made.ask("owl") == Key("owl", 2)
    wait_for(lambda: made.ask("owl") == Key("owl", 3))

    assert made.loads == [Key("owl", 1), Key("owl", 2), Key("owl", 3)]


def test_the_newest_is_loaded_for_a_request_though_an_older_one_serves(shelf: MakeShelf) -> None:
    made = shelf("owl/1", "owl/2", max_models=1)
    made.start()
    assert made.ask("owl", 1) == Key("owl", 1)
    wait_for(lambda: made.states() == {"owl/1": State.SERVING, "owl/2": State.AVAILABLE})

    assert made.ask("owl") == made.ask("owl", "latest") == Key("owl", 2)


def test_no_more_models_than_allowed_stay_in_memory(shelf: MakeShelf) -> None:
    made = shelf(max_models=2)
    for number, name in enumerate(("owl", "emu", "auk")):
        made.publish(name, 1, when=number)
    made.start()

    for name in ("owl", "emu", "auk", "owl"):
        assert made.ask(name) == Key(name, 1)

    wait_for(lambda: list(made.states().values()).count(State.SERVING) == 2)
    assert made.states()["owl/1"] is State.SERVING


def test_never_more_than_one_model_too_many_is_in_memory(shelf: MakeShelf) -> None:
    made = shelf(*(f"owl/{version}" for version in range(1, 9)), max_models=2)
    made.start_and_ask_at_once("owl", *range(1, 9))

    assert {key.version for key in made.loads} == set(range(1, 9))
    assert made.most_in_memory <= 3


def test_requests_that_run_hold_back_what_memory_has_no_room_for(shelf: MakeShelf) -> None:
    made = shelf("owl/1", "owl/2", "owl/3", max_models=1)
    made.start()

    with made.models.use("owl", 1, patience_s=PATIENCE_S):
        with made.models.use("owl", 2, patience_s=PATIENCE_S), pytest.raises(Unavailable):
            made.ask("owl", 3, patience_s=0.1)
        assert made.ask("owl", 3) == Key("owl", 3)
    assert made.most_in_memory == 2


def test_two_versions_that_are_waited_for_are_both_served_where_one_has_room(shelf: MakeShelf) -> None:
    made = shelf("owl/1", "owl/2", "owl/3", max_models=1)

    answers = made.start_and_ask_at_once("owl", 1, 2, 1, 3)

    assert sorted(answers) == [Key("owl", version) for version in (1, 1, 2, 3)]
    assert len(made.loads) < 10


def test_a_model_that_is_unloaded_is_freed_at_once(shelf: MakeShelf) -> None:
    made = shelf("owl/1")
    made.start()
    made.ask("owl")
    unloaded = weakref.ref(made.loaded[0])
    made.loaded[0].itself = made.loaded[0]  # type: ignore[attr-defined]  # as graphs do
    made.loaded.clear()

    made.publish("owl", 2)

    wait_for(lambda: unloaded() is None)

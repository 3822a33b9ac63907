"""Which version an alias means, and what answers while it moves."""

from __future__ import annotations

import pytest

from services.common.errors import Corrupt, NotFound
from services.generator.choice import State
from services.generator.published import Key
from tests.unit.generator.shelf import MakeShelf
from tests.waiting import wait_for


def test_stable_is_what_a_request_without_a_version_gets(shelf: MakeShelf) -> None:
    made = shelf("owl/1", "owl/2", "owl/3")
    made.name("owl", stable=2, old=1)
    made.start()

    assert made.ask("owl") == made.ask() == made.ask("owl", "stable") == Key("owl", 2)
    assert made.ask("owl", "latest") == Key("owl", 3)
    assert made.ask("owl", "old") == Key("owl", 1)
    with pytest.raises(NotFound, match="no alias 'new'; it has latest, old, stable"):
        made.ask("owl", "new")
    aliases = {str(status.published.key): status.aliases for status in made.models.statuses()}
    assert aliases == {"owl/3": (), "owl/2": ("stable",), "owl/1": ("old",)}


def test_only_the_stable_version_is_loaded_unasked(shelf: MakeShelf) -> None:
    made = shelf("owl/1", "owl/2")
    made.name("owl", stable=1)
    made.start()

    wait_for(lambda: made.states().get("owl/1") is State.SERVING)
    made.publish("owl", 3)
    wait_for(lambda: "owl/3" in made.states())

    assert made.loads == [Key("owl", 1)]


def test_when_stable_is_moved_the_version_before_answers_until_the_other_is_loaded(shelf: MakeShelf) -> None:
    made = shelf("owl/1", "owl/2")
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
def test_when_stable_is_moved_to_a_damaged_version_the_one_before_goes_on(shelf: MakeShelf, asked: bool) -> None:
    made = shelf("owl/1", max_models=1)
    made.name("owl", stable=1)
    made.start()
    wait_for(lambda: made.states() == {"owl/1": State.SERVING})
    if asked:
        made.ask("owl")

    made.publish("owl", 2, run="damaged")
    made.name("owl", stable=2)
    wait_for(lambda: made.states() == {"owl/1": State.SERVING, "owl/2": State.FAILED})
    made.wait_for_looks()

    assert made.ask("owl") == made.ask("owl", "stable") == Key("owl", 1)
    assert made.loads.count(Key("owl", 1)) == 1
    with pytest.raises(Corrupt, match=r"model\.data is damaged"):
        made.ask("owl", 2)


def test_a_damaged_stable_version_is_reported_where_none_answered_before(shelf: MakeShelf) -> None:
    made = shelf("owl/1")
    made.publish("owl", 2, run="damaged")
    made.name("owl", stable=2)
    made.start()

    with pytest.raises(Corrupt, match=r"model\.data is damaged"):
        made.ask("owl")


def test_without_stable_the_newest_serves_again(shelf: MakeShelf) -> None:
    made = shelf("owl/1", "owl/2")
    made.name("owl", stable=1)
    made.start()
    assert made.ask("owl") == Key("owl", 1)

    (made.folder / "owl" / ".aliases.json").unlink()

    wait_for(lambda: made.ask("owl") == Key("owl", 2))


def test_a_damaged_file_of_aliases_changes_nothing(shelf: MakeShelf, caplog: pytest.LogCaptureFixture) -> None:
    made = shelf("owl/1", "owl/2")
    made.name("owl", stable=1)
    made.start()
    assert made.ask("owl") == Key("owl", 1)

    (made.folder / "owl" / ".aliases.json").write_text("[1]")
    wait_for(lambda: "does not hold aliases" in caplog.text)

    assert made.ask("owl") == Key("owl", 1)


def test_an_alias_of_a_version_that_is_gone_is_refused_by_number(shelf: MakeShelf) -> None:
    made = shelf("owl/1")
    made.name("owl", stable=7)
    made.start()

    with pytest.raises(NotFound, match="no version 7"):
        made.ask("owl")

"""A version that cannot be loaded, and what else goes wrong on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.errors import Corrupt, Unavailable
from services.common.files import write_json
from services.generator.choice import Entry, State, wanted
from services.generator.published import Key, Published, scan
from tests.unit.generator.shelf import MakeShelf
from tests.waiting import PATIENCE_S, wait_for


def test_a_damaged_version_changes_nothing_and_is_reported(shelf: MakeShelf) -> None:
    made = shelf("owl/1")
    made.start()
    made.ask("owl")

    made.publish("owl", 2, run="damaged")
    wait_for(lambda: made.states().get("owl/2") is State.FAILED)

    assert made.ask("owl") == Key("owl", 1)
    with pytest.raises(Corrupt, match=r"model\.data is damaged"):
        made.ask("owl", 2)
    assert made.loads.count(Key("owl", 2)) == 1


def test_at_start_the_newest_sound_version_serves(shelf: MakeShelf) -> None:
    made = shelf("owl/1")
    made.publish("owl", 2, run="damaged")
    made.publish("owl", 3, kind="dataset")
    made.start()

    assert made.ask("owl", patience_s=PATIENCE_S) == Key("owl", 1)


def test_a_damaged_version_is_tried_again_when_its_files_change(shelf: MakeShelf) -> None:
    made = shelf()
    made.publish("owl", 1, run="damaged")
    made.start()
    wait_for(lambda: made.states() == {"owl/1": State.FAILED})

    made.publish("owl", 1, run="mended")

    wait_for(lambda: made.states() == {"owl/1": State.SERVING})


def test_a_version_that_memory_had_no_room_for_is_unavailable_not_damaged(shelf: MakeShelf) -> None:
    made = shelf()
    made.publish("owl", 1, run="too large")
    made.start()
    wait_for(lambda: made.states() == {"owl/1": State.FAILED})

    with pytest.raises(Unavailable, match="out of memory") as refusal:
        made.ask("owl")
    assert refusal.value.retry_after_s


def test_a_version_that_could_not_be_converted_is_tried_again(
    shelf: MakeShelf, monkeypatch: pytest.MonkeyPatch
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


def test_what_goes_wrong_in_one_look_does_not_end_the_looking(
    shelf: MakeShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shelf("owl/1")
    failures: list[Path] = []

    def fail_once(folder: Path) -> dict[Key, Published]:
        if not failures:
            failures.append(folder)
            raise RuntimeError("nobody thought of this")
        return scan(folder)

    monkeypatch.setattr("services.generator.models.scan", fail_once)
    made.start()

    wait_for(lambda: made.health == {"owl": True}, patience_s=10)
    assert failures

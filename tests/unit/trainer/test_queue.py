"""The order in which runs wait, also after the service was gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.errors import FailedPrecondition, InvalidRequest, NotFound
from services.trainer import runs as module
from services.trainer.events import EventLog
from services.trainer.queue_order import QUEUE_FILE
from services.trainer.run_record import RunState
from services.trainer.runs import Runs
from services.trainer.volume import Volume
from tests.unit.trainer.tiny import SETTINGS, make_run, write_tiny_dataset


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume with four runs, queued in the order of their names."""
    write_tiny_dataset(tmp_path)
    for name in ("a", "b", "c", "d"):
        make_run(tmp_path, name, SETTINGS)
    return tmp_path


def loaded(data: Path) -> Runs:
    runs = Runs(Volume(data))
    runs.load()
    return runs


def names(runs: Runs) -> list[str]:
    return [record.name for record in runs.queue()]


def test_moved_runs_stand_where_they_were_put_also_after_a_restart(data: Path) -> None:
    runs = loaded(data)
    assert names(runs) == ["a", "b", "c", "d"]
    for name, place, order in (("d", 1, "dabc"), ("a", 3, "dbac"), ("b", 99, "dacb"), ("d", 1, "dacb")):
        runs.reorder(name, place)
        assert names(runs) == list(order)
    assert names(loaded(data)) == list("dacb")


def test_what_is_queued_later_comes_last_and_what_comes_back_too(data: Path) -> None:
    runs = loaded(data)
    runs.reorder("d", 1)
    runs.move("d", RunState.CANCELLED)
    make_run(data, "e", SETTINGS)
    runs = loaded(data)
    assert names(runs) == ["a", "b", "c", "e"]
    runs.move("d", RunState.PENDING)
    assert names(runs) == ["a", "b", "c", "e", "d"]
    assert names(loaded(data)) == ["a", "b", "c", "e", "d"]


def test_the_run_that_trained_when_the_service_ended_goes_on_first(data: Path) -> None:
    runs = loaded(data)
    runs.move("c", RunState.RUNNING)
    runs.reorder("b", 1)
    runs.reorder("d", 1)
    assert names(loaded(data)) == ["c", "d", "b", "a"]


def test_a_damaged_order_costs_the_order_alone(data: Path) -> None:
    loaded(data).reorder("d", 1)
    (data / "checkpoint" / QUEUE_FILE).write_text("{")
    assert names(loaded(data)) == ["a", "b", "c", "d"]


def test_only_a_waiting_run_has_a_place(data: Path) -> None:
    runs = loaded(data)
    runs.move("a", RunState.RUNNING)
    with pytest.raises(FailedPrecondition, match="'a' is RUNNING"):
        runs.reorder("a", 1)
    with pytest.raises(InvalidRequest) as caught:
        runs.reorder("b", 0)
    assert caught.value.field == "queue_position"
    with pytest.raises(NotFound, match="nobody"):
        runs.reorder("nobody", 1)


def test_the_free_name_is_one_that_no_run_has(data: Path) -> None:
    runs = loaded(data)
    assert runs.free_name("a") == "a-2"
    make_run(data, "a-2", SETTINGS)
    assert loaded(data).free_name("a") == "a-3"
    assert len(runs.free_name("x" * 100)) <= 100


def test_where_a_run_first_trained_is_kept_and_a_change_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "environment", lambda: {"tensorflow": "1"})
    runs = loaded(data)
    assert runs.get("a").environment == {}
    assert runs.move("a", RunState.RUNNING).environment == {"tensorflow": "1"}
    monkeypatch.setattr(module, "environment", lambda: {"tensorflow": "2"})
    runs = loaded(data)
    assert runs.move("a", RunState.RUNNING).environment == {"tensorflow": "1"}
    told = [line["message"] for _, line in EventLog(runs.folder("a")).read(0) if line["kind"] == "event"]
    assert told[1:] == ["goes on elsewhere than it began: tensorflow 1, now 2"]

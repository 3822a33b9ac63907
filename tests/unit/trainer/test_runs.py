"""Runs on a volume that a service finds at its start."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.errors import Corrupt, NotFound
from services.trainer.run_record import RunState, read_record
from services.trainer.runs import Runs
from services.trainer.volume import Volume
from tests.unit.trainer.tiny import SETTINGS, make_run, write_tiny_dataset


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume with the runs `sound` and `damaged`."""
    write_tiny_dataset(tmp_path)
    for name in ("sound", "damaged"):
        make_run(tmp_path, name, SETTINGS)
    return tmp_path


def test_run_with_a_damaged_record_is_named_can_be_deleted_and_hides_no_other(data: Path) -> None:
    path = data / "checkpoint" / "damaged" / "run.json"
    path.write_bytes(path.read_bytes()[:40])
    runs = Runs(Volume(data))
    runs.load()
    assert [record.name for record in runs.all()] == ["sound"]
    for ask in (runs.get, runs.find):
        with pytest.raises(Corrupt, match=r"damaged/run\.json") as caught:
            ask("damaged")
        assert caught.value.metadata["file"] == str(path)
    runs.delete("damaged")
    assert not path.parent.exists() and runs.find("damaged") is None
    with pytest.raises(NotFound, match="damaged"):
        runs.get("damaged")


def test_what_killed_writers_left_in_runs_and_samples_goes_at_the_start(data: Path) -> None:
    leftovers = [data / kind / "sound" / ".partial-x" for kind in ("checkpoint", "samples")]
    for leftover in leftovers:
        leftover.mkdir(parents=True)
    Runs(Volume(data)).load()
    assert not any(leftover.exists() for leftover in leftovers)


def test_samples_go_before_the_run_so_that_no_later_run_inherits_them(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "samples" / "sound").mkdir(parents=True)
    runs = Runs(Volume(data))
    runs.load()
    runs.move("sound", runs.get("sound").state.CANCELLED)
    removed: list[Path] = []
    monkeypatch.setattr("services.trainer.runs.remove_folder", removed.append)
    runs.delete("sound")
    assert removed == [data / "samples" / "sound", data / "checkpoint" / "sound"]


def test_record_is_read_as_it_was_written(data: Path) -> None:
    wish = SETTINGS | {"sample_prompts": ("Dear", ""), "sample_temperatures": (0.5,)}
    written = make_run(data, "prompted", wish)
    assert read_record(data / "checkpoint" / "prompted") == written


def test_folder_that_another_program_began_is_no_run_and_says_how_to_make_it_one(data: Path) -> None:
    folder = data / "checkpoint" / "theirs"
    folder.mkdir()
    for name in ("checkpoint", "model-7.index"):
        (folder / name).touch()
    runs = Runs(Volume(data))
    runs.load()
    with pytest.raises(NotFound, match="start run 'theirs' to carry it on"):
        runs.get("theirs")


def test_runs_are_there_on_a_full_disk_and_one_that_was_training_waits(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(Volume(data))
    runs.load()
    runs.move("sound", RunState.RUNNING)

    def refuse(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("services.trainer.runs.write_json", refuse)
    again = Runs(Volume(data))
    again.load()
    assert again.get("sound").state == RunState.PENDING
    assert [record.name for record in again.queue()] == ["sound", "damaged"]

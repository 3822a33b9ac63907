"""Runs on a volume that a service finds at its start."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from protos import trainer_pb2 as pb
from services.common.errors import Corrupt, FailedPrecondition, NotFound
from services.trainer.checkpoints import Checkpoint, delete_checkpoint
from services.trainer.run_record import RunState, read_record
from services.trainer.runs import Runs
from services.trainer.servicer import TrainerServicer
from services.trainer.volume import Volume
from tests.unit.trainer.made import make_checkpoint
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


def test_checkpoint_is_not_pulled_from_under_a_run_that_is_resumed_meanwhile(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(Volume(data))
    runs.load()
    runs.move("sound", RunState.CANCELLED)
    checkpoint = make_checkpoint(data, "sound", 2)
    nothing: Any = None
    trainer = TrainerServicer(Volume(data), nothing, nothing, runs, nothing, nothing)
    resume = threading.Thread(target=runs.move, args=("sound", RunState.PENDING))

    def delete_while_it_is_resumed(found: Checkpoint) -> None:
        resume.start()
        resume.join(0.2)
        assert resume.is_alive() and runs.get("sound").state == RunState.CANCELLED
        delete_checkpoint(found)

    monkeypatch.setattr("services.trainer.checkpoint_rpcs.delete_checkpoint", delete_while_it_is_resumed)
    trainer.DeleteCheckpoint(pb.DeleteCheckpointRequest(run="sound", step=2), nothing)
    resume.join()
    assert runs.get("sound").state == RunState.PENDING and not checkpoint.folder.exists()
    with pytest.raises(FailedPrecondition, match="PENDING: stop it first"):
        trainer.DeleteCheckpoint(pb.DeleteCheckpointRequest(run="sound", step=2), nothing)


def killed_while_training(data: Path) -> Runs:
    """The runs as a service finds them whose predecessor was killed while `sound` trained."""
    runs = Runs(Volume(data))
    runs.load()
    if runs.get("sound").state == RunState.PENDING:
        runs.move("sound", RunState.RUNNING)
        runs = Runs(Volume(data))
        runs.load()
    return runs


def test_a_run_that_takes_its_service_with_it_is_not_tried_for_ever(data: Path) -> None:
    for number in range(1, 6):
        assert killed_while_training(data).get("sound").tries == number
    history = (data / "checkpoint" / "sound" / "events.jsonl").read_text()
    assert "the trainer was killed with the training process" in history and "try 5 of 5" in history
    record = killed_while_training(data).get("sound")
    assert record.state == RunState.FAILED and record.restarts == 5
    assert "started again 5 times without a new checkpoint; resume the run" in record.error

    runs = killed_while_training(data)
    runs.move("sound", RunState.PENDING)  # a person resumes it
    assert killed_while_training(data).get("sound").tries == 1


def test_tries_are_counted_anew_from_a_new_checkpoint_and_not_where_the_service_was_stopped(data: Path) -> None:
    for _ in range(3):
        killed_while_training(data)
    runs = Runs(Volume(data))
    runs.load()
    for state in (RunState.RUNNING, RunState.PENDING):  # stopped in good order
        runs.move("sound", state)
    assert killed_while_training(data).get("sound").tries == 4
    make_checkpoint(data, "sound", 2)
    assert killed_while_training(data).get("sound").tries == 1
    assert killed_while_training(data).get("sound").tries == 2

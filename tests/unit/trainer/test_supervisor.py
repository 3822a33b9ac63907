"""What becomes of a run whose process cannot start, or whose end cannot be written down."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.trainer import restarting
from services.trainer import supervisor as module
from services.trainer.adjusting import read_adjustments
from services.trainer.child import Child
from services.trainer.events import EventLog
from services.trainer.run_record import RunRecord, RunState
from services.trainer.runs import Runs
from services.trainer.supervisor import Supervisor
from services.trainer.volume import Volume
from tests.unit.trainer.tiny import SETTINGS, make_run, write_tiny_dataset
from tests.waiting import PATIENCE_S, wait_for

PRELUDE = """
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[1], "checkpoint", sys.argv[2])
def die():
    os.kill(os.getpid(), 9)
def leave(status, **said):
    (folder / "outcome.json").write_text(json.dumps(said))
    raise SystemExit(status)
def end(why):
    leave(0, ended_because=why)
def fail(why, passing):
    leave(1, error=why, passing=passing)
def again(why):
    leave(4, again=why)
def out_of_memory():
    leave(5, error="out of memory")
def checkpoint(step):
    made = folder / f"step-{step}"
    made.mkdir()
    (made / "manifest.json").write_text(json.dumps({"files": {}, "created_at": "", "validation": None}))
"""


class Bench:
    """A supervisor over runs of a volume; its children are Python commands, which train nothing.

    Each child takes the next of `commands`; the last stays. A folder is their first argument, its run the second.
    """

    def __init__(self, data: Path, patch: pytest.MonkeyPatch) -> None:
        self.runs, self.ended = Runs(Volume(data)), threading.Condition()
        self.commands = ["raise SystemExit(0)"]
        self.on_success: Callable[[RunRecord], None] = lambda record: None
        self.runs.load()
        self.supervisor = Supervisor(self.runs, Volume(data), nice=0, on_success=lambda record: self.on_success(record))
        patch.setattr(module, "Child", self._child)
        move = self.runs.move

        def notice(*args: Any, **facts: Any) -> RunRecord:
            record = move(*args, **facts)
            with self.ended:
                self.ended.notify_all()
            return record

        patch.setattr(self.runs, "move", notice)

    def told(self, run: str = "run") -> list[str]:
        """The sentences in a run's history."""
        return [line["message"] for _, line in EventLog(self.runs.folder(run)).read(0) if line["kind"] == "event"]

    def wait(self, run: str, state: RunState) -> RunRecord:
        """The run once it is in that state."""
        with self.ended:
            assert self.ended.wait_for(lambda: self.runs.get(run).state == state, PATIENCE_S), self.runs.get(run)
        return self.runs.get(run)

    def _child(self, data: Path, run_folder: Path, **options: Any) -> Child:
        command = self.commands.pop(0) if len(self.commands) > 1 else self.commands[0]
        if not command:
            raise OSError(12, "Cannot allocate memory")
        return Child(data, run_folder, **options | {"program": (sys.executable, "-c", PRELUDE + command)})


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    write_tiny_dataset(tmp_path)
    make_run(tmp_path, "run", SETTINGS)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    monkeypatch.setattr(restarting, "FIRST_WAIT_S", 0.001)
    made = Bench(tmp_path, monkeypatch)
    yield made
    made.supervisor.begin_stop()
    made.supervisor.finish_stop(PATIENCE_S)


def test_run_whose_process_cannot_start_fails_and_can_be_resumed(bench: Bench) -> None:
    bench.commands = [""]
    bench.supervisor.start()
    assert "Cannot allocate memory" in bench.wait("run", RunState.FAILED).error

    bench.commands = ["raise SystemExit(0)"]
    bench.runs.move("run", RunState.PENDING)
    bench.supervisor.wake()
    bench.wait("run", RunState.SUCCEEDED)


def test_end_of_a_run_is_noted_once_the_disk_has_room_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    move, refusals = bench.runs.move, iter([True, True])

    def move_when_there_is_room(name: str, state: RunState, **facts: Any) -> RunRecord:
        if state == RunState.SUCCEEDED and next(refusals, False):
            raise OSError(28, "No space left on device")
        return move(name, state, **facts)

    monkeypatch.setattr(bench.runs, "move", move_when_there_is_room)
    bench.supervisor.start()
    bench.wait("run", RunState.SUCCEEDED)
    assert next(refusals, None) is None


def test_run_has_succeeded_even_when_its_publication_hits_a_bug(bench: Bench) -> None:
    def fail(record: RunRecord) -> None:
        raise KeyError("surprise")

    bench.on_success = fail
    bench.supervisor.start()
    bench.wait("run", RunState.SUCCEEDED)
    assert "not published" in (bench.runs.folder("run") / "events.jsonl").read_text()


def test_what_a_killed_process_left_half_written_is_removed(bench: Bench) -> None:
    mark = bench.runs.folder("run") / ".partial-of-a-mark-that-is-being-set"
    mark.touch()
    bench.commands = ["(folder / '.partial-step-4-0').mkdir(); die()", "raise SystemExit(0)"]
    bench.supervisor.start()
    bench.wait("run", RunState.SUCCEEDED)
    assert list(bench.runs.folder("run").glob(".partial*")) == [mark]


def test_a_killed_process_is_followed_by_another_and_both_are_told_of(bench: Bench) -> None:
    bench.commands = ["die()", "checkpoint(4); die()", "end('its last step is done')"]
    bench.supervisor.start()
    record = bench.wait("run", RunState.SUCCEEDED)
    assert record.restarts == 2 and record.ended_because == "its last step is done"
    first, second = bench.told()
    assert "killed by SIGKILL" in first and "going on from step 0, try 1 of 5" in first
    assert "going on from step 4, try 1 of 5" in second  # a checkpoint since: counted anew


def test_a_run_fails_when_its_processes_are_killed_too_often_without_a_new_checkpoint(bench: Bench) -> None:
    bench.commands = ["die()"]
    bench.supervisor.start()
    record = bench.wait("run", RunState.FAILED)
    assert record.restarts == 5 and "started again 5 times without a new checkpoint" in record.error
    assert len(bench.told()) == 5


def test_an_error_that_may_pass_is_tried_again_and_one_that_stays_is_not(bench: Bench) -> None:
    bench.commands = ["fail('No space left on device', passing=True)", "fail('the base is damaged', passing=False)"]
    bench.supervisor.start()
    assert bench.wait("run", RunState.FAILED).error == "the base is damaged"
    assert len(bench.told()) == 1 and "No space left" in bench.told()[0]


def test_a_process_that_asks_for_another_is_not_counted_as_killed(bench: Bench) -> None:
    bench.commands = ["again('half the rate')", "raise SystemExit(0)"]
    bench.supervisor.start()
    assert bench.wait("run", RunState.SUCCEEDED).restarts == 0
    assert bench.told() == ["half the rate"]


def test_a_device_out_of_memory_shrinks_the_micro_batch_and_then_checkpoints_gradients(bench: Bench) -> None:
    make_run(bench.runs.folder("run").parents[1], "large", SETTINGS | {"batch_size": 6})
    bench.runs.load()
    bench.runs.move("run", RunState.CANCELLED)
    bench.commands = ["out_of_memory()"] * 4
    bench.supervisor.start()
    record = bench.wait("large", RunState.FAILED)
    told = bench.told("large")
    assert "with 3 rows at a time in 2 passes a step (it was 6 in 1)" in told[0]
    assert "with 1 rows at a time in 6 passes a step (it was 3 in 2)" in told[1]
    assert "with gradient checkpointing" in told[2]
    assert "lower context" in record.error
    settings = read_adjustments(bench.runs.folder("large")).apply(record.settings)
    assert (settings.batch_size, settings.accumulation, settings.gradient_checkpointing) == (1, 6, True)
    assert record.settings.batch_size == 6  # as asked for


def test_without_fit_memory_a_run_that_does_not_fit_fails_and_says_what_to_do(bench: Bench) -> None:
    make_run(bench.runs.folder("run").parents[1], "stiff", SETTINGS | {"fit_memory": False})
    bench.runs.load()
    bench.runs.move("run", RunState.CANCELLED)
    bench.commands = ["out_of_memory()"]
    bench.supervisor.start()
    assert "lower batch_size, or let fit_memory do it" in bench.wait("stiff", RunState.FAILED).error


def test_a_stop_while_another_process_is_waited_for_ends_the_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "FIRST_WAIT_S", 1000.0)
    monkeypatch.setattr(restarting, "LONGEST_WAIT_S", 1000.0)
    bench.commands = ["die()"]
    bench.supervisor.start()
    wait_for(bench.told, "the death is told")
    bench.supervisor.stop_run("run")
    bench.wait("run", RunState.CANCELLED)


def test_run_whose_history_cannot_be_written_trains_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def append(log: EventLog, kind: str, **facts: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EventLog, "append", append)
    bench.supervisor.start()
    bench.wait("run", RunState.SUCCEEDED)


def test_run_does_not_stay_running_when_its_supervision_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(module, "read_outcome", fail)
        bench.supervisor.start()
        assert "Input/output error" in bench.wait("run", RunState.FAILED).error
    bench.runs.move("run", RunState.PENDING)
    bench.supervisor.wake()
    bench.wait("run", RunState.SUCCEEDED)


def test_a_signal_without_a_name_is_told_by_its_number(bench: Bench) -> None:
    bench.commands = ["os.kill(os.getpid(), 35)", "raise SystemExit(0)"]
    bench.supervisor.start()
    bench.wait("run", RunState.SUCCEEDED)
    assert "killed by signal 35" in bench.told()[0]


def test_tries_of_a_service_that_was_killed_count_in_the_next(bench: Bench) -> None:
    record = bench.runs.note_restart("run", tries=4, tries_step=0)
    bench.commands = ["die()"]
    bench.supervisor.start()
    assert bench.wait("run", RunState.FAILED).restarts == record.restarts + 1
    assert len(bench.told()) == 1 and "try 5 of 5" in bench.told()[0]

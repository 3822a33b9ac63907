"""What becomes of a run whose process cannot start, or whose end cannot be written down."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from services.trainer import supervisor as module
from services.trainer.runs import RunRecord, Runs, RunState
from services.trainer.supervisor import Supervisor
from services.trainer.volume import Volume
from tests.unit.trainer.tiny import SETTINGS, make_run, write_tiny_dataset

DEADLINE_S = 30.0


class Bench:
    """A supervisor over runs of a volume; its children are `command`, which trains nothing."""

    def __init__(self, data: Path, patch: pytest.MonkeyPatch) -> None:
        self.runs, self.command, self.ended = Runs(Volume(data)), "raise SystemExit(0)", threading.Condition()
        self.on_success: Callable[[RunRecord], None] = lambda record: None
        self.runs.load()
        self.supervisor = Supervisor(self.runs, Volume(data), nice=0, on_success=lambda record: self.on_success(record))
        patch.setattr(self.supervisor, "_spawn", self._spawn)
        move = self.runs.move

        def notice(*args: Any, **facts: Any) -> RunRecord:
            record = move(*args, **facts)
            with self.ended:
                self.ended.notify_all()
            return record

        patch.setattr(self.runs, "move", notice)

    def wait(self, run: str, state: RunState) -> RunRecord:
        """The run once it is in that state."""
        with self.ended:
            assert self.ended.wait_for(lambda: self.runs.get(run).state == state, DEADLINE_S), self.runs.get(run)
        return self.runs.get(run)

    def _spawn(self, run: str, output: BinaryIO) -> subprocess.Popen[bytes]:
        if not self.command:
            raise OSError(12, "Cannot allocate memory")
        return subprocess.Popen([sys.executable, "-c", self.command])


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    write_tiny_dataset(tmp_path)
    make_run(tmp_path, "run", SETTINGS)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    made = Bench(tmp_path, monkeypatch)
    yield made
    made.supervisor.begin_stop()
    made.supervisor.finish_stop(DEADLINE_S)


def test_run_whose_process_cannot_start_fails_and_can_be_resumed(bench: Bench) -> None:
    bench.command = ""
    bench.supervisor.start()
    assert "Cannot allocate memory" in bench.wait("run", RunState.FAILED).error

    bench.command = "raise SystemExit(0)"
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
    partial = bench.runs.folder("run") / ".partial-step-4-0"
    bench.command = f"import pathlib, os; pathlib.Path({str(partial)!r}).mkdir(); os.kill(os.getpid(), 9)"
    bench.supervisor.start()
    bench.wait("run", RunState.FAILED)
    assert not partial.exists()

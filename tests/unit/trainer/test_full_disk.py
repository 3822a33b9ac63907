"""A full disk takes no line, no word and no step from a run."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import pytest

from services.common.files import sha256_file, write_json
from services.trainer.checkpoints import list_checkpoints, newest_sound
from services.trainer.patient_file import PatientFile
from services.trainer.training import keeping, saving
from services.trainer.training.console import Console
from services.trainer.training.process import TrainingProcess
from services.trainer.training.state import TrainingState
from services.trainer.volume import Volume
from tests.unit.trainer.tiny import SETTINGS, make_run, write_tiny_dataset


class Usage(NamedTuple):
    total: int
    used: int
    free: int


class Disk:
    """What the system says is free."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.free: Callable[[], int] = lambda: 1 << 40
        self._usage = shutil.disk_usage
        patch.setattr(saving.shutil, "disk_usage", lambda path: Usage(1 << 40, 0, self.free()))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@contextmanager
def full(path: Path) -> Iterator[None]:
    """Let nothing more be written into a file than it has."""
    import resource

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 3, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def train(data: Path, run: str, **settings: Any) -> tuple[Path, str]:
    make_run(data, run, SETTINGS | {"sample_every": 0, "save_best": False} | settings)
    assert TrainingProcess(Volume(data), run, started=time.monotonic()).run(Event())
    folder = data / "checkpoint" / run
    return folder, (folder / "events.jsonl").read_text()


def steps_of(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in list_checkpoints(folder)]


def test_lines_that_a_full_disk_refuses_are_written_whole_and_in_order_later(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    file = PatientFile(path)
    file.append(b"first\n")
    with full(path):
        file.append(b"second\n")
        file.append(b"third\n")
        assert path.read_bytes() == b"first\n"  # three bytes more would have gone in
        with pytest.raises(OSError, match="large"):
            file.flush()
    file.append(b"fourth\n")
    assert path.read_bytes() == b"first\nsecond\nthird\nfourth\n"


def test_console_on_a_full_disk_loses_words_and_raises_nothing() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        print("a line", file=Console(descriptor), flush=True)
    finally:
        os.close(descriptor)


def test_run_goes_on_without_the_checkpoint_that_has_no_room_and_tells_it(tmp_path: Path, disk: Disk) -> None:
    write_tiny_dataset(tmp_path)
    answers = iter([1 << 10, 1 << 10])  # asked twice for the first checkpoint: before and after making room
    disk.free = lambda: next(answers, 1 << 40)
    folder, told = train(tmp_path, "run")
    assert steps_of(folder) == [4, 6]
    assert "no checkpoint of step 2" in told and "make room for" in told and "training goes on" in told


def test_what_would_be_dropped_afterwards_is_dropped_before_there_is_no_room(tmp_path: Path, disk: Disk) -> None:
    write_tiny_dataset(tmp_path)
    folder = tmp_path / "checkpoint" / "run"
    disk.free = lambda: (1 << 40) if len(steps_of(folder)) < 2 else 0
    found, told = train(tmp_path, "run", keep=2, validate_every=0, steps=8)
    assert steps_of(found) == [6, 8]
    assert "no checkpoint" not in told


def test_run_that_is_done_waits_for_room_for_its_last_checkpoint(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "RETRY_S", 0.01)
    write_tiny_dataset(tmp_path)
    answers = iter([0] * 20)
    disk.free = lambda: next(answers, 1 << 40)
    folder, told = train(tmp_path, "run")
    assert steps_of(folder) == [6]
    assert told.count("no checkpoint of step 6") <= 1  # told once, however often it was tried


def test_failed_writing_is_told_and_tried_again_when_the_next_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failures = saving.write, iter([OSError(5, "Input/output error")])

    def write_or_fail(*arguments: Any) -> Any:
        for failure in failures:
            raise failure
        return write(*arguments)

    monkeypatch.setattr(saving, "write", write_or_fail)
    write_tiny_dataset(tmp_path)
    folder, told = train(tmp_path, "run")
    assert steps_of(folder) == [4, 6]
    assert "no checkpoint of step 2: [Errno 5] Input/output error" in told


def test_checkpoint_that_is_there_is_told_as_such_when_the_disk_fills_up_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "RETRY_S", 0.01)
    point, room = saving.write_pointer, iter([False, True, False, False])

    def point_while_there_is_room(folder: Path, prefix: str) -> None:
        if folder.name == "run" and not next(room, True):
            raise OSError(28, "No space left on device")
        point(folder, prefix)

    monkeypatch.setattr(saving, "write_pointer", point_while_there_is_room)
    write_tiny_dataset(tmp_path)
    folder, told = train(tmp_path, "run", validate_every=0)
    assert steps_of(folder) == [2, 4, 6]
    assert told.count('"kind": "checkpoint"') == 3 and "no checkpoint" not in told
    assert "step 2 is saved, but other programs do not see it as the newest: [Errno 28]" in told
    assert told.count("step 6 is saved") == 1  # tried twice
    assert "step-6/model-6" in (folder / "checkpoint").read_text() and (folder / "counter").read_text() == "6\n"


def test_no_checkpoint_is_ahead_of_what_was_told_of_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, fsync = saving.write, os.fsync
    synced: list[tuple[int, int]] = []  # inode and size

    def sync(descriptor: int) -> None:
        fsync(descriptor)
        found = os.fstat(descriptor)
        synced.append((found.st_ino, found.st_size))

    def write_after_a_power_cut(run_folder: Path, copy: saving.Copy) -> Any:
        durable = dict(synced)
        metrics = (run_folder / "metrics.jsonl").read_bytes()[: durable[(run_folder / "metrics.jsonl").stat().st_ino]]
        assert json.loads(metrics.splitlines()[-1])["step"] >= copy.state.step  # it trains on
        for name in ("events.jsonl", "events.out.tfevents.*"):
            assert all(path.stat().st_ino in durable for path in run_folder.glob(name))
        synced.clear()
        return write(run_folder, copy)

    monkeypatch.setattr(saving.os, "fsync", sync)
    monkeypatch.setattr(saving, "write", write_after_a_power_cut)
    write_tiny_dataset(tmp_path)
    folder, told = train(tmp_path, "run", validate_every=0, steps=4)
    assert steps_of(folder) == [2, 4], told


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_checkpoint_whose_state_cannot_be_replaced_stays_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    folder = tmp_path / "step-4"
    folder.mkdir()
    (folder / "state.json").write_text("{}")
    files = {"state.json": sha256_file(folder / "state.json")}
    facts = {"created_at": "", "validation": None, "files": files}
    write_json(folder / "manifest.json", facts)
    room = iter([True] * writes)

    def write_while_there_is_room(path: Path, value: object) -> None:
        if not next(room, False):
            raise OSError(28, "No space left on device")
        write_json(path, value)

    monkeypatch.setattr(saving, "write_json", write_while_there_is_room)
    with pytest.raises(OSError, match="No space"):
        saving.restate(folder, TrainingState(step=4))
    checkpoint, damage = newest_sound(tmp_path)
    assert checkpoint is not None and not damage

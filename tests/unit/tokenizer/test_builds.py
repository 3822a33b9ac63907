"""The queue of builds: one at a time, cancellable, and carried on after a restart."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from services.common.errors import FailedPrecondition, NotFound, Unavailable
from services.tokenizer.building import Order, Progress
from services.tokenizer.builds import MOST_ATTEMPTS, Builds, State
from services.tokenizer.documents import Snapshot
from tests.waiting import wait_for


def order(size: int = 300) -> Order:
    return Order(snapshot=Snapshot("blog", "cd" * 32, 12), own_vocabulary_size=size)


class Gate:
    """Work that reports progress until it is let go, then succeeds or raises `failure`."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.open = threading.Event()
        self.begun: list[str] = []
        self.failure = failure

    def __call__(self, wanted: Order, created_at: str, progress: Progress) -> None:
        self.begun.append(wanted.dataset_id)
        done = 0
        while not self.open.wait(0.01):
            done += 1
            progress(done)
        if self.failure is not None:
            raise self.failure


def state(builds: Builds, wanted: Order) -> State | None:
    build = builds.get(wanted.dataset_id)
    return build.state if build else None


def test_a_second_build_waits_for_the_first(tmp_path: Path) -> None:
    gate = Gate()
    builds = Builds(tmp_path, gate)
    builds.start()
    builds.submit(order(300))
    wait_for(lambda: state(builds, order(300)) is State.RUNNING)

    assert builds.submit(order(301)).state is State.PENDING
    assert builds.submit(order(300)).state is State.RUNNING
    gate.open.set()
    wait_for(lambda: builds.all() == [])

    assert gate.begun == [order(300).dataset_id, order(301).dataset_id]
    assert list((tmp_path / ".builds").iterdir()) == []
    builds.stop()


def test_a_full_disk_fails_a_build_and_not_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(OSError(28, "No space left on device"))
    builds = Builds(tmp_path, gate)
    builds.start()
    builds.submit(order(300))
    wait_for(lambda: state(builds, order(300)) is State.RUNNING)

    def refuse(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("services.tokenizer.builds.write_json", refuse)
        gate.open.set()
        wait_for(lambda: state(builds, order(300)) is State.FAILED)
    gate.failure = None
    builds.submit(order(301))
    wait_for(lambda: state(builds, order(301)) is None)

    assert "No space left" in builds.get(order(300).dataset_id).error
    builds.stop()


def test_progress_and_the_end_are_told_to_who_waits(tmp_path: Path) -> None:
    gate = Gate()
    builds = Builds(tmp_path, gate)
    builds.start()
    builds.submit(order())
    done: list[int] = []

    for _ in builds.changes(lambda: True):
        build = builds.get(order().dataset_id)
        if build is None:
            break
        done.append(build.num_documents_done)
        if build.num_documents_done > 5:
            gate.open.set()

    assert done == sorted(done)
    assert done[-1] > 5
    builds.stop()


def test_waiting_and_running_builds_can_be_cancelled_and_started_again(tmp_path: Path) -> None:
    gate = Gate()
    builds = Builds(tmp_path, gate)
    builds.start()
    builds.submit(order(300))
    wait_for(lambda: state(builds, order(300)) is State.RUNNING)
    builds.submit(order(301))

    builds.cancel(order(301).dataset_id)
    assert state(builds, order(301)) is State.CANCELLED
    builds.cancel(order(300).dataset_id)
    wait_for(lambda: state(builds, order(300)) is State.CANCELLED)
    with pytest.raises(FailedPrecondition, match="nothing to cancel"):
        builds.cancel(order(300).dataset_id)
    with pytest.raises(NotFound):
        builds.cancel("blog-unknown")

    builds.submit(order(300))
    gate.open.set()
    wait_for(lambda: state(builds, order(300)) is None)
    builds.stop()


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (FailedPrecondition("no posts here"), "no posts here"),
        (OSError(28, "disk full"), "disk full"),
        (RuntimeError("secret"), "a bug in the tokenizer service; its log says more"),
    ],
)
def test_a_failed_build_says_why_and_can_be_forgotten(tmp_path: Path, failure: Exception, words: str) -> None:
    gate = Gate(failure)
    gate.open.set()
    builds = Builds(tmp_path, gate)
    builds.start()
    builds.submit(order())
    wait_for(lambda: state(builds, order()) is State.FAILED)

    build = builds.get(order().dataset_id)
    assert build is not None
    assert words in build.error
    assert builds.forget(order().dataset_id)
    assert not builds.forget(order().dataset_id)
    builds.stop()


def test_a_build_that_is_under_way_cannot_be_forgotten(tmp_path: Path) -> None:
    builds = Builds(tmp_path, Gate())
    builds.start()
    builds.submit(order())

    with pytest.raises(FailedPrecondition, match="cancel it first"):
        builds.forget(order().dataset_id)
    builds.stop()


def test_an_interrupted_build_goes_on_after_a_restart(tmp_path: Path) -> None:
    builds = Builds(tmp_path, Gate())
    builds.start()
    builds.submit(order(300))
    builds.submit(order(301))
    wait_for(lambda: state(builds, order(300)) is State.RUNNING)
    builds.stop()

    gate = Gate()
    gate.open.set()
    later = Builds(tmp_path, gate)
    later.start()
    wait_for(lambda: later.all() == [])

    assert gate.begun == [order(300).dataset_id, order(301).dataset_id]
    later.stop()


def test_a_failure_is_still_known_after_a_restart(tmp_path: Path) -> None:
    gate = Gate(FailedPrecondition("no posts here"))
    gate.open.set()
    builds = Builds(tmp_path, gate)
    builds.start()
    builds.submit(order())
    wait_for(lambda: state(builds, order()) is State.FAILED)
    builds.stop()

    later = Builds(tmp_path, gate)
    later.start()

    known = later.get(order().dataset_id)
    assert known is not None
    assert (known.state, known.error) == (State.FAILED, "no posts here")
    later.stop()


def test_a_build_that_kills_the_service_again_and_again_is_given_up(tmp_path: Path) -> None:
    builds = Builds(tmp_path, Gate())
    builds.start()
    builds.submit(order())
    wait_for(lambda: state(builds, order()) is State.RUNNING)
    record = tmp_path / ".builds" / f"{order().dataset_id}.json"
    killed = json.loads(record.read_text())
    builds.stop()
    record.write_text(json.dumps({**killed, "num_attempts": MOST_ATTEMPTS}))

    later = Builds(tmp_path, Gate())
    later.start()

    build = later.get(order().dataset_id)
    assert build is not None
    assert build.state is State.FAILED
    assert "ended 3 times" in build.error
    later.stop()


def test_a_record_that_cannot_be_read_is_dropped(tmp_path: Path) -> None:
    (tmp_path / ".builds").mkdir()
    (tmp_path / ".builds" / "blog-x.json").write_text("{")

    builds = Builds(tmp_path, Gate())
    builds.start()

    assert builds.all() == []
    builds.stop()


def test_waiting_ends_when_the_service_stops_or_the_caller_leaves(tmp_path: Path) -> None:
    builds = Builds(tmp_path, Gate())
    builds.start()

    assert list(builds.changes(lambda: False)) == []
    builds.drain()
    with pytest.raises(Unavailable, match="stopping"):
        list(builds.changes(lambda: True))
    builds.stop()

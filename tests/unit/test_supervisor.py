"""Restarting: a service that keeps dying ends the whole, one that dies now and then does not."""

from types import SimpleNamespace

import pytest

from services import supervisor as module
from services.supervisor import MAX_RESTARTS, STEADY_S, ServiceError, Supervisor


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A supervisor of one service that has always just ended, and a clock that is moved by hand."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=None))
    made = Supervisor({"NONESUCH_DATA": str(tmp_path)})
    made.log_folder.mkdir()
    made.log_path("corpus").write_text("why it ended")
    ended = SimpleNamespace(poll=lambda: 1)
    monkeypatch.setattr(made, "_spawn", lambda name: ended)
    made._children["corpus"] = module._Child(ended, started_s=0.0)
    return made, clock


def test_a_service_that_ends_at_once_each_time_is_given_up_with_the_end_of_its_log(watched):
    supervisor, _ = watched
    for _ in range(MAX_RESTARTS):
        assert supervisor.check() == ["corpus"]
    with pytest.raises(ServiceError, match="why it ended"):
        supervisor.check()


def test_a_service_that_ends_now_and_then_is_started_again_each_time(watched):
    supervisor, clock = watched
    for _ in range(3 * MAX_RESTARTS):
        clock.now += STEADY_S
        supervisor._children["corpus"].started_s = clock.now - STEADY_S
        assert supervisor.check() == ["corpus"]

"""A short run of what `make stress` does at length."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rpc.generator import stress


@pytest.mark.parametrize("engine", ["litert", "dreaming"])
def test_under_stress_no_answer_is_wrong_and_nothing_is_lost(tmp_path: Path, engine: str) -> None:
    service, plain = stress.make_services(tmp_path / "models", engine)
    accepted = stress.total("accepted")
    try:
        outcomes = stress.run(service, num_requests=100, num_callers=20, seed=1)

        assert stress.problems(service, plain, outcomes) == []
        if engine == "litert":  # the other writes nothing twice
            assert stress.total("accepted") > accepted, "drafts are checked under stress as well"
        assert sum(not outcome.retry for outcome in outcomes) == 100
        assert sum(outcome.complete for outcome in outcomes) > 50, "most of what is asked is answered"
    finally:
        service.stop()
        plain.stop()

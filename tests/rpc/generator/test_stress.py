"""A short run of what `make stress` does at length."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rpc.generator import stress


@pytest.mark.parametrize("engine", ["litert", "dreaming"])
def test_under_stress_no_answer_is_wrong_and_nothing_is_lost(tmp_path: Path, engine: str) -> None:
    service = stress.make_service(tmp_path / "models", engine)
    try:
        outcomes = stress.run(service, num_requests=100, num_callers=20, seed=1)

        assert stress.problems(service, outcomes) == []
        assert sum(not outcome.retry for outcome in outcomes) == 100
        assert sum(outcome.complete for outcome in outcomes) > 50, "most of what is asked is answered"
    finally:
        service.stop()

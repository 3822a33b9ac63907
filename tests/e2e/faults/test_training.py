"""Training runs killed at ten moments, starved, spoilt and out of room; `make faults` kills at thirty."""

import random

import pytest

from tests.e2e.faults import training


@pytest.mark.timeout(2400)
def test_a_disturbed_run_completes_with_the_curve_of_an_undisturbed_one(tmp_path):
    assert training.run(tmp_path, seed=random.SystemRandom().randrange(10**6), number=10) == []

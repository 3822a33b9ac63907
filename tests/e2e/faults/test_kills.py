"""Kill -9 during imports, at five random moments; `make faults` does it at twenty."""

import random

import pytest

from tests.e2e.faults import kills


@pytest.mark.timeout(600)
def test_a_killed_import_leaves_the_corpus_as_before_or_as_after_and_nothing_behind(tmp_path):
    assert kills.run(tmp_path, seed=random.SystemRandom().randrange(10**6), number=5) == []

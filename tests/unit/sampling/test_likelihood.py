"""Log-probabilities of the model itself."""

from __future__ import annotations

import numpy as np

from services.sampling.likelihood import log_probabilities, top_ids


def test_probabilities_sum_to_one_even_for_great_logits() -> None:
    logits = np.array([[1000.0, 999.0, -1000.0], [0.0, 0.0, 0.0]], np.float32)
    np.testing.assert_allclose(np.exp(log_probabilities(logits)).sum(axis=-1), 1, rtol=1e-6)


def test_the_likeliest_ids_come_first_and_equals_by_id() -> None:
    row = np.log(np.array([0.1, 0.3, 0.1, 0.3, 0.2], np.float32))
    assert top_ids(row, 4) == [1, 3, 4, 0]
    assert top_ids(row, 0) == []
    assert top_ids(row, 99) == [1, 3, 4, 0, 2]

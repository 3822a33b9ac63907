from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.trainer.training.batches import Batches

END = 999


def batches_of(lengths: list[int], *, context: int, seed: int = 0) -> tuple[Batches, np.ndarray]:
    """Documents of distinct tokens, with a held-out document of sevens between the first two."""
    documents = [
        np.arange(start, start + n) + 1000 for start, n in zip(np.cumsum([0, *lengths]), lengths, strict=False)
    ]
    parts = [documents[0], np.full(5, 7), *documents[1:]]
    tokens = np.concatenate(parts).astype(np.uint16)
    borders = np.cumsum([0, *(len(part) for part in parts)])
    train = [i for i in range(len(parts)) if i != 1]
    batches = Batches(tokens, borders[:-1][train], borders[1:][train], context=context, seed=seed)
    return batches, np.concatenate(documents)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=8).filter(lambda lengths: sum(lengths) > 9),
    context=st.integers(2, 8),
    seed=st.integers(0, 5),
)
def test_every_token_is_an_input_exactly_once_an_epoch(lengths: list[int], context: int, seed: int) -> None:
    batches, everything = batches_of(lengths, context=context, seed=seed)
    # `context` epochs are a whole number of rows, whatever the number of tokens.
    rows = np.concatenate([batches.batch(step, 1) for step in range(1, len(everything) + 1)])
    seen, counts = np.unique(rows[:, :-1], return_counts=True)
    assert np.array_equal(seen, np.sort(everything)) and (counts == context).all()
    seen, counts = np.unique(rows[:, 1:], return_counts=True)
    assert abs(counts - context).max() <= 1  # targets lie one further: a document's first may fall over the edge


def test_target_is_the_token_after_its_input() -> None:
    batches, everything = batches_of([40], context=8)
    for row in batches.batch(1, 4):
        inside = row[:-1] != everything[-1]
        assert (np.diff(row)[inside] == 1).all()


def test_batch_depends_on_seed_and_step_only() -> None:
    first, _ = batches_of([50, 60, 70], context=16, seed=3)
    later, _ = batches_of([50, 60, 70], context=16, seed=3)
    in_order = [first.batch(step, 3) for step in range(1, 20)]
    assert all(np.array_equal(later.batch(step, 3), in_order[step - 1]) for step in (19, 2, 11))
    other, _ = batches_of([50, 60, 70], context=16, seed=4)
    assert not all(np.array_equal(other.batch(step, 3), in_order[step - 1]) for step in range(1, 20))


def test_epochs_come_in_different_orders() -> None:
    batches, everything = batches_of([16] * 8, context=16)
    first, second = batches.batch(1, 8), batches.batch(2, 8)
    assert np.array_equal(np.sort(first[:, 0]), np.sort(second[:, 0]))
    assert not np.array_equal(first[:, 0], second[:, 0])
    assert batches.epoch(2, 8) == 2.0 == 2 * 8 * 16 / len(everything)


def test_too_few_tokens_for_a_row_are_refused() -> None:
    with pytest.raises(ValueError, match="10 tokens"):
        batches_of([10], context=10)

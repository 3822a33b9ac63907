from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.trainer.training.batch import Batch, with_noise
from services.trainer.training.batches import Batches
from services.trainer.training.document_batches import DocumentBatches

END = 999


def corpus_of(lengths: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, starts, ends, and train tokens: each token is another, a held-out document of sevens stands second."""
    documents = [
        np.arange(start, start + n) + 1000 for start, n in zip(np.cumsum([0, *lengths]), lengths, strict=False)
    ]
    parts = [documents[0], np.full(5, 7), *documents[1:]]
    tokens = np.concatenate(parts).astype(np.uint16)
    borders = np.cumsum([0, *(len(part) for part in parts)])
    train = [i for i in range(len(parts)) if i != 1]
    return tokens, borders[:-1][train], borders[1:][train], np.concatenate(documents)


def batches_of(lengths: list[int], *, context: int, seed: int = 0, masked: bool = False) -> tuple[Batches, np.ndarray]:
    tokens, starts, ends, everything = corpus_of(lengths)
    return Batches(tokens, starts, ends, context=context, seed=seed, masked=masked), everything


def tokens_of(batch: Batch) -> np.ndarray:
    """The rows as they stood in the stream, [N, T+1]."""
    assert np.array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    return np.concatenate([batch.inputs, batch.targets[:, -1:]], axis=1)


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=8).filter(lambda lengths: sum(lengths) > 9),
    context=st.integers(2, 8),
    seed=st.integers(0, 5),
)
def test_every_token_is_an_input_exactly_once_an_epoch(lengths: list[int], context: int, seed: int) -> None:
    batches, everything = batches_of(lengths, context=context, seed=seed)
    # `context` epochs are a whole number of rows, whatever the number of tokens.
    rows = np.concatenate([tokens_of(batches.batch(step, 1)) for step in range(1, len(everything) + 1)])
    seen, counts = np.unique(rows[:, :-1], return_counts=True)
    assert np.array_equal(seen, np.sort(everything)) and (counts == context).all()
    seen, counts = np.unique(rows[:, 1:], return_counts=True)
    assert abs(counts - context).max() <= 1  # targets lie one further: a document's first may fall over the edge


def test_target_is_the_token_after_its_input() -> None:
    batches, everything = batches_of([40], context=8)
    for row in tokens_of(batches.batch(1, 4)):
        inside = row[:-1] != everything[-1]
        assert (np.diff(row)[inside] == 1).all()


def test_batch_depends_on_seed_and_step_only() -> None:
    first, _ = batches_of([50, 60, 70], context=16, seed=3)
    later, _ = batches_of([50, 60, 70], context=16, seed=3)
    in_order = [tokens_of(first.batch(step, 3)) for step in range(1, 20)]
    assert all(np.array_equal(tokens_of(later.batch(step, 3)), in_order[step - 1]) for step in (19, 2, 11))
    other, _ = batches_of([50, 60, 70], context=16, seed=4)
    assert not all(np.array_equal(tokens_of(other.batch(step, 3)), in_order[step - 1]) for step in range(1, 20))


def test_epochs_come_in_different_orders() -> None:
    batches, everything = batches_of([16] * 8, context=16)
    first, second = batches.batch(1, 8).inputs, batches.batch(2, 8).inputs
    assert np.array_equal(np.sort(first[:, 0]), np.sort(second[:, 0]))
    assert not np.array_equal(first[:, 0], second[:, 0])
    assert batches.epoch(2, 8) == 2.0 == 2 * 8 * 16 / len(everything)


def test_too_few_tokens_for_a_row_are_refused() -> None:
    with pytest.raises(ValueError, match="10 tokens"):
        batches_of([10], context=10)


LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=8).filter(lambda lengths: sum(lengths) > 9)


@settings(max_examples=60)
@given(lengths=LENGTHS, context=st.integers(2, 8), seed=st.integers(0, 5))
def test_masked_rows_are_the_stream_s_and_each_segment_is_one_document(
    lengths: list[int], context: int, seed: int
) -> None:
    plain, everything = batches_of(lengths, context=context, seed=seed)
    masked, _ = batches_of(lengths, context=context, seed=seed, masked=True)
    ends = np.cumsum(lengths) - 1
    document_of = dict(zip(everything.tolist(), np.repeat(np.arange(len(lengths)), lengths).tolist(), strict=True))
    last_tokens = set(everything[ends].tolist())
    for step in range(1, 12):
        batch = masked.batch(step, 2)
        assert np.array_equal(batch.inputs, plain.batch(step, 2).inputs)
        assert batch.segments is not None and batch.segments.shape == batch.inputs.shape
        assert set(np.diff(batch.segments).ravel().tolist()) <= {0, 1}
        for ids, segments in zip(batch.inputs.tolist(), batch.segments.tolist(), strict=True):
            for i in range(1, len(ids)):
                # A document's last token, its end-of-text id, begins the segment of what follows.
                assert (segments[i] != segments[i - 1]) == (ids[i] in last_tokens)
                if segments[i] == segments[i - 1] and ids[i - 1] not in last_tokens:
                    assert document_of[ids[i]] == document_of[ids[i - 1]]


@settings(max_examples=60)
@given(lengths=LENGTHS, context=st.integers(1, 40), num_rows=st.integers(1, 3), seed=st.integers(0, 5))
def test_every_token_is_a_target_exactly_once_an_epoch_in_rows_of_one_document(
    lengths: list[int], context: int, num_rows: int, seed: int
) -> None:
    tokens, starts, ends, everything = corpus_of(lengths)
    batches = DocumentBatches(tokens, starts, ends, end_of_text_id=END, context=context, seed=seed)
    count = sum(-(-length // context) for length in lengths)
    for_epochs = [batches.batch(step, num_rows) for step in range(1, count + 1)]  # num_rows epochs
    seen = np.concatenate([batch.targets[batch.weights > 0] for batch in for_epochs])
    assert np.array_equal(np.sort(seen), np.sort(np.tile(everything, num_rows)))
    assert sum(batch.num_tokens for batch in for_epochs) == num_rows * len(everything)
    assert batches.epoch(count, num_rows) == num_rows
    document_of = dict(zip(everything.tolist(), np.repeat(np.arange(len(lengths)), lengths).tolist(), strict=True))
    begins = set(everything[np.cumsum([0, *lengths[:-1]])].tolist())
    for batch in for_epochs:
        assert batch.weights is not None
        for inputs, targets, weights in zip(batch.inputs, batch.targets, batch.weights, strict=True):
            length = int(weights.sum())
            assert length > 0 and (weights[:length] == 1).all()
            assert len({document_of[int(target)] for target in targets[:length]}) == 1
            assert (np.diff(targets[:length]) == 1).all()  # in the document's order
            before = END if int(targets[0]) in begins else targets[0] - 1
            assert np.array_equal(inputs[:length], [before, *targets[: length - 1]])
            assert (inputs[length:] == END).all() and (targets[length:] == END).all()


def test_document_rows_depend_on_seed_and_step_only_and_each_epoch_has_its_order() -> None:
    def rows(seed: int) -> DocumentBatches:
        return DocumentBatches(*corpus_of([9, 8, 7, 6, 5])[:3], end_of_text_id=END, context=4, seed=seed)

    in_order = [rows(3).batch(step, 2).targets for step in range(1, 12)]
    again = rows(3)
    assert all(np.array_equal(again.batch(step, 2).targets, in_order[step - 1]) for step in (11, 2, 7))
    assert not all(np.array_equal(rows(4).batch(step, 2).targets, in_order[step - 1]) for step in range(1, 12))
    first, second = rows(3).batch(1, 11).targets, rows(3).batch(2, 11).targets
    assert not np.array_equal(first, second) and np.array_equal(np.sort(first, None), np.sort(second, None))


def test_noise_replaces_so_many_inputs_and_no_target_and_is_drawn_from_seed_and_step() -> None:
    ids = np.full((40, 100), 5, np.int32)
    batch = Batch(ids, ids)
    noisy = with_noise(batch, 0.25, n_vocab=50, seed=1, step=3)
    assert noisy.targets is ids and noisy.inputs.dtype == np.int32
    # One in fifty draws the id that stood there.
    assert abs((noisy.inputs != ids).mean() - 0.25 * 49 / 50) < 0.03
    assert set(np.unique(noisy.inputs).tolist()) == set(range(50))
    assert np.array_equal(with_noise(batch, 0.25, n_vocab=50, seed=1, step=3).inputs, noisy.inputs)
    for seed, step in ((2, 3), (1, 4)):
        assert not np.array_equal(with_noise(batch, 0.25, n_vocab=50, seed=seed, step=step).inputs, noisy.inputs)
    assert with_noise(batch, 0.0, n_vocab=50, seed=1, step=3) is batch

"""Decoding over the cache equals the full forward pass, however it is cut into calls."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from services.gpt2.cache import CachedModel, round_up
from services.gpt2.config import GPT2Config
from services.gpt2.model import forward, init_params

TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def cached(tiny: GPT2Config, tiny_params: dict[str, np.ndarray]) -> CachedModel:
    """One model with 4 slots for all tests: what one leaves in the cache must not trouble the next."""
    return CachedModel(tiny, tiny_params, 4)


def sequences(count: int, seed: int = 0) -> np.ndarray:
    """Random ids [count, 24]."""
    return np.random.default_rng(seed).integers(0, 11, (count, 24), dtype=np.int32)


def test_cached_decode_equals_full_forward(
    cached: CachedModel, tiny: GPT2Config, tiny_params: dict[str, np.ndarray]
) -> None:
    ids = sequences(4)
    full = forward(tiny_params, ids, tiny).numpy()
    slots = np.array([2, 0, 3, 1])

    for position in range(24):
        logits = cached.step(ids[:, position : position + 1], slots, np.full(4, position), np.ones(4))

        np.testing.assert_allclose(logits, full[:, position], atol=TOLERANCE)


def test_a_prompt_in_chunks_of_any_size_equals_full_forward(
    cached: CachedModel, tiny: GPT2Config, tiny_params: dict[str, np.ndarray]
) -> None:
    ids = sequences(1, seed=1)
    full = forward(tiny_params, ids, tiny).numpy()[0]

    for chunks in ([24], [1, 23], [5, 1, 1, 9, 8], [16, 8]):
        start = 0
        for length in chunks:
            logits = cached.step(ids[:, start : start + length], [1], [start], [length])
            start += length

            np.testing.assert_allclose(logits[0], full[start - 1], atol=TOLERANCE)


def test_rows_at_different_places_with_different_lengths_share_a_call(
    cached: CachedModel, tiny: GPT2Config, tiny_params: dict[str, np.ndarray]
) -> None:
    ids = sequences(4, seed=2)
    full = forward(tiny_params, ids, tiny).numpy()
    filled = np.zeros(4, np.int64)
    rng = np.random.default_rng(9)

    while filled.min() < 24:
        rows = np.flatnonzero(filled < 24)
        rng.shuffle(rows)
        rows = rows[: rng.integers(1, len(rows) + 1)]
        lengths = np.minimum(rng.integers(1, 8, len(rows)), 24 - filled[rows])
        padded = np.zeros((len(rows), lengths.max()), np.int32)
        for n, row in enumerate(rows):
            padded[n, : lengths[n]] = ids[row, filled[row] : filled[row] + lengths[n]]
        logits = cached.step(padded, rows, filled[rows], lengths)
        filled[rows] += lengths

        np.testing.assert_allclose(logits, full[rows, filled[rows] - 1], atol=TOLERANCE)


def test_going_back_overwrites_what_was_drafted(
    cached: CachedModel, tiny: GPT2Config, tiny_params: dict[str, np.ndarray]
) -> None:
    kept, drafted = sequences(2, seed=3)
    cached.step(drafted[None], [0], [0], [24])
    cached.step(kept[None, :10], [0], [0], [10])

    logits = cached.step(kept[None, 10:12], [0], [10], [2])

    np.testing.assert_allclose(logits[0], forward(tiny_params, kept[None], tiny)[0, 11], atol=TOLERANCE)


def test_a_second_call_of_the_same_shape_does_not_retrace_nor_does_any_other_shape(
    cached: CachedModel,
) -> None:
    cached.step([[1]], [0], [0], [1])
    before = cached.num_traces

    for rows, time in ((1, 1), (4, 1), (2, 7), (3, 24)):
        cached.step(np.ones((rows, time)), np.arange(rows), np.zeros(rows), np.full(rows, time))

    assert before == cached.num_traces == 1


def test_contexts_longer_than_one_cache_block_equal_full_forward() -> None:
    config = GPT2Config(n_vocab=11, n_ctx=200, n_embd=8, n_head=2, n_layer=1)  # four blocks of 64, the last cut
    params = {name: value * 8 for name, value in init_params(config, 4).items()}
    model = CachedModel(config, params, 2)
    ids = np.random.default_rng(1).integers(0, 11, (2, 200), dtype=np.int32)
    full = forward(params, ids, config).numpy()

    model.step(ids[:, :100], [1, 0], [0, 0], [100, 60])
    first = model.step(ids[:1, 100:], [1], [100], [100])
    second = model.step(ids[1:, 60:62], [0], [60], [2])

    np.testing.assert_allclose(first[0], full[0, 199], atol=1e-4)
    np.testing.assert_allclose(second[0], full[1, 61], atol=1e-4)


def test_logits_come_for_as_many_last_ids_of_each_row_as_are_asked_for(
    cached: CachedModel, tiny: GPT2Config, tiny_params: dict[str, np.ndarray]
) -> None:
    ids = sequences(3, seed=4)
    full = forward(tiny_params, ids, tiny).numpy()
    ids[1, 9:] = 0  # padding

    logits = cached.step(ids, [1, 3, 0], [0, 0, 0], [24, 9, 24], [24, 2, 0])

    assert logits.shape == (26, 11)
    np.testing.assert_allclose(logits[:24], full[0], atol=TOLERANCE)
    np.testing.assert_allclose(logits[24:], full[1, 7:9], atol=TOLERANCE)
    assert cached.step(ids[:1], [2], [0], [24], [0]).shape == (0, 11)


def test_xla_gives_the_same_logits(tiny: GPT2Config, tiny_params: dict[str, np.ndarray]) -> None:
    compiled = CachedModel(tiny, tiny_params, 3, jit_compile=True)
    ids = sequences(3, seed=5)
    full = forward(tiny_params, ids, tiny).numpy()

    compiled.step(ids[:, :11], [0, 2, 1], [0, 0, 0], [11, 9, 10])
    logits = compiled.step(ids[[1, 0], [9, 11]][:, None], [2, 0], [9, 11], [1, 1])

    np.testing.assert_allclose(logits, full[[1, 0], [9, 11]], atol=TOLERANCE)
    every = compiled.step(ids[:2, :5], [1, 0], [0, 0], [5, 3], [5, 0])
    np.testing.assert_allclose(every, full[0, :5], atol=TOLERANCE)


def test_bfloat16_decode_stays_near_float32(tiny: GPT2Config) -> None:
    params = init_params(tiny, 1)
    model = CachedModel(tiny, params, 1, compute_dtype=tf.bfloat16)
    ids = sequences(1, seed=6)

    logits = model.step(ids, [0], [0], [24])

    full = forward(params, ids, tiny).numpy()[:, -1]
    assert np.linalg.norm(logits - full) / np.linalg.norm(full) < 0.03


def test_a_model_that_is_dropped_is_freed(tiny: GPT2Config, tiny_params: dict[str, np.ndarray]) -> None:
    variables = {name: tf.Variable(value) for name, value in tiny_params.items()}
    handles = [weakref.ref(variable.handle) for variable in variables.values()]  # what graphs hold on to
    model = CachedModel(tiny, variables, 1)
    model.step(np.array([[1]]), np.array([0]), np.array([0]), np.array([1]))

    del model, variables
    gc.collect()

    assert [handle() for handle in handles if handle() is not None] == []


def test_round_up_gives_powers_of_two_up_to_the_limit() -> None:
    assert [round_up(n, 12) for n in (1, 2, 3, 4, 5, 8, 9, 12)] == [1, 2, 4, 4, 8, 8, 12, 12]

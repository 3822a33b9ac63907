"""Layers in compiled code of our own: the parts are right, and every instruction computes the same."""

from __future__ import annotations

import gc
import threading
import weakref

import numba
import numpy as np
import pytest

from services.gpt2.config import GPT2Config
from services.litert import crew, forward, rows, tiles
from services.litert.convert import convert
from services.litert.forward import PART_NAMES, Forward
from services.litert.model import LiteRTModel
from tests.unit.litert.texts import PRODUCTS, Sequence, random_params

OURS = [instructions for instructions in PRODUCTS if instructions]


@pytest.fixture
def small_work_is_shared(monkeypatch):
    monkeypatch.setattr(forward, "SMALL_WORK", 0)


@pytest.mark.parametrize("instructions", OURS, ids=tiles.NAMES.get)
def test_every_instruction_gives_the_same_bits_on_any_number_of_threads(
    int8_file, texts, instructions, small_work_is_shared
):
    chunks = [text.chunk(0, len(text.ids)) for text in texts]
    model = LiteRTModel(int8_file, 12, 1, tiles.VNNI)
    expected = model.step(chunks)
    model.close()
    for threads in (1, 2, 3, 5):
        model = LiteRTModel(int8_file, 12, threads, instructions)
        assert np.array_equal(model.step(chunks), expected)
        model.close()


@pytest.mark.parametrize("instructions", OURS, ids=tiles.NAMES.get)
def test_more_heads_than_are_taken_together_change_nothing(instructions, tmp_path, small_work_is_shared):
    # 774M has 20 heads, 1558M 25; a thread takes 16 of a single token at once.
    shape = GPT2Config(n_vocab=60, n_ctx=130, n_embd=100, n_head=20, n_layer=2)
    convert(shape, random_params(shape), tmp_path / "engine")
    text = Sequence(np.random.default_rng(5).integers(shape.n_vocab, size=130).tolist(), [2, 0, 1])
    results = []
    for threads in (1, 3):
        model = LiteRTModel(tmp_path / "engine", 3, threads, instructions)
        results.append(model.step([text.chunk(0, 130)]))
        results.append(np.concatenate([model.step([text.chunk(i, i + 1)]) for i in range(130)]))
        model.close()
    assert all(np.array_equal(result, results[0]) for result in results)


@pytest.mark.parametrize("instructions", OURS, ids=tiles.NAMES.get)
def test_large_steps_small_ones_and_those_without_logits_follow_each_other(int8_file, texts, instructions, monkeypatch):
    text = texts[0]
    model = LiteRTModel(int8_file, 12, 3, instructions)
    expected = model.step([text.chunk(0, 150)])
    monkeypatch.setattr(forward, "SMALL_WORK", 20 * model.config.num_parameters)  # 20 tokens or more are shared
    for _ in range(20):
        assert model.step([text.chunk(0, 100, 0)]).shape == (0, model.config.n_vocab)
        assert np.array_equal(model.step([text.chunk(100, 101)]), expected[100:101])
        assert model.step([text.chunk(101, 102, 0)]).size == 0
        assert np.array_equal(model.step([text.chunk(102, 150)]), expected[102:])
    model.close()


def test_a_closed_model_holds_no_cache(int8_file):
    model = LiteRTModel(int8_file, 12, 2)
    cache = weakref.ref(model._placement.kept[2])
    assert cache() is not None
    model.close()
    gc.collect()
    assert cache() is None


def test_threads_that_the_system_does_not_give_leave_none_behind(int8_file, monkeypatch):
    begin = threading.Thread.start
    begun: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        begin(thread)
        begun.append(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="start new thread"):
        LiteRTModel(int8_file, 4, 4)
    assert not any(thread.is_alive() for thread in begun)


@pytest.mark.parametrize("size", [1, 42, 64, 100, 768])
def test_a_row_is_normalised(size):
    rng = np.random.default_rng(size)
    x, gain, bias = (rng.standard_normal(size).astype(np.float32) for _ in range(3))
    y = np.zeros(size, np.float32)
    rows.normalise(x, gain, bias, np.zeros(rows.LANES, np.float32), y)
    exact = x.astype(np.float64)
    expected = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-5) * gain + bias
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(1).standard_normal(100).astype(np.float32),
        np.abs(np.random.default_rng(2).standard_normal(33)).astype(np.float32),
        -np.abs(np.random.default_rng(3).standard_normal(64)).astype(np.float32),
        np.array([0.0], np.float32),
        np.array([3e37, -2e37, 1.0], np.float32),
        np.array([1e-35, -1e-35], np.float32),
    ],
    ids=["both signs", "positive", "negative", "zero", "large", "tiny"],
)
def test_a_row_in_bytes_is_within_half_a_step(x):
    codes = np.zeros(len(x), np.uint8)
    scale, zero = rows.round_to_bytes(x, codes)
    assert 0 <= zero <= 255
    # The zero is rounded as well, so the ends may be another half a step off.
    error = np.abs(np.float32(scale) * (codes.astype(np.float32) - np.float32(zero)) - x)
    assert error.max() <= max(1.01 * scale, 1e-30)
    assert np.median(error) <= max(0.51 * scale, 1e-30)


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_a_row_that_holds_no_number_has_no_scale(bad):
    x = np.ones(50, np.float32)
    x[17] = bad
    scale, _zero = rows.round_to_bytes(x, np.zeros(50, np.uint8))
    assert np.isnan(scale)


def test_gelu_is_that_of_the_paper():
    x = np.linspace(-12, 12, 2001, dtype=np.float32)

    @numba.njit(error_model="numpy")
    def all_of(x):
        y = np.zeros_like(x)
        for i in range(len(x)):
            y[i] = rows.gelu(x[i])
        return y

    exact = x.astype(np.float64)
    expected = 0.5 * exact * (1 + np.tanh(np.sqrt(2 / np.pi) * (exact + 0.044715 * exact**3)))
    np.testing.assert_allclose(all_of(x), expected, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("instructions", OURS, ids=tiles.NAMES.get)
def test_a_thread_says_what_its_time_went_into(int8_file, texts, instructions, small_work_is_shared):
    model = LiteRTModel(int8_file, 12, 2, instructions)
    assert isinstance(model._layers, Forward)
    model._layers.take_ticks()
    model.step([texts[0].chunk(0, 100)])
    ticks = model._layers.take_ticks()
    assert tuple(ticks) == PART_NAMES
    assert all(value > 0 for value in ticks.values())
    assert set(model._layers.take_ticks().values()) == {0}
    model.close()


@pytest.mark.parametrize("instructions", OURS, ids=tiles.NAMES.get)
def test_threads_that_wait_for_a_slow_one_see_what_it_wrote(int8_file, texts, instructions, small_work_is_shared):
    # More threads than cores: whoever waits must let the others have the processor.
    alone = LiteRTModel(int8_file, 12, 1, instructions)
    expected = alone.step([texts[0].chunk(0, 150)])
    alone.close()
    crowd = [LiteRTModel(int8_file, 12, 3, instructions) for _ in range(4)]
    found: list[bool] = []

    def work(model: LiteRTModel) -> None:
        for _ in range(5):
            found.append(np.array_equal(model.step([texts[0].chunk(0, 150)]), expected))

    workers = [threading.Thread(target=work, args=(model,)) for model in crowd]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for model in crowd:
        model.close()
    assert found == [True] * 20


def test_a_crew_without_semaphores_works_alone(int8_file, texts, monkeypatch):
    expected = LiteRTModel(int8_file, 12, 2).step([texts[0].chunk(0, 150)])
    monkeypatch.setattr(crew, "has_semaphores", lambda: False)
    before = threading.active_count()
    model = LiteRTModel(int8_file, 12, 2)
    assert threading.active_count() == before
    assert np.array_equal(model.step([texts[0].chunk(0, 150)]), expected)
    model.close()

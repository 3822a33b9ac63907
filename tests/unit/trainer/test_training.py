"""One step, one validation and one sample against slow and plain ways of saying the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from services.gpt2 import model
from services.gpt2.config import GPT2Config
from services.sampling.draw import uniform
from services.sampling.parameters import SamplingParameters
from services.sampling.rules import sample
from services.trainer.run_settings import RunSettings
from services.trainer.training import writing
from services.trainer.training.batch import Batch
from services.trainer.training.evaluation import Evaluator
from services.trainer.training.loop import Trainer
from services.trainer.training.precision import choose
from services.trainer.training.writing import Request, Writer

CONFIG = GPT2Config(n_vocab=23, n_ctx=16, n_embd=8, n_head=2, n_layer=2)


def trainer_with(**settings: Any) -> Trainer:
    settings = {"dataset": "d", "dropout": 0.0, "clip_norm": 0.0, "batch_size": 4} | settings
    return Trainer(model.init_params(CONFIG, 1), CONFIG, RunSettings(**settings), tf.float32)


def rows_of(num_rows: int, length: int = 9) -> Batch:
    tokens = np.random.default_rng(0).integers(0, CONFIG.n_vocab, (num_rows, length)).astype(np.int32)
    return Batch(tokens[:, :-1], tokens[:, 1:])


def test_accumulated_micro_batches_equal_one_large_batch() -> None:
    rows = rows_of(4)
    whole, parts = trainer_with(batch_size=4), trainer_with(batch_size=1, accumulation=4)
    for step in (1, 2, 3):
        expected, found = whole.step(step, rows, 1e-2), parts.step(step, rows, 1e-2)
        assert found[:2] == pytest.approx(expected[:2], rel=1e-4)
    for name, value in whole.variables.items():
        np.testing.assert_allclose(parts.variables[name].numpy(), value.numpy(), atol=2e-4)


def test_training_on_one_batch_learns_it() -> None:
    trainer, rows = trainer_with(), rows_of(4)
    losses = [trainer.step(step, rows, 1e-2)[0] for step in range(1, 61)]
    assert losses[0] == pytest.approx(math.log(CONFIG.n_vocab), abs=0.1)
    assert losses[-1] < losses[0] / 2


def everything(trainer: Trainer) -> dict[str, np.ndarray]:
    return trainer.params() | trainer.state()


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize(("harm", "refused"), [("weight", "not finite"), ("limit", "above the limit")])
def test_step_with_bad_numbers_changes_nothing_and_says_so(accumulation: int, harm: str, refused: str) -> None:
    trainer, rows = trainer_with(batch_size=2, accumulation=accumulation), rows_of(2 * accumulation)
    assert trainer.step(1, rows, 1e-2).refused == ""
    limit, gain = math.inf, trainer.variables["model/ln_f/g"]
    good = gain.numpy()
    if harm == "weight":
        gain.assign(np.full_like(good, np.nan))
    else:
        limit = 0.1
    before = everything(trainer)
    result = trainer.step(2, rows, 1e-2, limit=limit)
    assert result.refused == refused
    assert all(np.array_equal(value, before[name], equal_nan=True) for name, value in everything(trainer).items())
    gain.assign(good)
    undisturbed = trainer_with(batch_size=2, accumulation=accumulation)
    undisturbed.step(1, rows, 1e-2)
    assert trainer.step(2, rows, 1e-2) == undisturbed.step(2, rows, 1e-2)
    found, expected = everything(trainer), everything(undisturbed)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_dropout_is_drawn_from_seed_and_step_alone() -> None:
    rows = rows_of(4)
    first, again, other = (trainer_with(dropout=0.5, seed=seed) for seed in (1, 1, 2))
    loss = first.step(7, rows, 1e-2)[0]
    assert again.step(7, rows, 1e-2)[0] == loss
    assert other.step(7, rows, 1e-2)[0] != loss
    assert trainer_with(dropout=0.5, seed=1).step(8, rows, 1e-2)[0] != loss


def test_optimizer_state_of_another_model_is_refused() -> None:
    trainer = trainer_with()
    state = trainer.state()
    trainer.restore(state)
    with pytest.raises(ValueError, match="model/wte"):
        trainer.restore(state | {"m/model/wte": np.zeros((2, 2), np.float32)})


@pytest.mark.parametrize("num_tokens", [1, 7, 8, 9, 40])
def test_validation_predicts_every_token_once_each_from_its_window(num_tokens: int) -> None:
    params = model.init_params(CONFIG, 3)
    tokens = np.random.default_rng(1).integers(0, CONFIG.n_vocab, num_tokens).astype(np.uint16)
    evaluator = Evaluator(
        tokens,
        num_bytes=100,
        end_of_text_id=22,
        context=4,
        batch_size=2,
        config=CONFIG,
        compute_dtype=tf.float32,
    )
    stream = np.array([22, *tokens])
    nats, hits = 0.0, 0
    for start in range(0, num_tokens, 4):
        window = stream[start : start + 5]
        logits = model.forward(params, window[None, :-1].astype(np.int32), CONFIG)[0].numpy().astype(np.float64)
        for row, target in zip(logits, window[1:], strict=True):
            nats += math.log(np.exp(row).sum()) - row[target]
            hits += int(row.argmax() == target)
    result = evaluator({name: tf.constant(value) for name, value in params.items()})
    assert result is not None
    assert result.loss == pytest.approx(nats / num_tokens, rel=1e-5)
    assert result.bits_per_byte == pytest.approx(nats / math.log(2) / 100, rel=1e-5)
    assert result.token_accuracy == hits / num_tokens


@pytest.mark.parametrize("together", [1, 2, 4])
def test_samples_equal_those_of_the_full_forward_pass_past_the_context_too(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {
        name: tf.Variable(value * (5 if name.endswith("/w") else 1))
        for name, value in model.init_params(CONFIG, 5).items()
    }
    long_prompt = tuple(range(20))  # longer than the context
    requests = [
        Request((), SamplingParameters(temperature=1.0, top_k=40)),
        Request((3, 1, 4), SamplingParameters(temperature=0.0)),
        Request(long_prompt, SamplingParameters(temperature=1.5, top_k=5)),
        Request((), SamplingParameters(temperature=0.7, top_k=0, top_p=0.9)),
    ]
    monkeypatch.setattr(writing, "MAX_CACHE_BYTES", together * 2 * CONFIG.n_layer * CONFIG.n_ctx * CONFIG.n_embd * 4)
    writer = Writer(params, CONFIG, tf.float32, requests=requests, end_of_text_id=22)
    for _ in range(2):
        written = writer.write(length=40, seed=9)
        assert written is not None
        for index, (request, found) in enumerate(zip(requests, written, strict=True)):
            expected = list(request.prompt)
            seen = [22, *expected]
            while len(expected) < len(request.prompt) + 40:
                if len(seen) > CONFIG.n_ctx:
                    seen = seen[-CONFIG.n_ctx // 2 - 1 :]
                logits = model.forward(params, np.array([seen], np.int32), CONFIG)[0, -1].numpy()
                number = uniform(9, index, len(expected) - len(request.prompt))
                token_id = sample(logits, request.parameters, (), number)
                if token_id == 22:
                    break
                expected.append(token_id)
                seen.append(token_id)
            assert found == expected
        params["model/wte"].assign_add(params["model/wte"] * 0.5)  # the run goes on; the writer sees it
    assert max(len(text) for text in written) > CONFIG.n_ctx


def test_named_precision_is_taken_and_auto_chooses_one() -> None:
    assert choose("float32", 1) == tf.float32 and choose("bfloat16", 1) == tf.bfloat16
    assert choose("auto", 1) in (tf.float32, tf.bfloat16)

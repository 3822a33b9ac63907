"""The forward pass: right beside the float32 one, and the same bits however it is cut."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numba.core import codegen

from services.common.errors import Corrupt
from services.gpt2.config import GPT2Config
from services.gpt2.model import forward
from services.litert import forward as forward_module
from services.litert import heads
from services.litert import model as litert_model
from services.litert.convert import convert
from services.litert.model import MAX_ROWS, LiteRTModel, Tokens
from services.litert.tiles import NAMES
from tests.unit.litert.texts import PRODUCTS, Sequence, random_params

ROOT = Path(__file__).parents[3]
SHAPES = [
    GPT2Config(n_vocab=11, n_ctx=5, n_embd=1, n_head=1, n_layer=1),
    GPT2Config(n_vocab=97, n_ctx=70, n_embd=15, n_head=3, n_layer=1),
    GPT2Config(n_vocab=2048, n_ctx=256, n_embd=128, n_head=4, n_layer=4),  # nano
    GPT2Config(n_vocab=515, n_ctx=130, n_embd=192, n_head=6, n_layer=2),  # like micro
    GPT2Config(n_vocab=1000, n_ctx=300, n_embd=320, n_head=2, n_layer=1),
    GPT2Config(n_vocab=60, n_ctx=130, n_embd=128, n_head=2, n_layer=1),  # heads of 64, as GPT-2 has them
    GPT2Config(n_vocab=60, n_ctx=130, n_embd=128, n_head=1, n_layer=1),
]


@pytest.fixture(params=PRODUCTS, ids=NAMES.get, autouse=True)
def products(request, monkeypatch) -> int:
    """Every way of computing that this processor has takes every test."""
    monkeypatch.setattr(litert_model, "find_instructions", lambda: request.param)
    return request.param


def one_at_a_time(model: LiteRTModel, text: Sequence) -> np.ndarray:
    return np.concatenate([model.step([text.chunk(i, i + 1)]) for i in range(len(text.ids))])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("precision", "share"), [("float32", 1e-5), ("int8", 0.08)])
def test_logits_equal_the_full_float32_forward(shape, precision, share, tmp_path):
    params = random_params(shape)
    convert(shape, params, tmp_path / "engine", precision)
    ids = np.random.default_rng(1).integers(shape.n_vocab, size=shape.n_ctx)
    expected = forward(params, ids[None], shape)[0].numpy()
    blocks = list(range(-(-shape.n_ctx // 64)))[::-1]
    model = LiteRTModel(tmp_path / "engine", len(blocks), 2)
    logits = model.step([Tokens(blocks, 0, ids.tolist(), len(ids))])
    model.close()
    error = np.sqrt(((logits - expected) ** 2).mean()) / expected.std()
    assert error < share


@pytest.mark.parametrize("head_size", [14, 64])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_any_cut_gives_the_same_bits(precision, head_size, config, tmp_path):
    shape = replace(config, n_embd=config.n_head * head_size)
    convert(shape, random_params(shape), tmp_path / "engine", precision)
    model = LiteRTModel(tmp_path / "engine", 3, 2)
    text = Sequence(np.random.default_rng(5).integers(shape.n_vocab, size=150).tolist(), [2, 0, 1])
    whole = model.step([text.chunk(0, 150)])
    assert np.array_equal(one_at_a_time(model, text), whole)
    rng = np.random.default_rng(2)
    for _ in range(20):
        cuts = [0, *sorted(rng.choice(np.arange(1, 150), size=rng.integers(1, 12), replace=False)), 150]
        pieces = [model.step([text.chunk(a, b)]) for a, b in pairwise(cuts)]
        assert np.array_equal(np.concatenate(pieces), whole)
    model.close()


def test_company_in_the_batch_changes_no_bit(model, texts):
    alone = [one_at_a_time(model, text) for text in texts]
    rng = np.random.default_rng(3)
    done = [0] * len(texts)
    found = [[] for _ in texts]
    while any(d < len(text.ids) for d, text in zip(done, texts, strict=True)):
        chosen = [i for i in rng.permutation(4) if done[i] < len(texts[i].ids)][: rng.integers(1, 5)]
        ends = [min(len(texts[i].ids), done[i] + int(rng.choice([1, 1, 2, 3, 17, 70]))) for i in chosen]
        logits = model.step([texts[i].chunk(done[i], end) for i, end in zip(chosen, ends, strict=True)])
        for i, end in zip(chosen, ends, strict=True):
            found[i].append(logits[: end - done[i]])
            logits = logits[end - done[i] :]
            done[i] = end
        assert len(logits) == 0
    for expected, pieces in zip(alone, found, strict=True):
        assert np.array_equal(np.concatenate(pieces), expected)


def test_a_shared_prefix_changes_no_bit(model, texts):
    text = texts[0]
    expected = one_at_a_time(model, text)
    sharing = Sequence(text.ids, [text.blocks[0], *texts[1].blocks[1:]])
    assert np.array_equal(model.step([sharing.chunk(64, 150)]), expected[64:])


def test_a_restart_and_other_threads_change_no_bit(int8_file, texts, monkeypatch):
    monkeypatch.setattr(heads, "SMALL_WORK", 0)
    monkeypatch.setattr(forward_module, "SMALL_WORK", 0)
    results = []
    for threads in (1, 2, 3, 8):
        model = LiteRTModel(int8_file, 12, threads)
        results.append(model.step([text.chunk(0, len(text.ids)) for text in texts]))
        model.close()
    assert all(np.array_equal(result, results[0]) for result in results)


def test_attention_compiled_for_fewer_instructions_changes_no_bit(products, int8_file, texts, tmp_path):
    model = LiteRTModel(int8_file, 12, 2)
    expected = model.step([texts[0].chunk(0, 150)])
    model.close()
    program = (
        "import sys, numpy as np; from pathlib import Path; from services.litert.model import LiteRTModel, Tokens\n"
        f"model = LiteRTModel(Path({str(int8_file)!r}), 12, 2)\n"
        f"assert model.products == {fewer(products)[0]!r}, model.products\n"
        f"logits = model.step([Tokens({texts[0].blocks}, 0, {texts[0].ids}, 150)])\n"
        f"np.save({str(tmp_path / 'logits.npy')!r}, logits)\n"
    )
    environment = os.environ | fewer(products)[1]
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, timeout=500)
    assert np.array_equal(np.load(tmp_path / "logits.npy"), expected)


def fewer(products: int) -> tuple[str, dict[str, str]]:
    """The products of a processor that has less, and settings that make this one such: no AMX, or nothing special."""
    if not products:
        return "litert", {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    without_tiles = [feature for feature in codegen.get_host_cpu_features().split(",") if "amx" not in feature]
    return "vnni", {"NUMBA_CPU_FEATURES": ",".join(without_tiles)}


def test_what_stood_in_a_block_before_changes_no_bit(model, texts):
    expected = one_at_a_time(model, texts[0])
    other = Sequence(texts[0].ids[::-1], texts[0].blocks)
    model.step([other.chunk(0, 150)])
    assert np.array_equal(one_at_a_time(model, texts[0]), expected)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_token_that_overflows_changes_only_what_comes_after_it(precision, config, params, tmp_path):
    huge = 7
    params = params | {name: params[name] * np.float32(0.01) for name in ("model/ln_f/g", "model/ln_f/b")}
    params["model/wte"] = params["model/wte"].copy()
    params["model/wte"][huge] = 1e38  # the sum over its channels is beyond float32
    convert(config, params, tmp_path / "engine", precision)
    model = LiteRTModel(tmp_path / "engine", 3, 2)
    ids = np.random.default_rng(5).integers(huge + 1, config.n_vocab, size=150).tolist()
    text = Sequence([*ids[:70], huge, *ids[71:]], [2, 0, 1])
    first = model.step([text.chunk(0, 70)])
    assert np.isfinite(first).all()
    whole = model.step([text.chunk(0, 150)])
    assert np.array_equal(whole[:70], first)
    assert np.array_equal(one_at_a_time(model, text), whole, equal_nan=True)
    rng = np.random.default_rng(2)
    for _ in range(10):
        cuts = [0, *sorted(rng.choice(np.arange(1, 150), size=5, replace=False)), 150]
        pieces = [model.step([text.chunk(a, b)]) for a, b in pairwise(cuts)]
        assert np.array_equal(np.concatenate(pieces), whole, equal_nan=True)
    model.step([Sequence([huge] * 150, text.blocks).chunk(0, 150)])
    assert np.array_equal(model.step([text.chunk(0, 3)]), first[:3])
    assert np.array_equal(one_at_a_time(model, text), whole, equal_nan=True)
    model.close()


def test_only_the_rows_asked_for_come_back_in_order(model, texts):
    full = [model.step([text.chunk(0, len(text.ids))]) for text in texts]
    wanted = [3, 0, 129, 1]
    logits = model.step([text.chunk(0, len(text.ids), n) for text, n in zip(texts, wanted, strict=True)])
    expected = np.concatenate([rows[len(rows) - n :] for rows, n in zip(full, wanted, strict=True)])
    assert np.array_equal(logits, expected)


def test_a_step_may_hold_more_tokens_than_go_through_at_once(int8_file, texts):
    model = LiteRTModel(int8_file, 12, 2)
    assert sum(len(text.ids) for text in texts) > MAX_ROWS
    together = model.step([text.chunk(0, len(text.ids)) for text in texts])
    apart = np.concatenate([model.step([text.chunk(0, len(text.ids))]) for text in texts])
    model.close()
    assert np.array_equal(together, apart)


@pytest.mark.parametrize(
    "chunk",
    [
        Tokens([0], 0, [], 0),
        Tokens([0], 0, [1], 2),
        Tokens([0], -1, [1]),
        Tokens([0], 64, [1]),
        Tokens([0, 1, 2], 150, [1]),
        Tokens([12], 0, [1]),
        Tokens([-1], 0, [1]),
        Tokens([0], 0, [301]),
        Tokens([0], 0, [-1]),
    ],
)
def test_a_chunk_without_room_is_refused_before_anything_is_written(model, texts, chunk):
    model.step([texts[0].chunk(0, 100)])
    expected = model.step([texts[0].chunk(100, 150)])
    with pytest.raises(ValueError):
        model.step([Tokens(texts[0].blocks, 0, [5], 1), chunk])
    assert np.array_equal(model.step([texts[0].chunk(100, 150)]), expected)


def test_a_model_that_is_dropped_ends_its_threads(int8_file):
    gc.collect()
    before = threading.active_count()
    model = LiteRTModel(int8_file, 4, 3)
    assert threading.active_count() == before + 2
    del model
    gc.collect()
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_of_a_closed_model_is_refused(int8_file, texts, threads):
    model = LiteRTModel(int8_file, 12, threads)
    for _ in range(2):
        model.close()
        with pytest.raises(RuntimeError, match="closed"):
            model.step([texts[0].chunk(0, 150)])


def test_weights_that_compute_no_numbers_are_refused(config, params, tmp_path):
    huge = params | {"model/ln_f/g": np.full_like(params["model/ln_f/g"], 3e38)}
    convert(config, huge, tmp_path / "engine")
    with pytest.raises(Corrupt, match="engine"):
        LiteRTModel(tmp_path / "engine", 1, 1)


def test_serving_loads_no_tensorflow(int8_file):
    program = (
        "import sys; from pathlib import Path; from services.litert.model import LiteRTModel, Tokens\n"
        f"LiteRTModel(Path({str(int8_file)!r}), 2, 2).step([Tokens([1], 0, [1, 2, 3])])\n"
        "sys.exit('tensorflow' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=500)

"""The report of a conversion, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from services.common.errors import Corrupt, FailedPrecondition
from services.gpt2.model import init_params
from services.litert import engine_file, verified
from services.litert import verify as verify_module
from services.litert.convert import convert
from services.litert.stored import find_engine, weights_digest
from services.litert.verified import convert_verified
from services.litert.verify import Report, verify
from tests.unit.litert.texts import random_params

ROWS = [np.random.default_rng(row).integers(301, size=length).tolist() for row, length in enumerate([150, 2, 60])]


def test_a_float32_file_agrees_with_its_weights(config, params, float32_file):
    report = verify(float32_file, config, params, ROWS)
    assert report.tokens == 149 + 1 + 59
    assert report.agreement == 1
    assert report.perplexity == pytest.approx(report.float32_perplexity, rel=1e-5)
    assert report.is_good


def test_perplexity_is_that_of_the_float32_forward(config, params, float32_file):
    from services.gpt2.model import token_losses

    row = np.array(ROWS[0])
    losses = token_losses(params, row[None, :-1], row[None, 1:], config).numpy()
    assert verify(float32_file, config, params, ROWS[:1]).float32_perplexity == pytest.approx(
        np.exp(losses.mean()), 1e-5
    )


def test_the_file_of_other_weights_is_not_good(config, params, tmp_path):
    peaked = params | {"model/ln_f/g": params["model/ln_f/g"] * 3}
    rows = [[int(i) for i in np.arange(100) % 301]]
    convert(config, random_params(config, seed=9) | {"model/ln_f/g": params["model/ln_f/g"] * 9}, tmp_path / "engine")
    report = verify(tmp_path / "engine", config, peaked, rows)
    assert report.agreement < 0.5
    assert not report.is_good


def test_rows_that_cannot_be_compared_are_refused(config, params, float32_file):
    for rows in ([], [[1]], [[1] * 151]):
        with pytest.raises(ValueError, match="expected 2 to 150"):
            verify(float32_file, config, params, rows)


def test_a_verified_conversion_leaves_file_and_report(config, tmp_path):
    report = convert_verified(config, init_params(config, seed=2), tmp_path, ROWS, "abc")
    assert json.loads((tmp_path / "engine.json").read_text()) == report
    assert report["weights"] == "abc"
    assert report["precision"] == "int8"
    assert report["bytes"] == (tmp_path / "engine.litert").stat().st_size
    assert report["agreement"] > 0.9


def test_without_rows_predictions_are_compared_on_what_the_model_writes_itself(config, params, tmp_path):
    report = convert_verified(config, params, tmp_path, None, "abc", "float32", first_id=300)
    assert report["tokens_compared"] == 4 * 127
    assert report["agreement"] == 1


def test_where_int8_is_too_far_off_the_file_is_in_float32_and_says_so(config, params, tmp_path, monkeypatch):
    risen = iter([2.0, 1.0])

    def compare(path, config, params, rows):
        return Report(10, 0.5, 8.0 * next(risen), 8.0)

    monkeypatch.setattr(verified, "verify", compare)
    report = convert_verified(config, params, tmp_path, ROWS, "abc")
    assert report["precision"] == engine_file.read(tmp_path / "engine.litert").precision == "float32"
    assert report["instead_of"] == {"precision": "int8", "perplexity": 16.0}
    assert find_engine(tmp_path, "abc", "int8"), "who asks for int8 does not convert again and again"


def test_a_conversion_beyond_the_bound_leaves_nothing(config, params, tmp_path, monkeypatch):
    monkeypatch.setattr(verify_module, "MAX_PERPLEXITY_RISE", -0.5)
    with pytest.raises(FailedPrecondition, match="perplexity") as error:
        convert_verified(config, params, tmp_path, ROWS, "abc")
    assert error.value.reason == "ENGINE_INEXACT"
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_no_numbers_are_refused(config, params, tmp_path):
    broken = params | {"model/wte": np.full_like(params["model/wte"], np.nan)}
    with pytest.raises(Corrupt, match="model/wte"):
        convert_verified(config, broken, tmp_path, ROWS, "abc")
    assert list(tmp_path.iterdir()) == []


def test_an_engine_file_is_found_by_its_weights_and_precision(config, params, tmp_path):
    assert find_engine(tmp_path, "abc") is None
    convert_verified(config, params, tmp_path, ROWS, "abc", "float32")
    assert find_engine(tmp_path, "abc") == find_engine(tmp_path, "abc", "float32") == tmp_path / "engine.litert"
    assert find_engine(tmp_path, "abc", "int8") is None
    assert find_engine(tmp_path, "abd") is None
    (tmp_path / "engine.json").write_text("[]")
    assert find_engine(tmp_path, "abc") is None


def test_models_are_known_by_weights_and_shape_not_by_the_step_they_are_named_by():
    one = {"model-4.data-00000-of-00001": "a", "model-4.index": "i", "hparams.json": "h"}
    same = {"model-9.data-00000-of-00001": "a", "model-9.index": "j", "hparams.json": "h"}
    other = {"model-4.data-00000-of-00001": "b", "model-4.index": "i", "hparams.json": "h"}
    heads = {"model-4.data-00000-of-00001": "a", "model-4.index": "i", "hparams.json": "g"}
    assert weights_digest(one) == weights_digest(same)
    assert len({weights_digest(files) for files in (one, other, heads)}) == 3


def test_perplexity_beyond_numbers_is_infinite_and_not_good(config, params, tmp_path):
    wild = params | {"model/ln_f/g": params["model/ln_f/g"] * 2000}
    convert(config, wild, tmp_path / "engine", "float32")
    report = verify(tmp_path / "engine", config, params | {"model/ln_f/g": params["model/ln_f/g"] * 1}, ROWS)
    assert report.perplexity == float("inf")
    assert not report.is_good

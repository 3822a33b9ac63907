"""The report of a conversion, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from services.common.errors import FailedPrecondition
from services.gpt2.model import init_params
from services.litert import verify as verify_module
from services.litert.convert import convert
from services.litert.verified import convert_verified
from services.litert.verify import verify
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
    facts = json.loads((tmp_path / "engine.json").read_text())
    assert facts["weights"] == "abc"
    assert facts["bytes"] == (tmp_path / "engine.litert").stat().st_size
    assert facts["perplexity"] == report.perplexity
    assert facts["agreement"] == report.agreement > 0.9


def test_a_conversion_beyond_the_bound_leaves_nothing(config, params, tmp_path, monkeypatch):
    monkeypatch.setattr(verify_module, "MAX_PERPLEXITY_RISE", -0.5)
    with pytest.raises(FailedPrecondition, match="perplexity") as error:
        convert_verified(config, params, tmp_path, ROWS, "abc")
    assert error.value.reason == "ENGINE_INEXACT"
    assert list(tmp_path.iterdir()) == []

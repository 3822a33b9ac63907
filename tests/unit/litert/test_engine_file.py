"""Engine files: the same bytes for the same weights, whole or absent, and damage is told."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from services.common.errors import Corrupt
from services.litert import engine_file
from services.litert.convert import convert
from services.litert.model import LiteRTModel


def test_the_same_weights_give_the_same_bytes(config, params, int8_file, tmp_path):
    convert(config, params, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == int8_file.read_bytes()


def test_a_file_holds_its_tables(config, params, int8_file, float32_file):
    exact = engine_file.read(float32_file)
    assert exact.config == config
    assert np.array_equal(exact.wte, params["model/wte"])
    assert np.array_equal(exact.wpe, params["model/wpe"])
    rounded = engine_file.read(int8_file)
    error = np.abs(rounded.wte * rounded.wte_scales[:, None] - params["model/wte"])
    assert (error <= 0.5001 * rounded.wte_scales[:, None]).all()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.2, 0.5, 0.9, 0.98, 0.999, 1.0])
def test_any_changed_byte_is_found(int8_file, tmp_path, share):
    content = bytearray(int8_file.read_bytes())
    content[int(share * (len(content) - 1))] ^= 4
    damaged = tmp_path / "engine.litert"
    damaged.write_bytes(content)
    with pytest.raises(Corrupt, match=r"engine\.litert") as error:
        LiteRTModel(damaged, 1, 1)
    assert error.value.metadata == {"file": str(damaged)}


@pytest.mark.parametrize("length", [0, 1, 47, 48, 1000, -1])
def test_a_file_cut_short_is_found(int8_file, tmp_path, length):
    damaged = tmp_path / "engine.litert"
    damaged.write_bytes(int8_file.read_bytes()[:length])
    with pytest.raises(Corrupt, match=r"engine\.litert"):
        LiteRTModel(damaged, 1, 1)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(Corrupt, match=r"absent\.litert is missing"):
        LiteRTModel(tmp_path / "absent.litert", 1, 1)


def test_a_file_of_another_format_is_refused(config, params, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_file, "FORMAT", 99)
    convert(config, params, tmp_path / "engine")
    monkeypatch.undo()
    with pytest.raises(Corrupt, match="format 99"):
        LiteRTModel(tmp_path / "engine", 1, 1)


def test_tables_stand_at_the_end_as_documented(int8_file, config):
    content = int8_file.read_bytes()
    assert content.endswith(engine_file.MAGIC)
    (length,) = struct.unpack("<Q", content[-48:-40])
    assert json.loads(content[-48 - length : -48])["config"] == config.to_hparams()


def test_weights_of_another_shape_or_not_numbers_are_refused(config, params, tmp_path):
    with pytest.raises(ValueError, match="model/wpe"):
        convert(config, {k: v for k, v in params.items() if k != "model/wpe"}, tmp_path / "engine")
    spoiled = params | {"model/h1/mlp/c_fc/b": np.full_like(params["model/h1/mlp/c_fc/b"], np.nan)}
    with pytest.raises(ValueError, match="h1/mlp/c_fc/b"):
        convert(config, spoiled, tmp_path / "engine")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing(config, params, tmp_path, monkeypatch):
    def fail(_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(engine_file, "sync_contents", fail)
    with pytest.raises(OSError, match="no space"):
        convert(config, params, tmp_path / "engine")
    assert list(tmp_path.iterdir()) == []

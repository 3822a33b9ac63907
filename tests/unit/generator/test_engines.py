"""Which engine runs a model, and where its file comes from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.common.errors import Corrupt
from services.common.settings import SettingsError, read
from services.generator import engines
from services.generator.engine import Chunk
from services.generator.published import scan
from services.generator.settings import PREFIX, GeneratorSettings
from services.litert.stored import ENGINE
from tests.rpc.generator.serving import publish


def only(folder: Path):
    (found,) = scan(folder).values()
    return found


@pytest.mark.parametrize(
    ("engine", "precision", "devices", "chosen"),
    [
        ("auto", "auto", False, "litert"),
        ("auto", "auto", True, "tensorflow"),
        ("auto", "int8", True, "litert"),
        ("auto", "bfloat16", False, "tensorflow"),
        ("litert", "auto", True, "litert"),
        ("tensorflow", "auto", False, "tensorflow"),
    ],
)
def test_the_engine_is_the_one_asked_for_else_the_one_that_fits(
    engine, precision, devices, chosen, tmp_path, monkeypatch
):
    monkeypatch.setattr(engines, "GPU_DEVICES", (tmp_path if devices else tmp_path / "nothing",))
    monkeypatch.setattr(engines, "_has_cuda", lambda: True)
    assert engines.choose(GeneratorSettings(engine=engine, precision=precision)) == chosen


def test_a_gpu_is_no_use_to_a_tensorflow_without_its_libraries(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "GPU_DEVICES", (tmp_path,))
    monkeypatch.setattr(engines, "_has_cuda", lambda: False)
    assert engines.choose(GeneratorSettings()) == "litert"


def test_a_precision_that_the_engine_has_not_is_refused_at_the_start():
    with pytest.raises(SettingsError, match="PRECISION is bfloat16; engine litert computes in int8 or float32"):
        read(GeneratorSettings, PREFIX, {f"{PREFIX}ENGINE": "litert", f"{PREFIX}PRECISION": "bfloat16"})


def test_the_published_engine_file_is_taken_as_it_is(tmp_path):
    publish(tmp_path / "models", "owl", 1)
    engine = engines.make(only(tmp_path / "models"), GeneratorSettings(slots=3), tmp_path / "cache")
    assert (engine.name, engine.context, engine.num_blocks) == ("litert", 64, 3)
    assert engine.step([Chunk([0], 0, [1, 2], 2)]).shape == (2, 257)
    assert not (tmp_path / "cache").exists()


def test_a_model_without_an_engine_file_is_converted_once(tmp_path):
    publish(tmp_path / "models", "owl", 1, engine=False)
    engines.make(only(tmp_path / "models"), GeneratorSettings(slots=1), tmp_path / "cache")
    (made,) = (tmp_path / "cache" / "engines").glob(f"*/{ENGINE}")
    time = made.stat().st_mtime_ns
    engines.make(only(tmp_path / "models"), GeneratorSettings(slots=1), tmp_path / "cache")
    assert made.stat().st_mtime_ns == time


def test_a_file_of_our_own_that_is_damaged_is_made_anew(tmp_path):
    publish(tmp_path / "models", "owl", 1, engine=False)
    made = [engines.make(only(tmp_path / "models"), GeneratorSettings(slots=1), tmp_path / "cache")]
    (path,) = (tmp_path / "cache" / "engines").glob(f"*/{ENGINE}")
    path.write_bytes(path.read_bytes()[:-1])
    made.append(engines.make(only(tmp_path / "models"), GeneratorSettings(slots=1), tmp_path / "cache"))
    assert (made[0].step([Chunk([0], 0, [1])]) == made[1].step([Chunk([0], 0, [1])])).all()


def test_a_model_that_cannot_be_converted_names_the_damaged_file(tmp_path):
    folder = publish(tmp_path / "models", "owl", 1, engine=False)
    next(folder.glob("*.data-*")).write_bytes(b"")
    with pytest.raises(Corrupt, match="model-10"):
        engines.make(only(tmp_path / "models"), GeneratorSettings(slots=1), tmp_path / "cache")
    assert list((tmp_path / "cache" / "engines").iterdir()) == []


def test_files_that_were_made_here_do_not_fill_the_disk(tmp_path):
    cache = tmp_path / "cache" / "engines"
    for number in range(20):
        (cache / f"old-{number}").mkdir(parents=True)
        os.utime(cache / f"old-{number}", (number, number))
    publish(tmp_path / "models", "owl", 1, engine=False)
    engines.make(only(tmp_path / "models"), GeneratorSettings(slots=1), tmp_path / "cache")
    left = {path.name for path in cache.glob("old-*")}
    assert left == {f"old-{number}" for number in range(13, 20)}


def test_slots_give_way_to_the_cache_that_may_be_taken(tmp_path, caplog):
    publish(tmp_path / "models", "owl", 1)
    settings = GeneratorSettings(slots=2000, cache_mb=1)
    engine = engines.make(only(tmp_path / "models"), settings, tmp_path / "cache")
    assert 1 <= engine.num_blocks < 2000
    assert "NONESUCH_GENERATOR_CACHE_MB" in caplog.text

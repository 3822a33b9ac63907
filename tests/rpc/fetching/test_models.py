"""What is made of the files: a right model, or a clear error about the one that they hold."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import InvalidRequest, NotFound
from services.gpt2.hugging_face import hugging_face_name
from services.trainer.fetching import space
from services.trainer.fetching.names import KNOWN, Wanted, folder_name, resolve
from services.trainer.fetching.sources import HUB, OPENAI
from tests.hugging_face_files import hugging_face_tensors, write_hugging_face
from tests.rpc.fetching.fake_sources import (
    PAGE,
    FakeSources,
)
from tests.rpc.fetching.trial import BOTH, WANTED, Trial, weights_of
from tests.unit.trainer.tiny import CONFIG


@BOTH
def test_a_fetched_base_holds_the_weights_that_the_source_has(fake, tmp_path, source):
    trial = Trial(fake, tmp_path, source)
    folder = trial.gives_the_model()
    assert {"checkpoint", "hparams.json", "encoder.json", "vocab.bpe", "model.ckpt.index"} <= set(
        path.name for path in folder.iterdir()
    )
    phases = [facts[0] for facts in trial.told]
    assert phases[0] == "asking" and phases[-1] == "checking"
    assert not trial.remarks


def test_weights_of_another_size_are_refused_by_the_bucket_s_own_word(fake, tmp_path):
    fake.files["/gpt-2/models/tiny/model.ckpt.data-00000-of-00001"] = PAGE
    Trial(fake, tmp_path, OPENAI).fails(f"has {len(PAGE)} bytes", "error page, or another model")
    assert not fake.asked_for("model.ckpt.data-00000-of-00001")


def test_damaged_weights_without_a_checksum_are_found_by_tensorflow_s(fake, tmp_path):
    name = "/gpt-2/models/tiny/model.ckpt.data-00000-of-00001"
    content = bytearray(fake.files[name])
    content[5000] ^= 1
    fake.files[name] = bytes(content)
    Trial(fake, tmp_path, OPENAI).fails("damaged at")


def test_a_full_disk_is_known_before_the_weights_are_fetched(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(space, "SPARE_BYTES", 1 << 60)
    for source in (HUB, OPENAI):
        Trial(fake, tmp_path / source, source).fails("GB free", "make room")
        assert not fake.asked_for(weights_of(fake, source))


def spoiled(tmp_path: Path, fake: FakeSources, **changes: Any) -> Trial:
    """A fetch of a repository whose files are those of `write_hugging_face` with changes."""
    write_hugging_face(tmp_path / "spoiled", **changes)
    fake.add_repository("someone/spoiled", tmp_path / "spoiled")
    return Trial(fake, tmp_path / "fetch", HUB, wanted=Wanted("spoiled", "someone/spoiled"))


def test_another_architecture_is_refused_before_its_weights_are_fetched(fake, tmp_path):
    spoiled(tmp_path, fake, model_type="llama").fails("'llama'", "only 'gpt2'")
    assert not fake.asked_for(weights_of(fake, HUB))


def test_wrong_shapes_are_refused_and_the_tensor_is_named(fake, tmp_path):
    tensors = hugging_face_tensors()
    tensors["h.1.mlp.c_fc.weight"] = tensors["h.1.mlp.c_fc.weight"].T
    spoiled(tmp_path, fake, tensors=tensors).fails("h.1.mlp.c_fc.weight", "[64, 16]")


def test_a_size_that_is_not_the_one_named_is_refused(fake, tmp_path):
    wanted = replace(WANTED, config=replace(CONFIG, n_layer=3))
    Trial(fake, tmp_path, HUB, wanted=wanted).fails("'n_layer': 2", "'n_layer': 3")


def test_a_repository_of_pickles_is_refused(fake, tmp_path, hub_folder):
    shutil.copytree(hub_folder, tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    fake.add_repository("someone/pickled", tmp_path / "pickled")
    trial = Trial(fake, tmp_path / "fetch", HUB, wanted=Wanted("pickled", "someone/pickled"))
    trial.fails("pickle", "model.safetensors")


def test_weights_in_several_files_are_joined(fake, tmp_path, hub_folder):
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "sharded"
    shutil.copytree(hub_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[:9], names[9:]), start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    fake.add_repository("someone/sharded", folder)
    Trial(fake, tmp_path / "fetch", HUB, wanted=Wanted("x", "someone/sharded")).gives_the_model()


def test_names_mean_the_published_sizes():
    assert resolve("117M") == resolve("124M") == resolve("gpt2") == resolve("openai-community/gpt2")
    assert resolve("345m").name == "355M" and resolve("345m").in_bucket == "355M"
    assert resolve("distilgpt2").config.n_layer == 6 and not resolve("distilgpt2").in_bucket
    assert resolve("Some-One/my.model") == Wanted("Some-One--my.model", "Some-One/my.model")
    for name in ("", "125M", "a/b/c", "../x", "-a/b", "fresh/124M", "runs/x", "models/x@2"):
        with pytest.raises((NotFound, InvalidRequest)):
            resolve(name)
    assert {known.name for known in KNOWN} == {"124M", "355M", "774M", "1558M", "distilgpt2"}


def test_what_names_a_run_or_a_model_names_no_repository():
    assert folder_name("runs/voice@best") == "runs/voice@best" and folder_name("fresh/124M") == "fresh/124M"
    assert folder_name("345M") == "355M" and folder_name("someone/tiny") == "someone--tiny"


def test_hugging_face_s_names_are_those_of_every_array():
    assert hugging_face_name("model/h11/mlp/c_proj/b") == "h.11.mlp.c_proj.bias"
    assert hugging_face_name("model/wpe") == "wpe.weight"

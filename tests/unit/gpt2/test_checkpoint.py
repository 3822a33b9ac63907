"""OpenAI's folder layout: what is written is read back, and damage is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from services.common.errors import Corrupt
from services.gpt2.checkpoint import find_prefix, read_weights, write_weights
from services.gpt2.config import GPT2Config
from services.gpt2.pointer import write_pointer

DATA = "model-7.data-00000-of-00001"


@pytest.fixture
def folder(tmp_path: Path, tiny: GPT2Config, tiny_params: dict[str, np.ndarray]) -> Path:
    """A tiny model, written by us."""
    folder = tmp_path / "run1"
    folder.mkdir()
    write_weights(folder, 7, tiny_params, tiny)
    return folder


def test_weights_round_trip_bit_for_bit(folder: Path, tiny: GPT2Config, tiny_params: dict[str, np.ndarray]) -> None:
    config, params = read_weights(folder)

    assert config == tiny
    assert params.keys() == tiny_params.keys()
    assert all(np.array_equal(params[name], tiny_params[name]) for name in params)


def test_a_folder_holds_openais_files_and_variables_only(folder: Path, tiny: GPT2Config) -> None:
    names = {path.name for path in folder.iterdir()}
    variables = {name: tuple(shape) for name, shape in tf.train.list_variables(str(folder / "model-7"))}

    assert names == {"model-7.index", DATA, "hparams.json", "checkpoint"}
    assert variables == tiny.shapes
    assert tf.train.latest_checkpoint(str(folder)) == str(folder / "model-7")


def test_variables_can_be_written_as_they_are(
    tmp_path: Path, tiny: GPT2Config, tiny_params: dict[str, np.ndarray]
) -> None:
    write_weights(tmp_path, 0, {name: tf.Variable(value) for name, value in tiny_params.items()}, tiny)

    assert np.array_equal(read_weights(tmp_path)[1]["model/wte"], tiny_params["model/wte"])


def test_a_checkpoint_of_a_tf1_saver_with_optimizer_slots_is_read(
    tmp_path: Path, tiny: GPT2Config, tiny_params: dict[str, np.ndarray]
) -> None:
    """As gpt-2-simple and nshepperd/gpt-2 write it: Adam's slots and a counter beside the weights."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        for name, value in tiny_params.items():
            v1.get_variable(name, initializer=value, use_resource=False)
            v1.get_variable(f"{name}/Adam", initializer=value * 0, use_resource=False)
        v1.get_variable("beta1_power", initializer=0.9)
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    (tmp_path / "hparams.json").write_text(json.dumps(tiny.to_hparams()))
    (tmp_path / "counter").write_text("7\n")

    config, params = read_weights(tmp_path)

    assert config == tiny
    assert all(np.array_equal(params[name], tiny_params[name]) for name in tiny_params)


def test_the_pointer_may_lead_into_a_folder_below(folder: Path) -> None:
    (folder / "step-7").mkdir()
    for name in ("model-7.index", DATA):
        (folder / name).rename(folder / "step-7" / name)
    write_pointer(folder, "step-7/model-7")

    assert find_prefix(folder) == folder / "step-7" / "model-7"
    assert tf.train.latest_checkpoint(str(folder)) == str(folder / "step-7" / "model-7")
    read_weights(folder)


@pytest.mark.parametrize("named", ["/home/someone/checkpoint/run1/model-7", "C:\\\\gpt2\\\\run1\\\\model-7"])
def test_a_pointer_to_another_machines_path_finds_the_file_beside_it(folder: Path, named: str) -> None:
    write_pointer(folder, named)

    assert find_prefix(folder) == folder / "model-7"


def test_a_copied_folder_is_not_read_where_it_was_copied_from(folder: Path) -> None:
    write_pointer(folder, str(folder / "model-7"))
    copy = shutil.copytree(folder, folder.parent / "copy")

    assert find_prefix(copy) == copy / "model-7"


def test_what_we_write_is_restored_by_a_tf1_saver(
    folder: Path, tiny: GPT2Config, tiny_params: dict[str, np.ndarray]
) -> None:
    """As gpt-2-simple and nshepperd/gpt-2 restore it."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        variables = {name: v1.get_variable(name, shape, use_resource=False) for name, shape in tiny.shapes.items()}
        v1.train.Saver().restore(session, tf.train.latest_checkpoint(str(folder)))
        restored = session.run(variables)

    assert all(np.array_equal(restored[name], tiny_params[name]) for name in tiny_params)


def test_a_single_checkpoint_needs_no_pointer(folder: Path) -> None:
    (folder / "checkpoint").unlink()

    read_weights(folder)


def test_arrays_of_another_architecture_are_not_written(
    tmp_path: Path, tiny: GPT2Config, tiny_params: dict[str, np.ndarray]
) -> None:
    with pytest.raises(ValueError, match="model/wpe"):
        write_weights(tmp_path, 1, {**tiny_params, "model/wpe": np.zeros([3, 8], np.float32)}, tiny)


def remove(name: str) -> Callable[[Path], None]:
    """Delete a file."""
    return lambda folder: (folder / name).unlink()


def cut(name: str, share: float) -> Callable[[Path], None]:
    """Keep the first part of a file."""

    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return damage


def flip(name: str) -> Callable[[Path], None]:
    """Change one bit in the middle of a file."""

    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return damage


def fill(name: str, content: bytes) -> Callable[[Path], None]:
    """Replace a file's content."""
    return lambda folder: (folder / name).write_bytes(content)


def point_to(prefix: str) -> Callable[[Path], None]:
    """Let `checkpoint` name other weights."""
    return lambda folder: write_pointer(folder, prefix)


def two_and_no_pointer(folder: Path) -> None:
    """Leave two checkpoints and nothing that says which."""
    (folder / "checkpoint").unlink()
    shutil.copy(folder / "model-7.index", folder / "model-8.index")


def fewer_layers(folder: Path) -> None:
    """Let hparams.json promise one layer less than there are."""
    change_hparams(folder, n_layer=1)


def more_layers(folder: Path) -> None:
    """Let hparams.json promise one layer more than there are."""
    change_hparams(folder, n_layer=3)


def other_vocabulary(folder: Path) -> None:
    """Let hparams.json promise another vocabulary."""
    change_hparams(folder, n_vocab=12)


def change_hparams(folder: Path, **change: int) -> None:
    """Overwrite entries of hparams.json."""
    hparams = json.loads((folder / "hparams.json").read_text())
    (folder / "hparams.json").write_text(json.dumps({**hparams, **change}))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (remove("model-7.index"), "model-7.index"),
        (remove(DATA), DATA),
        (point_to("step-9/model-9"), "step-9/model-9.index"),
        (point_to("../model-9"), "model-9.index"),
        (point_to(".."), "checkpoint"),
        (remove("hparams.json"), "hparams.json"),
        (cut(DATA, 0), DATA),
        (cut(DATA, 0.5), DATA),
        (cut(DATA, 0.999), DATA),
        (flip(DATA), DATA),
        (cut("model-7.index", 0), "model-7.index"),
        (cut("model-7.index", 0.5), "model-7.index"),
        (flip("model-7.index"), "model-7.index"),
        (fill("model-7.index", b"\0" * 700), "model-7.index"),
        (fill("hparams.json", b"{"), "hparams.json"),
        (fill("hparams.json", b"\xff\xfe"), "hparams.json"),
        (fill("checkpoint", b"\x80 not a pointer"), "checkpoint"),
        (two_and_no_pointer, "checkpoint"),
        (fewer_layers, "model-7.index"),
        (more_layers, "model-7.index"),
        (other_vocabulary, "model-7.index"),
    ],
)
def test_damage_is_corrupt_and_names_the_file(folder: Path, damage: Callable[[Path], None], named: str) -> None:
    damage(folder)

    with pytest.raises(Corrupt) as raised:
        read_weights(folder)

    assert raised.value.metadata["file"] == str(folder / named)
    assert named in raised.value.message


def test_an_empty_folder_is_corrupt(tmp_path: Path, tiny: GPT2Config) -> None:
    (tmp_path / "hparams.json").write_text(json.dumps(tiny.to_hparams()))

    with pytest.raises(Corrupt, match="holds no weights"):
        read_weights(tmp_path)

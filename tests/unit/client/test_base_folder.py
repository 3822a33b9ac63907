from __future__ import annotations

import pytest

from services.client.base_folder import layout_files
from services.common.errors import InvalidRequest, NotFound


def names(folder):
    return [path.name for path in layout_files(folder)]


def touch(folder, *files):
    for name in files:
        (folder / name).write_text("x")


def test_openais_layout_is_sent_without_the_graph(tmp_path):
    touch(tmp_path, "hparams.json", "encoder.json", "vocab.bpe", "README.md", "model.ckpt.meta")
    touch(tmp_path, "checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001")

    assert names(tmp_path) == [
        "checkpoint",
        "encoder.json",
        "hparams.json",
        "model.ckpt.data-00000-of-00001",
        "model.ckpt.index",
        "vocab.bpe",
    ]


def test_hugging_faces_layout_is_sent_without_what_is_not_needed(tmp_path):
    touch(tmp_path, "config.json", "model.safetensors", "vocab.json", "merges.txt", "generation_config.json", "x.bin")

    assert names(tmp_path) == ["config.json", "merges.txt", "model.safetensors", "vocab.json"]


def test_hugging_faces_shards_are_sent_with_their_index(tmp_path):
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    touch(tmp_path, "config.json", "tokenizer.json", "model.safetensors.index.json", *shards)

    assert names(tmp_path) == ["config.json", *shards, "model.safetensors.index.json", "tokenizer.json"]


def test_pickles_are_not_sent(tmp_path):
    touch(tmp_path, "config.json", "pytorch_model.bin", "vocab.json", "merges.txt")

    with pytest.raises(InvalidRequest, match="pickle"):
        layout_files(tmp_path)


def test_of_several_checkpoints_the_named_one_is_sent(tmp_path):
    for step in (100, 200):
        touch(tmp_path, f"model-{step}.index", f"model-{step}.data-00000-of-00001")
    (tmp_path / "checkpoint").write_text(
        'model_checkpoint_path: "model-100"\nall_model_checkpoint_paths: "model-200"\n'
    )

    assert names(tmp_path) == ["checkpoint", "model-100.data-00000-of-00001", "model-100.index"]


def test_a_folder_without_weights_is_refused(tmp_path):
    touch(tmp_path, "hparams.json")

    with pytest.raises(InvalidRequest, match="holds no weights"):
        layout_files(tmp_path)
    with pytest.raises(NotFound, match="is not a folder"):
        layout_files(tmp_path / "nowhere")

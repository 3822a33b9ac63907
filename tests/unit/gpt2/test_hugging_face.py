"""Hugging Face's folders become OpenAI's, or are refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from services.common.errors import Corrupt
from services.gpt2 import checkpoint, hugging_face, model
from services.gpt2.hugging_face import convert
from services.gpt2.hugging_face_config import read_config
from services.tokens.vocabulary import CHARACTER_OF_BYTE, END_OF_TEXT, Vocabulary
from tests.hugging_face_files import hugging_face_tensors, write_hugging_face
from tests.unit.trainer.tiny import CONFIG

Tensors = dict[str, np.ndarray]


def converted(source: Path, target: Path) -> Tensors:
    target.mkdir()
    config = convert(source, target)
    read, params = checkpoint.read_weights(target)
    assert read == config
    return params


def assert_are_the_weights(params: Tensors) -> None:
    for name, value in model.init_params(CONFIG, 1).items():
        np.testing.assert_array_equal(params[name], value)


def refused(tmp_path: Path, source: Path, *words: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(Corrupt) as caught:
        convert(source, target)
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_weights_arrive_unchanged_with_and_without_the_prefix(tmp_path, prefix):
    assert_are_the_weights(converted(write_hugging_face(tmp_path / "hf", prefix=prefix), tmp_path / "ours"))


def test_the_shards_of_the_result_are_one_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(hugging_face, "SHARD_BYTES", 4000)
    assert_are_the_weights(converted(write_hugging_face(tmp_path / "hf"), tmp_path / "ours"))
    assert len(list((tmp_path / "ours").glob("model.ckpt.data-*"))) > 3
    assert not (tmp_path / "ours" / "shards").exists()


def test_masks_and_a_tied_head_are_left_out(tmp_path):
    tensors = hugging_face_tensors()
    tensors["lm_head.weight"] = tensors["wte.weight"].copy()
    for layer in range(CONFIG.n_layer):
        tensors[f"h.{layer}.attn.bias"] = np.tril(np.ones((1, 1, 32, 32), np.float32))
        tensors[f"h.{layer}.attn.masked_bias"] = np.array(-1e4, np.float32)
    assert_are_the_weights(converted(write_hugging_face(tmp_path / "hf", tensors), tmp_path / "ours"))


def test_an_output_layer_of_its_own_is_refused(tmp_path):
    tensors = hugging_face_tensors()
    tensors["lm_head.weight"] = tensors["wte.weight"] + 1
    refused(tmp_path, write_hugging_face(tmp_path / "hf", tensors), "lm_head.weight")


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_become_float32(tmp_path, dtype):
    tensors = {name: value.astype(dtype) for name, value in hugging_face_tensors().items()}
    params = converted(write_hugging_face(tmp_path / "hf", tensors), tmp_path / "ours")
    for name, value in model.init_params(CONFIG, 1).items():
        np.testing.assert_array_equal(params[name], value.astype(dtype).astype(np.float32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("h.1.ln_2.bias"), ["no 'h.1.ln_2.bias'"]),
        (
            lambda tensors: tensors.update({"score.weight": np.ones((2, 16), np.float32)}),
            ["'transformer.score.weight'"],
        ),
        (lambda tensors: tensors.update({"ln_f.weight": np.ones(16, np.int32)}), ["ln_f.weight", "I32"]),
        (lambda tensors: tensors.update({"wpe.weight": np.ones((16, 16), np.float32)}), ["wpe.weight", "[32, 16]"]),
        (lambda tensors: tensors.update({"ln_f.bias": np.full(16, np.nan, np.float32)}), ["ln_f.bias", "not numbers"]),
        (lambda tensors: tensors.update({"h.2.ln_1.bias": np.ones(16, np.float32)}), ["h.2.ln_1.bias"]),
    ],
)
def test_other_tensors_are_refused_by_name(tmp_path, change: Callable[[Tensors], Any], words):
    tensors = hugging_face_tensors()
    change(tensors)
    refused(tmp_path, write_hugging_face(tmp_path / "hf", tensors), *words)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"model_type": "gptj"}, "gptj"),
        ({"model_type": None}, "None"),
        ({"activation_function": "relu"}, "relu"),
        ({"layer_norm_epsilon": 1e-6}, "1e-06"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"scale_attn_weights": False}, "scale_attn_weights"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"n_inner": 100}, "n_inner"),
        ({"n_head": 3}, "n_head"),
        ({"n_layer": "many"}, "n_layer"),
    ],
)
def test_a_config_of_another_computation_is_refused(tmp_path, changes, word):
    refused(tmp_path, write_hugging_face(tmp_path / "hf", **changes), "config.json", word)


def test_what_a_config_leaves_out_is_gpt_2(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert read_config(tmp_path / "config.json").num_parameters == 124_439_808


def test_a_safetensors_file_that_is_cut_short_is_named(tmp_path):
    source = write_hugging_face(tmp_path / "hf")
    whole = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(whole[:-10])
    refused(tmp_path, source, "model.safetensors", "cut short")


def test_an_index_that_names_a_missing_file_is_refused(tmp_path):
    source = write_hugging_face(tmp_path / "hf")
    (source / "model.safetensors.index.json").write_text('{"weight_map": {"wte.weight": "../other.safetensors"}}')
    refused(tmp_path, source, "../other.safetensors")


def test_the_vocabulary_of_a_tokenizer_file_is_taken(tmp_path):
    source = write_hugging_face(tmp_path / "hf")
    entries = json.loads((source / "vocab.json").read_text())
    del entries[END_OF_TEXT]
    (source / "vocab.json").unlink()
    (source / "merges.txt").unlink()
    a, b = CHARACTER_OF_BYTE[ord("a")], CHARACTER_OF_BYTE[ord("b")]
    tokenizer = {
        "model": {"type": "BPE", "vocab": entries | {a + b: 256}, "merges": [[a, b]]},
        "added_tokens": [{"id": 257, "content": END_OF_TEXT}],
    }
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))
    tensors = hugging_face_tensors()
    tensors["wte.weight"] = np.ones((258, CONFIG.n_embd), np.float32)
    save_file(tensors, source / "model.safetensors")
    config = json.loads((source / "config.json").read_text()) | {"vocab_size": 258}
    (source / "config.json").write_text(json.dumps(config))
    converted(source, tmp_path / "ours")
    vocabulary = Vocabulary.load(tmp_path / "ours")
    assert vocabulary.size == 258 and vocabulary.ranks[b"ab"] == 256 and vocabulary.end_of_text_id == 257


def test_added_tokens_become_entries_and_padding_is_left_out(tmp_path):
    tensors = hugging_face_tensors()
    tensors["wte.weight"] = np.concatenate([tensors["wte.weight"], np.ones((63, CONFIG.n_embd), np.float32)])
    source = write_hugging_face(tmp_path / "hf", tensors, vocab_size=320)
    (source / "added_tokens.json").write_text('{"<|pad|>": 257}')
    params = converted(source, tmp_path / "ours")
    assert params["model/wte"].shape == (258, CONFIG.n_embd)
    vocabulary = Vocabulary.load(tmp_path / "ours")
    assert vocabulary.specials == {END_OF_TEXT: 256, "<|pad|>": 257}


def test_a_vocabulary_larger_than_the_model_is_refused(tmp_path):
    source = write_hugging_face(tmp_path / "hf")
    (source / "added_tokens.json").write_text('{"<|pad|>": 257}')
    refused(tmp_path, source, "257", "258")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "vocab.json", "merges.txt"])
def test_a_missing_file_is_named(tmp_path, file):
    source = write_hugging_face(tmp_path / "hf")
    (source / file).unlink()
    refused(tmp_path, source, file, "is missing")

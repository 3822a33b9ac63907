"""The model equals an independent implementation: transformers + PyTorch, with the same random weights.

Logits and the gradient of the loss are compared array by array, by the norm of the difference over the norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
import transformers
from safetensors.numpy import load_file
from transformers.initialization import no_init_weights

from services.gpt2.checkpoint import read_weights
from services.gpt2.config import SIZES, GPT2Config
from services.gpt2.hugging_face import convert, hugging_face_name
from services.gpt2.model import forward, init_params, loss
from tests.hugging_face_files import write_hugging_face

TOLERANCE = 1e-4
CASES = {
    "tiny, whole context": (GPT2Config(n_vocab=11, n_ctx=16, n_embd=8, n_head=2, n_layer=2), 3, 16),
    "one token, one head": (GPT2Config(n_vocab=29, n_ctx=16, n_embd=12, n_head=1, n_layer=3), 2, 1),
    "small": (GPT2Config(n_vocab=300, n_ctx=64, n_embd=96, n_head=6, n_layer=4), 4, 48),
    "124M": (SIZES["124M"], 1, 64),
}


def theirs(name: str) -> str:
    """The name that transformers gives to one of OpenAI's arrays."""
    return f"transformer.{hugging_face_name(name)}"


def oracle(
    config: GPT2Config, params: Mapping[str, np.ndarray], ids: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits after all but the last id, and the loss gradient by OpenAI's names."""
    torch.set_num_threads(1)  # its threads and TensorFlow's wait for each other busily: 5 times slower with two
    with no_init_weights():
        model = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=config.n_vocab,
                n_positions=config.n_ctx,
                n_embd=config.n_embd,
                n_head=config.n_head,
                n_layer=config.n_layer,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=0,
                eos_token_id=0,
            )
        )
    model.tie_weights()
    arrays = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in params.items():
            arrays[theirs(name)].copy_(torch.from_numpy(value.reshape(arrays[theirs(name)].shape)))
    assert {theirs(name) for name in params} == set(arrays)
    logits = model(torch.from_numpy(ids[:, :-1].astype(np.int64))).logits
    targets = torch.from_numpy(ids[:, 1:].astype(np.int64))
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    gradients = {name: arrays[theirs(name)].grad.numpy().reshape(params[name].shape) for name in params}
    return logits.detach().numpy(), gradients


def distance(ours: Any, expected: np.ndarray) -> float:
    """Norm of the difference over the norm."""
    return float(np.linalg.norm(np.asarray(ours) - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("case", CASES)
def test_logits_and_loss_gradient_equal_those_of_transformers(case: str) -> None:
    config, B, T = CASES[case]
    params = init_params(config, seed=11)
    rng = np.random.default_rng(12)
    for value in params.values():
        if value.ndim == 1 or config.n_embd < 768:  # gains, biases, and attention that looks somewhere
            value += rng.normal(0, 0.2, value.shape).astype(np.float32)
    ids = np.random.default_rng(13).integers(0, config.n_vocab, (B, T + 1), dtype=np.int32)

    expected_logits, expected = oracle(config, params, ids)
    weights = {name: tf.constant(value) for name, value in params.items()}
    logits = forward(weights, ids[:, :-1], config)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        nats = loss(weights, ids[:, :-1], ids[:, 1:], config)
    gradients = tape.gradient(nats, weights)

    assert distance(logits, expected_logits) < TOLERANCE
    distances = {name: distance(gradients[name], expected[name]) for name in config.shapes}
    assert max(distances.values()) < TOLERANCE, max(distances.items(), key=lambda item: item[1])


def test_a_folder_that_transformers_saved_gives_its_logits(tmp_path):
    torch.manual_seed(0)
    hf_config = transformers.GPT2Config(
        vocab_size=257, n_positions=32, n_embd=16, n_head=2, n_layer=2, bos_token_id=256, eos_token_id=256
    )
    theirs = transformers.GPT2LMHeadModel(hf_config).eval()
    source = write_hugging_face(tmp_path / "hf")
    theirs.save_pretrained(source)  # replaces config.json and the weights
    assert any(name.startswith("transformer.") for name in load_file(source / "model.safetensors"))
    (tmp_path / "ours").mkdir()
    convert(source, tmp_path / "ours")
    config, params = read_weights(tmp_path / "ours")
    ids = np.random.default_rng(0).integers(0, 257, (2, 32))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids)).logits.numpy()
    found = forward(params, ids, config).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)

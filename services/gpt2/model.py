"""GPT-2's forward pass and loss, as functions of arrays.

In: weights by OpenAI's names (NumPy arrays, tensors or variables), token ids. Out: float32 logits or loss.
Knows nothing of text, files, optimizers or devices; what is compiled, and how, is the caller's choice.
Source: Radford et al. 2019, section 2.3, and openai/gpt-2:src/model.py, whose names and layouts are kept.

Pre-norm blocks, tanh GELU, LN epsilon 1e-5, the output layer is the token embedding, `c_attn` is q|k|v.
LN, GELU, attention and cross entropy are in layers.py.
With `compute_dtype=tf.bfloat16` the matrix products are in bfloat16; weights, residual stream, LN, softmax,
GELU and loss stay float32.

B batch, T time, H heads, D head size, C channels, V vocabulary, L layers, N any number of rows,
F features of a linear layer.
The residual stream is kept flat, [B*T, C]: one matrix product per linear layer, whatever the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from services.gpt2.config import GPT2Config
from services.gpt2.layers import Drop, attention, cross_entropy, embed, gelu, norm

Params = Mapping[str, Any]
Attend = Callable[[tf.Tensor], tf.Tensor]  # q|k|v [B*T, 3C] -> [B*T, C]


def init_params(config: GPT2Config, seed: int) -> dict[str, np.ndarray]:
    """Make fresh float32 weights; the same seed gives the same weights on every machine.

    Standard deviation 0.02, positions 0.01 (openai/gpt-2). The two projections that write to the residual
    stream are divided by sqrt(2L), so that it does not grow with depth (Radford et al., section 2.3).
    """
    rng = np.random.default_rng(seed)
    params: dict[str, np.ndarray] = {}
    for name, shape in config.shapes.items():
        if name.endswith("/g"):
            params[name] = np.ones(shape, np.float32)
        elif name.endswith("/b"):
            params[name] = np.zeros(shape, np.float32)
        else:
            scale = 0.01 if name == "model/wpe" else 0.02
            if name.endswith("c_proj/w"):
                scale /= np.sqrt(2 * config.n_layer)
            params[name] = rng.standard_normal(shape, np.float32) * np.float32(scale)
    return params


def linear(params: Params, name: str, x: tf.Tensor, compute_dtype: tf.DType) -> tf.Tensor:
    """Affine map, computed and returned in `compute_dtype`. [N, C] -> [N, F]"""
    w = tf.cast(params[f"{name}/w"], compute_dtype)
    w = tf.reshape(w, w.shape[-2:])  # [C, F]: OpenAI's leading 1 goes
    return tf.nn.bias_add(tf.matmul(tf.cast(x, compute_dtype), w), tf.cast(params[f"{name}/b"], compute_dtype))


def layer_norm(params: Params, name: str, x: tf.Tensor) -> tf.Tensor:
    """Layer normalisation with the gain and bias of that name. float32 [N, C] -> [N, C]"""
    return norm(x, tf.convert_to_tensor(params[f"{name}/g"]), tf.convert_to_tensor(params[f"{name}/b"]))


def block(
    params: Params, name: str, x: tf.Tensor, attend: Attend, compute_dtype: tf.DType, drops: Sequence[Drop]
) -> tf.Tensor:
    """One transformer block. float32 [B*T, C] -> [B*T, C]

    Args:
        attend: mixes over time, q|k|v [B*T, 3C] -> [B*T, C]; alone knows which rows belong together.
        drops: two, applied before the two additions to the residual stream.
    """
    h = linear(params, f"{name}/attn/c_attn", layer_norm(params, f"{name}/ln_1", x), compute_dtype)  # [B*T, 3C]
    h = linear(params, f"{name}/attn/c_proj", attend(h), compute_dtype)  # [B*T, C]
    x += drops[0](tf.cast(h, tf.float32))
    h = linear(params, f"{name}/mlp/c_fc", layer_norm(params, f"{name}/ln_2", x), compute_dtype)  # [B*T, 4C]
    h = linear(params, f"{name}/mlp/c_proj", gelu(h), compute_dtype)  # [B*T, C]
    return x + drops[1](tf.cast(h, tf.float32))


def output(params: Params, x: tf.Tensor, compute_dtype: tf.DType) -> tf.Tensor:
    """Final LN and the output layer, which is the token embedding. [N, C] -> `compute_dtype` [N, V]"""
    h = tf.cast(layer_norm(params, "model/ln_f", x), compute_dtype)
    return tf.matmul(h, tf.cast(params["model/wte"], compute_dtype), transpose_b=True)


def flat_logits(
    params: Params,
    ids: tf.Tensor,
    config: GPT2Config,
    compute_dtype: tf.DType,
    dropout: float,
    dropout_seed: tf.Tensor | None,
) -> tf.Tensor:
    """The forward pass. int32 [B, T] -> logits in `compute_dtype` [B*T, V]"""
    B, T = tf.shape(ids)[0], tf.shape(ids)[1]
    H, D, C = config.n_head, config.head_size, config.n_embd

    def drop(place: int, x: tf.Tensor) -> tf.Tensor:
        if dropout == 0.0:
            return x
        # Philox by name: what is chosen by default depends on the device and on XLA.
        seed = tf.random.experimental.stateless_fold_in(dropout_seed, place, alg="philox")
        return tf.nn.experimental.stateless_dropout(x, dropout, seed, rng_alg="philox")

    def attend(place: int, qkv: tf.Tensor) -> tf.Tensor:
        return tf.reshape(attention(tf.reshape(qkv, [B, T, 3, H, D]), partial(drop, place)), [B * T, C])

    wte, wpe = tf.convert_to_tensor(params["model/wte"]), tf.convert_to_tensor(params["model/wpe"])
    x = embed(wte, ids) + wpe[:T]  # [B, T, C]
    x = drop(0, tf.reshape(x, [B * T, C]))  # [B*T, C]
    for layer in range(config.n_layer):
        place = 3 * layer + 1
        drops = [partial(drop, place + 1), partial(drop, place + 2)]
        x = block(params, f"model/h{layer}", x, partial(attend, place), compute_dtype, drops)  # [B*T, C]
    return output(params, x, compute_dtype)


def forward(
    params: Params,
    ids: tf.Tensor,
    config: GPT2Config,
    *,
    compute_dtype: tf.DType = tf.float32,
    dropout: float = 0.0,
    dropout_seed: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return the logits that follow each token.

    Args:
        params: weights, shapes as in `config.shapes`.
        ids: int32 [B, T], T at most n_ctx.
        compute_dtype: of the matrix products, tf.float32 or tf.bfloat16.
        dropout: share of values zeroed after the embedding, in the attention weights and before each addition
            to the residual stream; 0 to below 1.
        dropout_seed: int32 [2]; needed when dropout is above 0. The same seed drops the same values.

    Returns:
        float32 [B, T, V].
    """
    logits = flat_logits(params, ids, config, compute_dtype, dropout, dropout_seed)  # [B*T, V]
    B, T = tf.shape(ids)[0], tf.shape(ids)[1]
    return tf.reshape(tf.cast(logits, tf.float32), [B, T, config.n_vocab])


def token_losses(
    params: Params,
    inputs: tf.Tensor,
    targets: tf.Tensor,
    config: GPT2Config,
    *,
    compute_dtype: tf.DType = tf.float32,
    dropout: float = 0.0,
    dropout_seed: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return the cross entropy of each token in nats: float32 [B, T].

    Args:
        inputs: int32 [B, T].
        targets: int32 [B, T]: the token that follows each input.
        compute_dtype, dropout, dropout_seed: as in `forward`.
    """
    logits = flat_logits(params, inputs, config, compute_dtype, dropout, dropout_seed)  # [B*T, V]
    nats = cross_entropy(logits, tf.reshape(targets, [-1]))  # [B*T]
    return tf.reshape(nats, tf.shape(targets))


def loss(
    params: Params,
    inputs: tf.Tensor,
    targets: tf.Tensor,
    config: GPT2Config,
    *,
    compute_dtype: tf.DType = tf.float32,
    dropout: float = 0.0,
    dropout_seed: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return the mean cross entropy in nats per token: a float32 scalar. Arguments as in `token_losses`."""
    return tf.reduce_mean(
        token_losses(
            params,
            inputs,
            targets,
            config,
            compute_dtype=compute_dtype,
            dropout=dropout,
            dropout_seed=dropout_seed,
        )
    )

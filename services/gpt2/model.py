"""GPT-2's forward pass and loss, as functions of arrays.

In: weights by OpenAI's names (NumPy arrays, tensors or variables), token ids. Out: float32 logits or loss.
Knows nothing of text, files, optimizers or devices; what is compiled, and how, is the caller's choice.
Source: Radford et al. 2019, section 2.3, and openai/gpt-2:src/model.py, whose names and layouts are kept.

Pre-norm blocks, tanh GELU, LN epsilon 1e-5, the output layer is the token embedding, `c_attn` is q|k|v.
With `compute_dtype=tf.bfloat16` the matrix products are in bfloat16; weights, residual stream, LN, softmax,
GELU and loss stay float32.

B batch, T time, H heads, D head size, C channels, V vocabulary, L layers, F features of any linear layer.
The residual stream is kept flat, [B*T, C]: one matrix product per linear layer, whatever the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from services.gpt2.config import GPT2Config

Params = Mapping[str, Any]
Attend = Callable[[tf.Tensor], tf.Tensor]  # q|k|v [B*T, 3C] -> [B*T, C]
Drop = Callable[[tf.Tensor, int], tf.Tensor]  # (x, number of the place) -> x

LN_EPSILON = 1e-5
MASKED = -1e10  # OpenAI's; far below any score, and finite in bfloat16 too


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


@tf.custom_gradient  # type: ignore[untyped-decorator]
def embed(wte: tf.Tensor, ids: tf.Tensor) -> Any:
    """Look up token embeddings: [V, C], int32 [B, T] -> [B, T, C].

    Its gradient is dense. TensorFlow's own would be IndexedSlices, and since the output layer shares the
    array, the sum of both would be V + B*T slices whose norm is not the gradient's norm.
    """

    def gradient(dx: tf.Tensor) -> tuple[tf.Tensor, None]:
        return tf.math.unsorted_segment_sum(dx, ids, tf.shape(wte)[0]), None

    return tf.gather(wte, ids), gradient


def norm(params: Params, name: str, x: tf.Tensor) -> tf.Tensor:
    """Layer normalisation of the last axis, in float32. [..., C] -> [..., C]"""
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return centred * tf.math.rsqrt(variance + LN_EPSILON) * params[f"{name}/g"] + params[f"{name}/b"]


def gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU in its tanh form (Hendrycks and Gimpel 2016), as GPT-2 was trained with."""
    return 0.5 * x * (1.0 + tf.tanh(np.sqrt(2 / np.pi).astype(np.float32) * (x + 0.044715 * (x * x * x))))


def linear(params: Params, name: str, x: tf.Tensor, compute_dtype: tf.DType) -> tf.Tensor:
    """Affine map; the product in `compute_dtype`, the result float32. [N, C] -> [N, F]"""
    w = tf.cast(params[f"{name}/w"], compute_dtype)
    w = tf.reshape(w, w.shape[-2:])  # [C, F]: OpenAI's leading 1 goes
    return tf.cast(tf.matmul(tf.cast(x, compute_dtype), w), tf.float32) + params[f"{name}/b"]


def keep(x: tf.Tensor, place: int) -> tf.Tensor:
    """Drop nothing."""
    return x


def block(
    params: Params, name: str, x: tf.Tensor, attend: Attend, compute_dtype: tf.DType, drop: Drop = keep
) -> tf.Tensor:
    """One transformer block. [B*T, C] -> [B*T, C]

    Args:
        attend: mixes over time, q|k|v [B*T, 3C] -> [B*T, C]; alone knows which rows belong together.
        drop: applied before each addition to the residual stream.
    """
    h = linear(params, f"{name}/attn/c_attn", norm(params, f"{name}/ln_1", x), compute_dtype)  # [B*T, 3C]
    x = x + drop(linear(params, f"{name}/attn/c_proj", attend(h), compute_dtype), 1)  # [B*T, C]
    h = linear(params, f"{name}/mlp/c_fc", norm(params, f"{name}/ln_2", x), compute_dtype)  # [B*T, 4C]
    return x + drop(linear(params, f"{name}/mlp/c_proj", gelu(h), compute_dtype), 2)  # [B*T, C]


def output(params: Params, x: tf.Tensor, compute_dtype: tf.DType) -> tf.Tensor:
    """Final LN and the output layer, which is the token embedding. [N, C] -> float32 logits [N, V]"""
    h = tf.cast(norm(params, "model/ln_f", x), compute_dtype)
    return tf.cast(tf.matmul(h, tf.cast(params["model/wte"], compute_dtype), transpose_b=True), tf.float32)


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
    B, T = tf.shape(ids)[0], tf.shape(ids)[1]
    H, D, C = config.n_head, config.head_size, config.n_embd
    past = tf.linalg.band_part(tf.ones([T, T], tf.bool), -1, 0)  # [T, T]: row t sees columns 0..t

    def drop(layer: int, x: tf.Tensor, place: int) -> tf.Tensor:
        if dropout == 0.0:
            return x
        seed = tf.random.experimental.stateless_fold_in(dropout_seed, 3 * layer + place)
        return tf.nn.experimental.stateless_dropout(x, dropout, seed)

    def attend(layer: int, qkv: tf.Tensor) -> tf.Tensor:
        qkv = tf.reshape(tf.cast(qkv, compute_dtype), [B, T, 3, H, D])
        q, k, v = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))  # 3 x [B, H, T, D]
        scores = tf.cast(tf.matmul(q, k, transpose_b=True), tf.float32) * D**-0.5  # [B, H, T, T]
        weights = drop(layer, tf.nn.softmax(tf.where(past, scores, MASKED)), 0)  # [B, H, T, T]
        mixed = tf.transpose(tf.matmul(tf.cast(weights, compute_dtype), v), [0, 2, 1, 3])  # [B, T, H, D]
        return tf.reshape(mixed, [B * T, C])

    wte, wpe = tf.convert_to_tensor(params["model/wte"]), tf.convert_to_tensor(params["model/wpe"])
    x = embed(wte, ids) + wpe[:T]  # [B, T, C]
    x = drop(config.n_layer, tf.reshape(x, [B * T, C]), 0)  # [B*T, C]
    for layer in range(config.n_layer):
        name = f"model/h{layer}"
        x = block(params, name, x, partial(attend, layer), compute_dtype, partial(drop, layer))  # [B*T, C]
    return tf.reshape(output(params, x, compute_dtype), [B, T, config.n_vocab])


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
    """Return the mean cross entropy in nats per token: a float32 scalar.

    Args:
        inputs: int32 [B, T].
        targets: int32 [B, T]: the token that follows each input.
        compute_dtype, dropout, dropout_seed: as in `forward`.
    """
    logits = forward(
        params, inputs, config, compute_dtype=compute_dtype, dropout=dropout, dropout_seed=dropout_seed
    )
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))

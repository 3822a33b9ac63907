"""GPT-2's forward pass and loss, as functions of arrays.

In: weights by OpenAI's names (NumPy arrays, tensors or variables), token ids. Out: float32 logits or loss.
Knows nothing of text, files, optimizers or devices; what is compiled, and how, is the caller's choice.
Source: Radford et al. 2019, section 2.3, and openai/gpt-2:src/model.py, whose names and layouts are kept.

Pre-norm blocks, tanh GELU, LN epsilon 1e-5, the output layer is the token embedding, `c_attn` is q|k|v.
LN, GELU and the linear layer are in layers.py; attention.py and cross_entropy.py hold the rest.
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

from services.gpt2.attention import attention
from services.gpt2.config import GPT2Config
from services.gpt2.cross_entropy import cross_entropy
from services.gpt2.gradients import recomputed
from services.gpt2.layers import Drop, add, affine, drop_out, gelu, keep, norm, tie

Params = Mapping[str, Any]
OUTPUT = "model/output"  # name of a copy of `model/wte` in the type of the products, for those who keep one
LORA_SCALE = "model/lora_scale"  # name of the number that LoRA's products are multiplied by
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


def linear(params: Params, name: str, x: tf.Tensor) -> tf.Tensor:
    """Affine map, computed and returned in the type of `x`. [N, C] -> [N, F]

    Where `params` has LoRA's thin matrices for it, [C, R] and [R, F], what they make of `x` is added.
    """
    w = tf.convert_to_tensor(params[f"{name}/w"])
    w = tf.reshape(w, w.shape[-2:])  # [C, F]: OpenAI's leading 1 goes
    y = affine(x, w, tf.convert_to_tensor(params[f"{name}/b"]))
    if f"{name}/lora_a" not in params:
        return y
    thin = tf.matmul(x, tf.cast(params[f"{name}/lora_a"], x.dtype))  # [N, R]
    thin *= tf.cast(params[LORA_SCALE], x.dtype)
    return y + tf.matmul(thin, tf.cast(params[f"{name}/lora_b"], x.dtype))


def layer_norm(params: Params, name: str, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Layer normalisation with the gain and bias of that name. float32 [N, C] -> `dtype` [N, C]"""
    return norm(x, tf.convert_to_tensor(params[f"{name}/g"]), tf.convert_to_tensor(params[f"{name}/b"]), dtype)


def block(
    params: Params, name: str, x: tf.Tensor, attend: Attend, compute_dtype: tf.DType, drops: Sequence[Drop]
) -> tf.Tensor:
    """One transformer block. float32 [B*T, C] -> [B*T, C]

    Args:
        attend: mixes over time, q|k|v [B*T, 3C] -> [B*T, C]; alone knows which rows belong together.
        drops: two, applied before the two additions to the residual stream.
    """
    h = linear(params, f"{name}/attn/c_attn", layer_norm(params, f"{name}/ln_1", x, compute_dtype))  # [B*T, 3C]
    h = linear(params, f"{name}/attn/c_proj", attend(h))  # [B*T, C]
    x = add(x, drops[0](h))
    h = linear(params, f"{name}/mlp/c_fc", layer_norm(params, f"{name}/ln_2", x, compute_dtype))  # [B*T, 4C]
    h = linear(params, f"{name}/mlp/c_proj", gelu(h))  # [B*T, C]
    return add(x, drops[1](h))


def output(params: Params, x: tf.Tensor, compute_dtype: tf.DType) -> tf.Tensor:
    """Final LN and the output layer, which is the token embedding. [N, C] -> `compute_dtype` [N, V]"""
    h = layer_norm(params, "model/ln_f", x, compute_dtype)
    return tf.matmul(h, tf.cast(params["model/wte"], compute_dtype), transpose_b=True)


def hidden(
    params: Params,
    ids: tf.Tensor,
    config: GPT2Config,
    compute_dtype: tf.DType,
    dropout: float = 0.0,
    dropout_seed: tf.Tensor | None = None,
    segments: tf.Tensor | None = None,
    gradient_checkpointing: bool = False,
) -> tf.Tensor:
    """The residual stream after the last block. int32 [B, T] -> float32 [B*T, C]; arguments as in `loss`."""
    ids = tf.convert_to_tensor(ids)
    # As plain numbers where they are known: only then can loops be compiled, and attention be cut into tiles.
    B, T = (known or at_run for known, at_run in zip(ids.shape, tf.unstack(tf.shape(ids)), strict=True))
    H, D, C = config.n_head, config.head_size, config.n_embd

    def drop(place: int, x: tf.Tensor, tile: int = 0) -> tf.Tensor:
        return drop_out(x, dropout, dropout_seed + tf.constant([place, tile]))

    def drop_at(place: int) -> Drop:
        return partial(drop, place) if dropout else keep

    def attend(place: int, qkv: tf.Tensor) -> tf.Tensor:
        drop_tile = partial(drop, place) if dropout else None
        mixed = attention(tf.reshape(qkv, [B, T, 3, H, D]), drop_tile, segments)
        return tf.reshape(mixed, [B * T, C])

    def apply_block(layer: int, x: tf.Tensor) -> tf.Tensor:
        name, place = f"model/h{layer}", 3 * layer + 1
        attend_here, drops = partial(attend, place), [drop_at(place + 1), drop_at(place + 2)]
        if not gradient_checkpointing:
            return block(params, name, x, attend_here, compute_dtype, drops)
        names = [each for each in params if each.startswith(f"{name}/") or each == LORA_SCALE]

        def again(x: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
            return block(dict(zip(names, weights, strict=True)), name, x, attend_here, compute_dtype, drops)

        return recomputed(again, x, [tf.convert_to_tensor(params[each]) for each in names])

    wte, wpe = tf.convert_to_tensor(params["model/wte"]), tf.convert_to_tensor(params["model/wpe"])
    x = tf.gather(wte, ids) + wpe[:T]  # [B, T, C]
    x = drop_at(0)(tf.reshape(x, [B * T, C]))  # [B*T, C]
    for layer in range(config.n_layer):
        x = apply_block(layer, x)  # [B*T, C]
    return x


def forward(
    params: Params,
    ids: tf.Tensor,
    config: GPT2Config,
    *,
    compute_dtype: tf.DType = tf.float32,
    dropout: float = 0.0,
    dropout_seed: tf.Tensor | None = None,
    segments: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return the logits that follow each token: float32 [B, T, V]. Arguments as in `token_losses`."""
    x = hidden(params, ids, config, compute_dtype, dropout, dropout_seed, segments)  # [B*T, C]
    B, T = tf.shape(ids)[0], tf.shape(ids)[1]
    return tf.reshape(tf.cast(output(params, x, compute_dtype), tf.float32), [B, T, config.n_vocab])


def token_losses(
    params: Params,
    inputs: tf.Tensor,
    targets: tf.Tensor,
    config: GPT2Config,
    *,
    compute_dtype: tf.DType = tf.float32,
    dropout: float = 0.0,
    dropout_seed: tf.Tensor | None = None,
    segments: tf.Tensor | None = None,
    label_smoothing: float = 0.0,
    gradient_checkpointing: bool = False,
) -> tf.Tensor:
    """Return the cross entropy of each token in nats: float32 [B, T].

    Args:
        params: weights, shapes as in `config.shapes`. Those of the linear layers may be in the type of the products,
            and so are their gradients then; OUTPUT may be there beside.
        inputs: int32 [B, T], T at most n_ctx.
        targets: int32 [B, T]: the token that follows each input.
        compute_dtype: of the matrix products, tf.float32 or tf.bfloat16.
        dropout: share of values zeroed after the embedding, in the attention weights and before each addition
            to the residual stream; 0 to below 1.
        dropout_seed: int32 [2]; needed when dropout is above 0. The same seed drops the same values.
        segments: int32 [B, T], the number of each token's document. Attention stays within a document; without
            it every token sees all that stand before it in its row.
        label_smoothing: share of each target that is spread evenly over the vocabulary, 0 to below 1.
        gradient_checkpointing: keep one array per block for the gradient, not a dozen, and compute each block
            again on the way back: a third more operations for far less memory. The result is the same.
    """
    wte = tf.convert_to_tensor(params["model/wte"])
    wte, words = tie(wte, tf.convert_to_tensor(params.get(OUTPUT, wte)))  # 2 x [V, C]
    params = {**params, "model/wte": wte}
    x = hidden(
        params, inputs, config, compute_dtype, dropout, dropout_seed, segments, gradient_checkpointing
    )  # [B*T, C]
    h = layer_norm(params, "model/ln_f", x, compute_dtype)  # [B*T, C]
    nats = cross_entropy(h, words, tf.reshape(targets, [-1]), label_smoothing)  # [B*T]
    return tf.reshape(nats, tf.shape(targets))


def loss(
    params: Params,
    inputs: tf.Tensor,
    targets: tf.Tensor,
    config: GPT2Config,
    *,
    weights: tf.Tensor | None = None,
    **options: Any,
) -> tf.Tensor:
    """Return the mean cross entropy in nats per token: a float32 scalar.

    Args:
        weights: float32 [B, T], how much each token counts, 0 for padding; their sum is above 0. All alike without.
        options: as in `token_losses`.
    """
    nats = token_losses(params, inputs, targets, config, **options)  # [B, T]
    if weights is None:
        return tf.reduce_mean(nats)
    return tf.reduce_sum(nats * weights) / tf.reduce_sum(weights)

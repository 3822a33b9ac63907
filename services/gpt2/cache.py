"""GPT-2 over a key-value cache: each token is computed once, whatever is generated after it.

In: new token ids of some slots, and where in each slot they stand. Out: logits after each row's last ones.
A slot holds one sequence. Rows of one call may stand at different places: decoding and a prompt's chunks are
the same call. Knows nothing of queues, sampling or text. One thread at a time.

The cache has a fixed shape and is written in place. It is kept in blocks of 64 positions, so that a call
reads what its longest row has filled, not the whole context. Without XLA one trace serves every shape. With
XLA each shape is compiled, so rows, time and blocks are rounded up to powers of two.

N rows, T new tokens per row, B blocks read per row, P positions in a block, S = B * P, H heads, D head size,
W rows of logits wanted, C channels, V vocabulary, L layers.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from services.gpt2.attention import MASKED
from services.gpt2.config import GPT2Config
from services.gpt2.gradients import inference
from services.gpt2.layers import keep
from services.gpt2.model import Params, block, output

BLOCK_POSITIONS = 64  # 16 KiB per head at D 64: large enough to copy at memory speed


def round_up(count: int, limit: int) -> int:
    """Return the smallest power of two that is at least `count`, but no more than `limit`."""
    return min(1 << (count - 1).bit_length(), limit)


def forward_cached(
    params: Params,
    ids: tf.Tensor,
    starts: tf.Tensor,
    lengths: tf.Tensor,
    table: tf.Tensor,
    wanted: tf.Tensor,
    cache: list[tuple[tf.Variable, tf.Variable]],
    config: GPT2Config,
    compute_dtype: tf.DType = tf.float32,
) -> tf.Tensor:
    """Compute new tokens, write their keys and values, and return the logits after those that are wanted.

    Args:
        params: weights, shapes as in `config.shapes`.
        ids: int32 [N, T]; a row's ids from its length on are padding.
        starts: int32 [N], position of each row's first id.
        lengths: int32 [N], number of ids in each row, 1 to T.
        table: int32 [N, B], the cache blocks that hold each row's positions 0..B*P-1.
        wanted: int32 [W], places in `ids` as n * T + t.
        cache: per layer keys and values, each [blocks * H, P, D]; block 0 takes what padding writes.

    Returns:
        float32 [W, V].
    """
    N, T = tf.shape(ids)[0], tf.shape(ids)[1]
    H, D, C = config.n_head, config.head_size, config.n_embd
    P = cache[0][0].shape[1]
    S = tf.shape(table)[1] * P

    time = tf.range(T)[None, :]  # [1, T]
    real = time < lengths[:, None]  # [N, T]
    positions = tf.where(real, starts[:, None] + time, 0)  # [N, T]
    blocks = tf.where(real, tf.gather(table, positions // P, batch_dims=1), 0)  # [N, T]
    heads = tf.range(H)
    write_rows = blocks[:, :, None] * H + heads  # [N, T, H]
    write_at = tf.stack([write_rows, tf.broadcast_to((positions % P)[:, :, None], [N, T, H])], -1)  # [N, T, H, 2]
    read_rows = table[:, None, :] * H + heads[:, None]  # [N, H, B]
    seen = tf.range(S) <= positions[:, None, :, None]  # [N, 1, T, S]

    def attend(layer: int, qkv: tf.Tensor) -> tf.Tensor:
        qkv = tf.reshape(qkv, [N, T, 3, H, D])
        q, new_k, new_v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]  # 3 x [N, T, H, D]
        keys, values = cache[layer]
        keys.scatter_nd_update(write_at, new_k)
        values.scatter_nd_update(write_at, new_v)
        k = tf.reshape(tf.gather(keys, read_rows), [N, H, S, D])
        v = tf.reshape(tf.gather(values, read_rows), [N, H, S, D])
        q = tf.transpose(q, [0, 2, 1, 3])  # [N, H, T, D]
        scores = tf.cast(tf.matmul(q, k, transpose_b=True), tf.float32) * D**-0.5  # [N, H, T, S]
        weights = tf.cast(tf.nn.softmax(tf.where(seen, scores, MASKED)), compute_dtype)  # [N, H, T, S]
        return tf.reshape(tf.transpose(tf.matmul(weights, v), [0, 2, 1, 3]), [N * T, C])

    x = tf.gather(params["model/wte"], ids) + tf.gather(params["model/wpe"], positions)  # [N, T, C]
    x = tf.reshape(x, [N * T, C])
    for layer in range(config.n_layer):
        x = block(params, f"model/h{layer}", x, partial(attend, layer), compute_dtype, [keep, keep])
    return tf.cast(output(params, tf.gather(x, wanted), compute_dtype), tf.float32)


class CachedModel:
    """A model with `num_slots` sequences in its cache.

    Nothing needs resetting between sequences: what a slot held before is never read past what was written
    since.

    Args:
        config: architecture.
        params: weights by name. Arrays are copied, float32 (matrices in `compute_dtype`); variables are kept,
            and every call reads them as they then are.
        num_slots: sequences that may be in the cache at once.
        compute_dtype: of matrix products and cache, tf.float32 or tf.bfloat16.
        jit_compile: compile with XLA; for GPUs (on a CPU it is slower).
    """

    def __init__(
        self,
        config: GPT2Config,
        params: Params,
        num_slots: int,
        *,
        compute_dtype: tf.DType = tf.float32,
        jit_compile: bool = False,
    ) -> None:
        self.config = config
        self.num_slots = num_slots
        self.num_traces = 0  # of `step`; compilations, when XLA is on
        self._jit_compile = jit_compile
        self._positions = min(BLOCK_POSITIONS, config.n_ctx)
        self._slot_blocks = -(-config.n_ctx // self._positions)
        weights: dict[str, Any] = {
            name: value
            if isinstance(value, tf.Variable)
            else tf.constant(value, compute_dtype if name.endswith("/w") else tf.float32)
            for name, value in params.items()
        }
        shape = [(1 + num_slots * self._slot_blocks) * config.n_head, self._positions, config.head_size]
        cache = [
            (tf.Variable(tf.zeros(shape, compute_dtype)), tf.Variable(tf.zeros(shape, compute_dtype)))
            for _ in range(config.n_layer)
        ]
        matrix, row = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)

        # With XLA the signature stays open as well: the trace is one, and XLA compiles each concrete shape.
        @tf.function(input_signature=[matrix, row, row, matrix, row], jit_compile=jit_compile, autograph=False)  # type: ignore[untyped-decorator]
        def step(
            ids: tf.Tensor, starts: tf.Tensor, lengths: tf.Tensor, table: tf.Tensor, wanted: tf.Tensor
        ) -> tf.Tensor:
            self.num_traces += 1
            with inference():
                return forward_cached(weights, ids, starts, lengths, table, wanted, cache, config, compute_dtype)

        self._step = step

    def step(
        self,
        ids: np.ndarray,
        slots: np.ndarray,
        starts: np.ndarray,
        lengths: np.ndarray,
        num_logits: np.ndarray | None = None,
    ) -> np.ndarray:
        """Append ids to slots and return the logits after each row's last ids.

        Args:
            ids: whole numbers [N, T]; row n's ids from lengths[n] on are padding, of any value below V.
            slots: [N], 0 to num_slots-1, each at most once.
            starts: [N], position of the row's first id; positions before it must have been written by earlier
                calls. Going back is allowed: what stood at `start` and after is overwritten or not read.
            lengths: [N], 1 to T; starts + lengths is at most n_ctx.
            num_logits: [N], 0 to lengths: of how many of a row's last ids. None: of the last one.

        Returns:
            float32 [sum of num_logits, V], in order of rows and ids.
        """
        ids, slots = np.asarray(ids, np.int32), np.asarray(slots, np.int32)
        starts, lengths = np.asarray(starts, np.int32), np.asarray(lengths, np.int32)
        N, T = ids.shape
        counts = np.ones(N, np.int32) if num_logits is None else np.asarray(num_logits, np.int32)
        end = int((starts + lengths).max())
        assert len(set(slots.tolist())) == N and slots.min() >= 0 and slots.max() < self.num_slots, slots
        assert starts.min() >= 0 and lengths.min() >= 1 and lengths.max() <= T, (starts, lengths)
        assert end <= self.config.n_ctx, (end, self.config.n_ctx)
        assert counts.min() >= 0 and (counts <= lengths).all(), (counts, lengths)

        time_wanted = [np.arange(length - count, length) for length, count in zip(lengths, counts, strict=True)]
        row_wanted = np.repeat(np.arange(N), counts)  # [W]
        num_blocks = round_up(-(-end // self._positions), self._slot_blocks)
        table = 1 + slots[:, None] * self._slot_blocks + np.arange(num_blocks, dtype=np.int32)  # [N, B]
        if self._jit_compile:
            more_rows = round_up(N, self.num_slots) - N
            more_time = round_up(T, self.config.n_ctx) - T
            ids = np.pad(ids, ((0, more_rows), (0, more_time)))
            starts = np.pad(starts, (0, more_rows))
            lengths = np.pad(lengths, (0, more_rows), constant_values=1)
            table = np.pad(table, ((0, more_rows), (0, 0)))  # block 0
        wanted = row_wanted * ids.shape[1] + np.concatenate(time_wanted)  # [W]
        W = len(wanted)
        if self._jit_compile:
            # One shape for up to one of each row, which is what writing needs.
            padded = len(ids) if len(ids) >= W else round_up(W, ids.size)
            wanted = np.pad(wanted, (0, padded - W))
        logits: np.ndarray = self._step(ids, starts, lengths, table, wanted.astype(np.int32)).numpy()[:W]
        return logits

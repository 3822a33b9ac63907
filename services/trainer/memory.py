"""How much memory one training step of a run takes, by part, without doing it. A pure function of shapes.

In: an architecture, a run's settings, the format of the products. Out: bytes by what they are for; their sum is the
process's peak in a step, and with `saving` in a run: beside its steps stands the copy that checkpoints are written
from. What was counted is the arrays that loop.py and services/gpt2 hold at the moment when they hold most: at the turn
from the forward to the backward pass, or before the update. The shares of what is not counted one by one (scratch
space, fragments, the graph) were fitted to real steps in bfloat16 on a CPU, which they meet within 3 %: 124M at 4 x 256
and 1 x 1024 tokens, and with gradient checkpointing. These were steps without dropout and without the copy.

n rows of tokens (batch x context), C width, H heads, L layers, V vocabulary, T context, e bytes of a product's number.
"""

from __future__ import annotations

from math import prod

from services.gpt2.config import GPT2Config, is_matrix
from services.trainer.run_settings import RunSettings
from services.trainer.training import lora
from services.trainer.training.freezing import trained_names

RUNTIME = 380 << 20  # Python and TensorFlow
GRAPH = 20 << 20  # of a block: its operations, and the loops compiled for them
TILE = 256  # of services.gpt2.attention
CHUNK = 8192  # of services.gpt2.cross_entropy
MOMENTS = {"adamw": 2, "adam": 2, "lion": 1}


def estimate(config: GPT2Config, settings: RunSettings, precision: str, *, saving: bool) -> dict[str, int]:
    """Return the bytes of a step by part, in words.

    Args:
        config: the architecture.
        settings: batch_size, accumulation, context, optimizer, dropout, lora_rank, frozen_layers,
            only_transformer_layers and gradient_checkpointing are used.
        precision: of the matrix products: float32, bfloat16 or float16.
        saving: count the copy that checkpoints are written from. It is in the memory of the host, not of a GPU.
    """
    e = 4 if precision == "float32" else 2
    n, C, L = settings.batch_size * settings.context, config.n_embd, config.n_layer
    trained = trained_shapes(config, settings)
    num_trained = sum(prod(shape) for shape in trained.values())
    blocks = L - settings.frozen_layers  # only these keep anything for the backward pass
    kept = _block(config, settings, e)
    blocks_kept, arrays = (2, blocks + 2) if settings.gradient_checkpointing else (blocks, 1)
    activations = blocks_kept * kept + arrays * 4 * n * C
    copies = 0 if e == 4 else e * sum(prod(shape) for name, shape in config.shapes.items() if is_matrix(name))
    head = _head(config, n, e, embeds="model/wte" in trained)
    # Those of matrices come as products do; the embedding's is summed in float32.
    gradients = sum(prod(shape) * (e if name.endswith("/w") else 4) for name, shape in trained.items())
    parts = {
        "TensorFlow and Python": RUNTIME + L * GRAPH,
        "weights": 4 * (config.num_parameters + (num_trained if settings.lora_rank else 0)),
        "optimizer": optimizer_bytes(trained, settings),
        "gradients": gradients,
        "sums of gradients": 4 * num_trained if settings.accumulation > 1 else 0,
        "activations": activations,
        "weights in 16 bits": copies,
        "output layer": head,
        "copy for checkpoints": checkpoint_bytes(config, settings) if saving else 0,
    }
    return {name: int(value) for name, value in parts.items() if value}


def trained_shapes(config: GPT2Config, settings: RunSettings) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what gets gradients; with LoRA the thin matrices."""
    shapes = dict(config.shapes)
    if settings.lora_rank:
        for name in lora.layers(config, settings.frozen_layers):
            _, inputs, outputs = config.shapes[f"{name}/w"]
            shapes[f"{name}/lora_a"] = (inputs, settings.lora_rank)
            shapes[f"{name}/lora_b"] = (settings.lora_rank, outputs)
    return {name: shapes[name] for name in trained_names(shapes, settings)}


def optimizer_bytes(trained: dict[str, tuple[int, ...]], settings: RunSettings) -> int:
    """What the optimizer remembers of the weights that are trained."""
    if settings.optimizer == "adafactor":
        return 4 * sum(
            prod(shape[:-1]) + prod(shape[:-2] + shape[-1:]) if len(shape) > 1 else shape[0]
            for shape in trained.values()
        )
    moments = MOMENTS.get(settings.optimizer, 1 if settings.momentum else 0)
    return 4 * moments * sum(prod(shape) for shape in trained.values())


def checkpoint_bytes(config: GPT2Config, settings: RunSettings) -> int:
    """Size of a checkpoint on disk, and of the copy in memory while it is written: weights, moments, thin matrices."""
    trained = trained_shapes(config, settings)
    thin = 4 * sum(prod(shape) for shape in trained.values()) if settings.lora_rank else 0
    return 4 * config.num_parameters + optimizer_bytes(trained, settings) + thin


def _block(config: GPT2Config, settings: RunSettings, e: int) -> int:
    """What one block keeps for its backward pass."""
    n, C = settings.batch_size * settings.context, config.n_embd
    stream = 2 * 4 * C + e * 15 * C  # two sums; two norms, q k v, mixture and its copy, 4C before and after GELU
    tiles = -(-settings.context // TILE)
    seen = settings.context * (tiles + 1) / 2 / tiles  # keys a query's tile sees, on average
    weights = config.n_head * seen * e * (2 if settings.dropout else 1)
    return int(n * (stream + weights))


def _head(config: GPT2Config, n: int, e: int, *, embeds: bool) -> int:
    """The output layer: logits and their gradient, and the embedding's gradients before they are one."""
    table = config.n_vocab * config.n_embd
    logits = 2 * n * config.n_vocab * e + n * min(CHUNK, config.n_vocab) * 4
    return logits + ((4 + e + e) * table if embeds else 0)

"""Who trains GPT-2 in bench_train and in the parity check: ours, gpt-2-simple, transformers, KerasHub.

`python tests/bench/training_contestants.py NAME PRECISION BATCH CONTEXT` prepares one and reads lines: on `step` it
trains one step and prints JSON with seconds, processor seconds and the loss; at the end of the input it prints its
peak memory. Each runs in its own process, with the threads that suit it best: one per core for all of them.
KerasHub starts from random weights of its own, everyone else from the same ones. Dropout is 0 everywhere.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from services.gpt2.config import SIZES, GPT2Config
from tests.bench.generation.case import peak_gb

RATE, BETA1, BETA2, EPSILON, DECAY = 1e-4, 0.9, 0.99, 1e-8, 0.01
SEED = 1
NUM_BATCHES = 30
Step = Callable[[np.ndarray], float]
"""Trains on rows int32 [B, T+1] and returns the loss."""


def ours(config: GPT2Config, precision: str, batch: int, context: int) -> Step:
    """The training process's own step; `precision` may end in `, checkpointing`."""
    import tensorflow as tf

    from services.gpt2 import model
    from services.trainer.run_settings import RunSettings
    from services.trainer.training.batch import Batch
    from services.trainer.training.loop import Trainer

    dtype, _, checkpointing = precision.partition(", ")
    settings = RunSettings(
        dataset="bench",
        batch_size=batch,
        context=context,
        dropout=0.0,
        beta1=BETA1,
        beta2=BETA2,
        weight_decay=DECAY,
        clip_norm=0.0,  # as the others
        gradient_checkpointing=bool(checkpointing),
    )
    trainer = Trainer(model.init_params(config, SEED), config, settings, getattr(tf, dtype))
    number = 0

    def step(rows: np.ndarray) -> float:
        nonlocal number
        number += 1
        return trainer.step(number, Batch(rows[:, :-1], rows[:, 1:]), RATE).loss

    return step


def gpt_2_simple(config: GPT2Config, precision: str, batch: int, context: int) -> Step:
    """Its graph and its optimizer, as `finetune` puts them together. It has no bfloat16."""
    import tensorflow as tf

    from services.gpt2.model import init_params

    tf.compat.v1.disable_eager_execution()
    package = importlib.util.find_spec("gpt_2_simple")
    assert package is not None, "gpt-2-simple is missing: pip install --no-deps gpt-2-simple"
    # By its path: the package itself wants modules that only its downloads need.
    path = Path(package.submodule_search_locations[0]) / "src" / "model.py"
    spec = importlib.util.spec_from_file_location("gpt_2_simple_model", path)
    graph = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(graph)
    hparams = graph.default_hparams()
    hparams.override_from_dict(config.to_hparams())
    rows_in = tf.compat.v1.placeholder(tf.int32, [batch, None])
    logits = graph.model(hparams=hparams, X=rows_in[:, :-1])["logits"]
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=rows_in[:, 1:], logits=logits))
    variables = tf.compat.v1.trainable_variables()
    optimizer = tf.compat.v1.train.AdamOptimizer(learning_rate=RATE)
    apply = optimizer.apply_gradients(list(zip(tf.gradients(ys=loss, xs=variables), variables, strict=True)))
    session = tf.compat.v1.Session()
    session.run(tf.compat.v1.global_variables_initializer())
    params = init_params(config, SEED)
    for variable in variables:
        variable.load(params[variable.name.removesuffix(":0")], session)

    def step(rows: np.ndarray) -> float:
        return float(session.run([apply, loss], {rows_in: rows})[1])

    return step


def transformers(config: GPT2Config, precision: str, batch: int, context: int) -> Step:
    """GPT2LMHeadModel under PyTorch with its fused AdamW; bfloat16 by autocast."""
    import torch
    import transformers as library

    from services.gpt2.hugging_face import hugging_face_name
    from services.gpt2.model import init_params

    torch.set_num_threads(os.cpu_count() or 1)
    shape = library.GPT2Config(
        vocab_size=config.n_vocab,
        n_positions=config.n_ctx,
        n_embd=config.n_embd,
        n_head=config.n_head,
        n_layer=config.n_layer,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = library.GPT2LMHeadModel(shape)
    arrays = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in init_params(config, SEED).items():
            array = arrays[f"transformer.{hugging_face_name(name)}"]
            array.copy_(torch.from_numpy(value.reshape(array.shape)))
    groups = [
        {"params": [array for array in arrays.values() if array.ndim >= 2], "weight_decay": DECAY},
        {"params": [array for array in arrays.values() if array.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(BETA1, BETA2), eps=EPSILON, fused=True)
    model.train()

    def step(rows: np.ndarray) -> float:
        inputs, targets = (
            torch.from_numpy(rows[:, :-1].astype(np.int64)),
            torch.from_numpy(rows[:, 1:].astype(np.int64)),
        )
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(inputs).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def keras_hub(config: GPT2Config, precision: str, batch: int, context: int) -> Step:
    """GPT2CausalLM on TensorFlow without XLA, which is slower on CPUs; bfloat16 by Keras's mixed policy."""
    import keras
    import keras_hub as library

    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    backbone = library.models.GPT2Backbone(
        vocabulary_size=config.n_vocab,
        num_layers=config.n_layer,
        num_heads=config.n_head,
        hidden_dim=config.n_embd,
        intermediate_dim=4 * config.n_embd,
        dropout=0.0,
        max_sequence_length=config.n_ctx,
    )
    model = library.models.GPT2CausalLM(backbone=backbone, preprocessor=None)
    model.compile(
        optimizer=keras.optimizers.AdamW(RATE, weight_decay=DECAY, beta_1=BETA1, beta_2=BETA2, epsilon=EPSILON),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )

    def step(rows: np.ndarray) -> float:
        mask = np.ones((batch, context), np.int32)
        inputs = {"token_ids": rows[:, :-1], "padding_mask": mask}
        return float(model.train_on_batch(inputs, rows[:, 1:], return_dict=True)["loss"])

    return step


PRODUCTS = [(1024, 768, 3072), (2048, 2048, 2048), (1024, 3072, 768), (1024, 768, 8192)]


def products(config: GPT2Config, precision: str, batch: int, context: int) -> Callable[[np.ndarray], float]:
    """The machine's limit: TensorFlow's best rate of bare matrix products, in operations per second."""
    import tensorflow as tf

    multiply = tf.function(tf.matmul)
    cases = [
        (2.0 * m * k * n, tf.cast(tf.random.normal([m, k]), precision), tf.cast(tf.random.normal([k, n]), precision))
        for m, k, n in PRODUCTS
    ]

    def step(rows: np.ndarray) -> float:
        rates = []
        for operations, left, right in cases:
            seconds = []
            for _ in range(15):
                begun = time.perf_counter()
                multiply(left, right)
                seconds.append(time.perf_counter() - begun)
            rates.append(operations / float(np.median(seconds)))
        return max(rates)

    return step


CONTESTANTS: dict[str, Any] = {
    "ours": ours,
    "gpt-2-simple": gpt_2_simple,
    "transformers": transformers,
    "keras-hub": keras_hub,
    "products": products,
}


def batches(config: GPT2Config, batch: int, context: int, count: int) -> list[np.ndarray]:
    """The same rows for everyone: random tokens."""
    rng = np.random.default_rng(2)
    return [rng.integers(0, config.n_vocab, (batch, context + 1), dtype=np.int32) for _ in range(count)]


def main() -> None:
    """Serve steps."""
    name, precision, batch, context = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    config = SIZES["124M"]
    step = CONTESTANTS[name](config, precision, batch, context)
    rows = batches(config, batch, context, NUM_BATCHES)
    print(json.dumps({"ready": True}), flush=True)
    for number, _ in enumerate(sys.stdin):
        begun, used = time.perf_counter(), time.process_time()
        value = step(rows[number % len(rows)])
        spent = {"seconds": time.perf_counter() - begun, "processor_seconds": time.process_time() - used}
        print(json.dumps({**spent, "value": value}), flush=True)
    print(json.dumps({"peak_gb": peak_gb()}), flush=True)


if __name__ == "__main__":
    main()

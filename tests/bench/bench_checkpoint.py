"""How long a checkpoint of GPT-2 124M with its optimizer keeps training waiting.

`python tests/bench/bench_checkpoint.py [--rounds 3]`. One JSON object per line. In each round some steps of 1 x 1024
tokens are taken alone, then a checkpoint is begun and steps are taken until it is written. Training waits for the
copy of the arrays; what it loses besides, it loses because the writing takes its share of the cores. The limit of both
is one step: `ratio` is a step's time over what was lost.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import tensorflow as tf

from services.gpt2 import model
from services.gpt2.config import SIZES
from services.trainer.run_settings import RunSettings
from services.trainer.training.batch import Batch
from services.trainer.training.loop import Trainer
from services.trainer.training.saving import Saver
from services.trainer.training.state import TrainingState

CONTEXT, RATE = 1024, 1e-4
ALONE = 4  # steps per round before the checkpoint


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="checkpoints")
    parser.add_argument("--size", default="124M", choices=SIZES, help="shape of the model")
    options = parser.parse_args()
    config = SIZES[options.size]
    settings = RunSettings(dataset="bench", batch_size=1, context=min(CONTEXT, config.n_ctx), dropout=0.0)
    trainer = Trainer(model.init_params(config, 1), config, settings, tf.bfloat16)
    row = np.random.default_rng(1).integers(0, config.n_vocab, (1, settings.context + 1)).astype(np.int32)
    number = 0

    def step() -> float:
        nonlocal number
        number += 1
        began = time.perf_counter()
        trainer.step(number, Batch(row[:, :-1], row[:, 1:]), RATE)
        return time.perf_counter() - began

    with tempfile.TemporaryDirectory() as folder:
        saver = Saver(Path(folder), keep=1)
        saver.prepare(trainer)
        saver.wait()
        step(), step()  # traces
        waits, losses, usual = [], [], []
        for _ in range(options.rounds):
            alone = [step() for _ in range(ALONE)]
            began = time.perf_counter()
            saver.begin(trainer, TrainingState(step=number))
            waits.append(time.perf_counter() - began)
            beside: list[float] = []
            while not (ended := saver.ended()):
                beside.append(step())
            assert not ended[0].error, ended
            saver.wait()
            median = statistics.median(alone)
            usual.append(median)
            losses.append(waits[-1] + sum(beside) - median * len(beside))
    seconds = statistics.median(usual)
    for metric, found in (("wait for the copy", waits), ("all that training lost", losses)):
        ours = statistics.median(found)
        line = {"bench": "checkpoint", "case": f"1 x {settings.context}, bfloat16, {options.size}", "metric": metric}
        line |= {"unit": "s", "ours": ours, "peer": "limit", "theirs": seconds, "ratio": seconds / ours}
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in line.items()}), flush=True)


if __name__ == "__main__":
    main()

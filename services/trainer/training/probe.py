"""`python -m services.trainer.training.probe [--parent PID] [--nice N]`: try a few steps and tell what they took.

Reads one JSON object from standard input: `{"config": {...}, "settings": {...}, "seconds": 20}`. Prints JSON objects, a
line each: `{"progress": "..."}` while it works, and last what `attempt` returns or `{"error": ...}`. The weights are
random, and so are the rows, of the shapes that the run would have: neither changes how long a step takes. A child of
the service, so that a step that does not fit takes nothing down.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.common.child import die_first, die_with

if TYPE_CHECKING:
    from services.trainer.run_settings import RunSettings
    from services.trainer.training.batch import Batch

MOST_STEPS = 3  # timed ones
TRIED_ROUNDS = 2  # micro-batches of a tried step, where the run has more


def main() -> int:
    """Read what to try, try it, tell."""
    parser = argparse.ArgumentParser(prog="python -m services.trainer.training.probe")
    parser.add_argument("--parent", type=int)
    parser.add_argument("--nice", type=int, default=0)
    arguments = parser.parse_args()

    if arguments.parent and not die_with(arguments.parent):
        return 1
    os.nice(arguments.nice)
    die_first()
    try:
        result = attempt(json.load(sys.stdin))
    except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, the plan says so
        words = str(error).splitlines()[:1]
        _tell({"error": ": ".join([type(error).__name__, *words])})
        return 1
    _tell(result)
    return 0


def attempt(asked: dict[str, Any]) -> dict[str, Any]:
    """Build the run's trainer and do some steps.

    Returns:
        `seconds_per_step` of the whole step with all its micro-batches, `peak_bytes` of this process or of the GPU,
        `precision`, and `device` in words.
    """
    _tell({"progress": "loading TensorFlow"})
    import tensorflow as tf

    from services.gpt2 import model
    from services.gpt2.config import GPT2Config
    from services.trainer.run_settings import RunSettings, from_json
    from services.trainer.training import precision
    from services.trainer.training.loop import Trainer
    from services.trainer.training.measuring import memory_bytes
    from services.trainer.training.saving import Saver

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    config = GPT2Config.from_hparams(asked["config"])
    settings = RunSettings(**from_json(asked["settings"]))
    rounds = min(settings.accumulation, TRIED_ROUNDS)
    tried = replace(settings, accumulation=rounds)
    dtype = precision.choose(settings.precision, config.num_parameters)
    _tell({"progress": "making weights of this shape"})
    trainer = Trainer(model.init_params(config, 0), config, tried, dtype)
    saver = Saver(Path(), keep=1)
    saver.prepare(trainer)  # takes the memory of a checkpoint's copy, as the run does; nothing is written
    rows = _rows(config.n_vocab, tried)

    def step(number: int) -> float:
        begun = time.monotonic()
        trainer.step(number, rows, settings.learning_rate)
        return time.monotonic() - begun

    _tell({"progress": "compiling a step"})
    step(1)
    saver.wait()
    durations: list[float] = []
    while len(durations) < MOST_STEPS and (not durations or sum(durations) < asked["seconds"]):
        _tell({"progress": f"trying step {len(durations) + 1} of {MOST_STEPS}"})
        durations.append(step(len(durations) + 2))
    return {
        "seconds_per_step": sorted(durations)[len(durations) // 2] * settings.accumulation / rounds,
        "peak_bytes": memory_bytes(),
        "precision": dtype.name,
        "device": _device(gpus),
    }


def _rows(n_vocab: int, settings: RunSettings) -> Batch:
    """Random rows for a step, with all that the run's packing gives a step to know."""
    import numpy as np

    from services.trainer.training.batch import Batch

    shape = (settings.rows_per_step, settings.context)
    ids = np.random.default_rng(0).integers(n_vocab, size=(shape[0], shape[1] + 1), dtype=np.int32)
    return Batch(
        ids[:, :-1],
        ids[:, 1:],
        segments=np.zeros(shape, np.int32) if settings.packing == "masked" else None,
        weights=np.ones(shape, np.float32) if settings.packing == "documents" else None,
    )


def _device(gpus: list[Any]) -> str:
    import tensorflow as tf

    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        return f"{len(gpus)} x {name}" if len(gpus) > 1 else str(name)
    return f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} CPU cores"


def _tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())

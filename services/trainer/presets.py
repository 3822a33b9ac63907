"""What a run's settings are where its request leaves them out, as fits the base and the size of the corpus.

In: a preset's name, the base's architecture, the dataset's size, what was named. Out: values by field of RunSettings.
Knows no files and no clock.

A fresh model takes the values that were measured best for its size; steps bend to the corpus. A model that knows
something takes what peers fine-tune with: rates between 1e-5 (train.py's 2e-5) and 1e-4 (gpt-2-simple), lower for
larger ones (nanoGPT: 3e-5 for 1558M), and passes by tokens: many over a small corpus, one over a large one.
Every preset ends by itself when validation has turned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from services.gpt2.config import GPT2Config


@dataclass(frozen=True, slots=True)
class Preset:
    """How a preset differs from the others."""

    length: float
    """Steps of a fresh model, against `standard`."""
    passes: tuple[int, int]
    """Least and most passes over the corpus of a fresh model."""
    tokens: int
    """Tokens that a model that knows something reads, within `tuned_passes`."""
    tuned_passes: tuple[int, int]
    tuned_rate: float
    """Its learning rate, against `standard`."""
    dropout: float
    patience: int
    """Validations without a new lowest loss; a run has about VALIDATIONS."""


# The passes of `standard`: after more a fresh model has begun to learn a small blog by heart: on 20,000 words the
# validation of `mini` turns after 16 passes. After fewer it has not learned the voice of a large one.
PRESETS = {
    "gentle": Preset(0.5, (2, 16), 1_000_000, (1, 3), 0.4, 0.1, 2),
    "standard": Preset(1.0, (4, 32), 3_000_000, (1, 10), 1.0, 0.1, 4),
    "thorough": Preset(2.0, (8, 64), 6_000_000, (2, 20), 1.0, 0.2, 8),
}
DEFAULT = "standard"

DEFAULTS: dict[str, dict[str, Any]] = {
    "nano": {"steps": 200, "batch_size": 16, "learning_rate": 3e-3},
    "micro": {"steps": 600, "batch_size": 8, "learning_rate": 2e-3},
    "mini": {"steps": 1000, "batch_size": 8, "learning_rate": 1e-3},
}
"""What was measured best for these fresh models; `steps` bends to the size of the corpus."""
FRESH_STEPS = 1000  # of other fresh shapes
LEAST_STEPS, MOST_STEPS = 100, 3000  # of a fresh model, whatever the corpus; times the preset's length
FRESH_WEIGHT_DECAY, TUNED_WEIGHT_DECAY = 0.1, 0.01

# Highest learning rate by parameters; between these by a line through the logarithms.
# Fresh: measured to 14M; above, Brown et al. 2020, table 2.1 (GPT-3's small sizes).
FRESH_RATES = ((1e6, 3e-3), (14e6, 1e-3), (124e6, 6e-4), (355e6, 3e-4), (774e6, 2.5e-4), (1558e6, 2e-4))
TUNED_RATES = ((1e6, 5e-4), (14e6, 2e-4), (124e6, 5e-5), (355e6, 4e-5), (774e6, 3e-5), (1558e6, 2e-5))
LORA_RATE = 4.0  # thin matrices begin at nothing and bear more: 1e-4 to 3e-4 is usual where 5e-5 is for weights
# Against AdamW's rate: Lion by its authors a third to a tenth; SGD as train.py's README (6e-4 for 2e-5).
RATE_OF_OPTIMIZER = {"lion": 0.2, "sgd": 30.0}

TUNED_ROWS = 8  # rows per step of a model that knows something, and of a large fresh one
STEPS_PER_PASS = 20  # fewer rows per step where an epoch would have fewer steps
LARGE = 50_000_000  # parameters from which a micro-batch is one row: more is no faster on a CPU, and takes memory
VALIDATIONS, LEAST_VALIDATIONS, SAMPLES, CHECKPOINTS = 20, 5, 10, 10  # in a run
VALIDATION_SHARE = 0.15  # of the run's time at most; a token costs a third of one that is learned from
MOST_WARMUP = 2000
NEVER = 2.0**62  # steps: an end so far away, or infinitely, is refused by run_settings.py


def left_out(
    named: Mapping[str, Any], *, config: GPT2Config, fresh: bool, num_train_tokens: int, num_validation_tokens: int = 0
) -> dict[str, Any]:
    """Return values for what `named` leaves out and what depends on preset, base or corpus; and `steps` always.

    Args:
        named: values by field of RunSettings, `base` and `context` among them.
        config: of the base.
        fresh: it starts from random weights.
        num_train_tokens: in the rows of one pass.
        num_validation_tokens: of the dataset.
    """
    preset = PRESETS.get(named.get("preset", DEFAULT), PRESETS[DEFAULT])
    context = max(1, int(named["context"]))
    about = dict(named)
    if not {"batch_size", "accumulation"} & named.keys():
        about |= _rows(named["base"], config, fresh, num_train_tokens / context)
    tokens_per_step = max(1, about.get("batch_size", 1) * about.get("accumulation", 1) * context)
    about.setdefault("learning_rate", _rate(named, preset, config, fresh))
    about.setdefault("weight_decay", _decay(named, fresh))
    about.setdefault("dropout", preset.dropout)
    steps = about["steps"] = _steps(named, preset, config, fresh, num_train_tokens, tokens_per_step)
    about.setdefault("warmup_steps", min(steps // 20, MOST_WARMUP))
    often = max(
        math.ceil(steps / VALIDATIONS), math.ceil(num_validation_tokens / 3 / VALIDATION_SHARE / tokens_per_step)
    )
    about.setdefault("validate_every", min(often, math.ceil(steps / LEAST_VALIDATIONS)))
    about.setdefault("patience", preset.patience if about["validate_every"] else 0)
    # What is published by loss and samples has both of the same step.
    together = named.get("publish") == "on_best_original"
    sampled = (about["validate_every"] or steps) if together else max(10, math.ceil(steps / SAMPLES))
    about.setdefault("sample_every", sampled)
    about.setdefault("save_every", min(1000, max(10, math.ceil(steps / CHECKPOINTS))))
    return {name: value for name, value in about.items() if name == "steps" or name not in named}


def tokens_per_pass(packing: str, context: int, document_lengths: Sequence[int], num_train_tokens: int) -> int:
    """Tokens in the rows of one pass over the documents, padding included where each document begins a row."""
    if packing != "documents" or not len(document_lengths):
        return num_train_tokens
    return context * sum(-(-int(length) // context) for length in document_lengths)


def _rows(base: str, config: GPT2Config, fresh: bool, rows_per_pass: float) -> dict[str, int]:
    """Rows per step: as measured for the small ones; else so many that a pass has STEPS_PER_PASS at least."""
    if fresh and base in DEFAULTS:
        return {"batch_size": DEFAULTS[base]["batch_size"]}
    rows = min(max(1, round(rows_per_pass / STEPS_PER_PASS)), TUNED_ROWS)
    return {"batch_size": 1, "accumulation": rows} if config.num_parameters >= LARGE else {"batch_size": rows}


def _rate(named: Mapping[str, Any], preset: Preset, config: GPT2Config, fresh: bool) -> float:
    if fresh and named["base"] in DEFAULTS:
        rate = DEFAULTS[named["base"]]["learning_rate"]
    else:
        rate = between(FRESH_RATES if fresh else TUNED_RATES, config.num_parameters)
    if not fresh:
        rate *= preset.tuned_rate * (LORA_RATE if named.get("lora_rank", 0) else 1.0)
    return float(f"{rate * RATE_OF_OPTIMIZER.get(named.get('optimizer', ''), 1.0):.2g}")


def _decay(named: Mapping[str, Any], fresh: bool) -> float:
    if named.get("lora_rank", 0):
        return 0.0
    return FRESH_WEIGHT_DECAY if fresh else TUNED_WEIGHT_DECAY


def _steps(
    named: Mapping[str, Any],
    preset: Preset,
    config: GPT2Config,
    fresh: bool,
    num_train_tokens: int,
    tokens_per_step: int,
) -> int:
    """Steps until the first of the ends that are counted; without one, what the preset says."""
    ends = (("steps", tokens_per_step), ("epochs", num_train_tokens), ("tokens", 1))
    named_ends = [named[name] * tokens / tokens_per_step for name, tokens in ends if named.get(name)]
    if named_ends:
        return max(1, math.ceil(min(*named_ends, NEVER)))
    if not fresh:
        least, most = preset.tuned_passes
        tokens = min(max(preset.tokens, least * num_train_tokens), most * num_train_tokens)
        return max(1, math.ceil(tokens / tokens_per_step))
    usual: float = DEFAULTS.get(named["base"], {}).get("steps", FRESH_STEPS) * preset.length
    fewest, longest = (passes * num_train_tokens / tokens_per_step for passes in preset.passes)
    bent = min(max(usual, math.ceil(fewest)), math.ceil(longest))
    return round(min(max(bent, LEAST_STEPS * preset.length), MOST_STEPS * preset.length))


def between(points: tuple[tuple[float, float], ...], x: float) -> float:
    """The value at x of the line through the points' logarithms; beyond the ends, that of the end."""
    if x <= points[0][0]:
        return points[0][1]
    for (left, low), (right, high) in pairwise(points):
        if x <= right:
            share = math.log(x / left) / math.log(right / left)
            return low * (high / low) ** share
    return points[-1][1]

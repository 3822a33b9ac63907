"""What a run would do, told before any step of it is done: memory, time, disk, what would be changed to fit.

In: a run that can begin, the device, and what a few tried steps took, or nothing. Out: a Forecast.
Starts no run, knows no wire.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from services.gpt2.config import GPT2Config
from services.trainer import machine, memory
from services.trainer.adjusting import Adjustments, what_would_fit, with_less_memory
from services.trainer.machine import Device
from services.trainer.presets import RATE_OF_OPTIMIZER, between
from services.trainer.run_settings import RunSettings

# The share of a float32 product's rate that a step reaches, by the model's width; bfloat16 where it is in hardware
# counts three times. Measured with nano, mini and 124M: a small model spends its time between the products.
EFFICIENCY = ((128, 0.15), (384, 0.35), (768, 0.7), (1280, 0.8))
BFLOAT16_GAIN = 2.4
GPU_RATE = 100e12  # operations a second, where nothing was tried: a plan without a probe is rough on a GPU
VALIDATION_SHARE = 1 / 3  # of a trained token's time: forward alone
SAMPLE_BYTES_PER_S = 8e9  # a token is written in the time that the weights are read in
SAMPLE_TOKEN_S = 2e-3  # and no faster
DISK_BYTES_PER_S = 300e6
START_S = 20.0  # loading TensorFlow and compiling
# More passes than these: learned by heart, by the model's size. A fresh model's validation turned after 16 of `mini`.
RECITED_PASSES = ((1e6, 64), (14e6, 32), (124e6, 15), (1558e6, 8))
FEW_VALIDATION_TOKENS = 2000
HIGH_RATES = ((124e6, 2e-4), (1558e6, 5e-5))  # for weights that know something


@dataclass(frozen=True, slots=True)
class Tried:
    """What a probe found."""

    seconds_per_step: float
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run would do. Bytes, seconds, sentences."""

    settings: RunSettings
    changes: tuple[str, ...]
    remarks: tuple[str, ...]
    num_parameters: int
    num_trained_parameters: int
    num_train_tokens: int
    memory_bytes: dict[str, int]
    available_memory_bytes: int
    seconds_per_step: float
    is_measured: bool
    total_seconds: float
    disk_bytes: int
    epochs: float
    device: str
    fits: bool

    @property
    def peak_memory_bytes(self) -> int:
        """Of the training process."""
        return sum(self.memory_bytes.values())


@dataclass(frozen=True, slots=True)
class Fitted:
    """A run's settings as they fit the device, or as they were asked for where nothing does."""

    settings: RunSettings
    precision: str
    """Of the matrix products, `auto` decided."""
    changes: tuple[str, ...] = ()
    fits: bool = True
    adjustments: Adjustments = Adjustments()


def fit(settings: RunSettings, config: GPT2Config, device: Device) -> Fitted:
    """Change what must be changed for a step to fit into the device's memory: micro-batch, gradient checkpointing."""
    precision = settings.precision
    if precision == "auto":
        precision = machine.fastest_precision(config.num_parameters, has_gpu=device.num_gpus > 0)
    now = Fitted(settings, precision)
    while not _fits(now.settings, config, precision, device):
        less = smaller(now, settings)
        if less is None:
            return replace(Fitted(settings, precision), fits=False)
        now = less
    return now


def smaller(now: Fitted, asked: RunSettings) -> Fitted | None:
    """The next smaller step; None where there is none, or the run is not to be changed."""
    less = with_less_memory(asked, now.adjustments) if asked.fit_memory else None
    if less is None:
        return None
    adjustments, words = less
    # Of several cuts of the micro-batch the last says it all.
    changes = tuple(change for change in now.changes if "rows at a time" not in change or "rows at a time" not in words)
    return Fitted(adjustments.apply(asked), now.precision, (*changes, words), adjustments=adjustments)


def _fits(settings: RunSettings, config: GPT2Config, precision: str, device: Device) -> bool:
    needed = sum(_memory(settings, config, precision, device).values())
    return not device.available_bytes or needed <= device.available_bytes


def _memory(settings: RunSettings, config: GPT2Config, precision: str, device: Device) -> dict[str, int]:
    """What the run takes of the memory that `device` tells of: a GPU's, or all."""
    return memory.estimate(config, settings, precision, saving=not device.num_gpus)


def foresee(
    fitted: Fitted,
    config: GPT2Config,
    *,
    fresh: bool,
    num_train_tokens: int,
    num_validation_tokens: int,
    num_pass_tokens: int,
    device: Device,
    tried: Tried | None,
    steps_behind: int = 0,
) -> Forecast:
    """Tell what a run would do.

    Args:
        fitted, config: of the run.
        fresh: it starts from random weights.
        num_train_tokens, num_validation_tokens: of the dataset.
        num_pass_tokens: in the rows of one pass, padding included.
        device: what there is.
        tried: what trying a few steps found; None: estimate.
        steps_behind: of `steps`, those that another program has done.
    """
    settings = fitted.settings
    steps = settings.steps - steps_behind
    seconds = tried.seconds_per_step if tried else _estimated_seconds(settings, config, fitted.precision, device)
    tokens_per_step = settings.rows_per_step * settings.context
    trained = memory.trained_shapes(config, settings)
    epochs = steps * tokens_per_step / num_pass_tokens
    checkpoint = memory.checkpoint_bytes(config, settings)
    kept = min(settings.keep, math.ceil(steps / settings.save_every)) + settings.saves_best
    remarks = [] if fitted.fits else [what_would_fit(settings)]
    remarks += _remarks(settings, config, fresh, epochs, num_validation_tokens)
    ahead = replace(settings, steps=steps)
    total = START_S + _total_seconds(ahead, config, seconds, tokens_per_step, num_validation_tokens, checkpoint)
    if settings.minutes and total > 60 * settings.minutes:
        reached = steps_behind + steps * 60 * settings.minutes / total
        remarks.append(f"{settings.minutes:g} minutes end it at about step {reached:,.0f} of {settings.steps:,}")
        total = 60 * settings.minutes
    return Forecast(
        settings=settings,
        changes=fitted.changes,
        remarks=tuple(remarks),
        num_parameters=config.num_parameters,
        num_trained_parameters=sum(math.prod(shape) for shape in trained.values()),
        num_train_tokens=num_train_tokens,
        memory_bytes=_memory(settings, config, fitted.precision, device),
        available_memory_bytes=device.available_bytes,
        seconds_per_step=seconds,
        is_measured=tried is not None,
        total_seconds=total,
        disk_bytes=kept * checkpoint,
        epochs=epochs,
        device=tried.device if tried else device.words,
        fits=fitted.fits,
    )


def _estimated_seconds(settings: RunSettings, config: GPT2Config, precision: str, device: Device) -> float:
    """Seconds per step from the count of operations and the rate of a product. DESIGN's count: (6N + 12LCT) a token."""
    per_token = 6.0 * config.num_parameters + 12 * config.n_layer * config.n_embd * settings.context
    if settings.gradient_checkpointing:
        per_token *= 4 / 3
    if device.num_gpus:
        rate = GPU_RATE * device.num_gpus
    else:
        rate = machine.product_rate() * between(EFFICIENCY, config.n_embd)
        rate *= BFLOAT16_GAIN if precision == "bfloat16" else 1.0
    return per_token * settings.rows_per_step * settings.context / rate


def _total_seconds(
    settings: RunSettings,
    config: GPT2Config,
    seconds_per_step: float,
    tokens_per_step: int,
    num_validation_tokens: int,
    checkpoint: int,
) -> float:
    validations = settings.steps // settings.validate_every if settings.validate_every else 1
    validation = num_validation_tokens * VALIDATION_SHARE * seconds_per_step / tokens_per_step
    times = settings.steps // settings.sample_every if settings.sample_every else 0
    texts = settings.sample_num * len(settings.sample_prompts) * len(settings.sample_temperatures)
    per_token = max(SAMPLE_TOKEN_S, 4 * config.num_parameters / SAMPLE_BYTES_PER_S)
    saves = settings.steps / settings.save_every + 1
    return (
        settings.steps * seconds_per_step
        + max(1, validations) * validation
        + times * texts * settings.sample_length * per_token
        + saves * checkpoint / DISK_BYTES_PER_S
    )


def _remarks(
    settings: RunSettings, config: GPT2Config, fresh: bool, epochs: float, num_validation_tokens: int
) -> list[str]:
    remarks = []
    usual = between(HIGH_RATES, config.num_parameters) * RATE_OF_OPTIMIZER.get(settings.optimizer, 1.0)
    if not fresh and not settings.lora_rank and settings.learning_rate > usual:
        remarks.append(
            f"a learning rate of {settings.learning_rate:.2g} is high for weights that know something: "
            f"much of it may be forgotten; {usual:.2g} is the most that is usual for this size"
        )
    recited = between(RECITED_PASSES, config.num_parameters)
    if epochs > recited:
        guard = (
            f"; it ends when validation has turned (patience {settings.patience})"
            if settings.patience and num_validation_tokens
            else "; set patience, fewer steps, or add posts"
        )
        remarks.append(
            f"{epochs:.0f} passes over the posts are more than about {recited:.0f}, after which a model of this size "
            f"begins to recite them{guard}"
        )
    if not num_validation_tokens:
        remarks.append("the dataset holds no validation documents: nothing tells when to stop, and none is the best")
    elif num_validation_tokens < FEW_VALIDATION_TOKENS:
        remarks.append(
            f"{num_validation_tokens:,} validation tokens are few: their loss jumps, and patience may end the run early"
        )
    return remarks

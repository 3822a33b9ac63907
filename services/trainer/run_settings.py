"""What a run was asked to do: every choice resolved to a value, checked, and never changed afterwards.

In: the choices of a request and the base's name. Out: a frozen RunSettings, or InvalidRequest naming the
field. Knows neither files nor the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from services.common.errors import FailedPrecondition, InvalidRequest
from services.gpt2.config import GPT2Config
from services.trainer.presets import left_out, tokens_per_pass

MIN_CONTEXT = 8  # below this nothing can be learned from a row
CHOICES = {
    "schedule": ("cosine", "linear", "constant", "warmup_stable_decay", "inverse_sqrt"),
    "precision": ("auto", "float32", "bfloat16", "float16"),
    "publish": ("never", "at_end", "on_best", "on_best_original"),
    "preset": ("gentle", "standard", "thorough"),
    "optimizer": ("adamw", "adam", "sgd", "adafactor", "lion"),
    "packing": ("stream", "masked", "documents"),
    "on_divergence": ("skip_step", "lower_rate", "fail"),
}
MAX_PROMPTS, MAX_TEMPERATURES = 16, 8
LEAST_COMPARED = 12  # tokens of the shortest run that is verbatim, as services/tokens/originality.py has it
MOST_STEPS = 2**31 - 1  # as the wire has them


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The settings of one run. Where the base or the corpus matters, presets.py has what is left out."""

    dataset: str
    """Dataset id."""
    base: str = "nano"
    """What it starts from, as a word of sources.py, with its step or version."""
    steps: int = 1000
    """Optimizer updates in the whole run, from 1."""
    batch_size: int = 1
    """Rows per forward pass, from 1."""
    accumulation: int = 1
    """Forward passes per update, from 1; their gradients are averaged."""
    context: int = 1024
    """Tokens per row, 2 to the model's context."""
    learning_rate: float = 5e-5
    """The highest rate, above 0."""
    warmup_steps: int = 0
    """Steps of linear rise, below `steps`."""
    schedule: str = "cosine"
    """What follows the rise: cosine, linear, constant, warmup_stable_decay or inverse_sqrt."""
    floor: float = 0.1
    """The rate at the last step as a share of the highest, 0 to 1; unused when constant."""
    decay_share: float = 0.2
    """The last part of warmup_stable_decay as a share of `steps`, above 0 to 1."""
    optimizer: str = "adamw"
    """adamw, adam, sgd, adafactor or lion."""
    momentum: float = 0.9
    """SGD's, 0 to below 1."""
    weight_decay: float = 0.01
    """Decay of matrices apart from the gradient, from 0; adam has none."""
    beta1: float = 0.9
    """Decay of the first moment of adamw, adam and lion, 0 to below 1."""
    beta2: float = 0.99
    """Decay of the second moment of adamw and adam, and of lion's one, 0 to below 1."""
    clip_norm: float = 1.0
    """Largest norm of all gradients together; 0 does not clip."""
    dropout: float = 0.1
    """Probability of dropping an activation, 0 to below 1."""
    label_smoothing: float = 0.0
    """Share of the target's probability that is spread over the vocabulary, 0 to below 1."""
    input_noise: float = 0.0
    """Chance that an input token is replaced by a random one, 0 to below 1."""
    packing: str = "stream"
    """How documents become rows: stream, masked (the same, without attention across documents) or documents."""
    gradient_checkpointing: bool = False
    """Whether each block's activations are computed again in the backward pass."""
    only_transformer_layers: bool = False
    """Whether the blocks alone are trained: embeddings and the last LN stay as they are."""
    frozen_layers: int = 0
    """The first so many blocks, and the embeddings, stay as they are; from 0."""
    lora_rank: int = 0
    """Rank of the thin matrices that are trained in place of the weights (LoRA); 0 trains the weights."""
    lora_alpha: float = 0.0
    """What the thin matrices add is multiplied by lora_alpha / lora_rank; 0 means twice the rank."""
    fit_memory: bool = True
    """Whether a step that does not fit is made to fit: smaller micro-batches, then gradient checkpointing."""
    gpus: int = 0
    """GPUs to train on together; 0 means as many of those there are as divide batch_size."""
    precision: str = "auto"
    """Matrix products in float32, bfloat16 or float16; auto takes the faster for this model and machine."""
    seed: int = 0
    """Of fresh weights, order of rows, dropout and samples; 0 to 2^63 - 1."""
    save_every: int = 1000
    """Steps between checkpoints, from 1; one is always written at the end and when stopped."""
    keep: int = 5
    """Newest checkpoints kept, from 1; the one with the lowest validation loss is kept besides."""
    sample_every: int = 100
    """Steps between samples; 0 writes none."""
    sample_length: int = 1024
    """Most tokens of a sample, from 1."""
    sample_num: int = 1
    """Samples at a time, from 1."""
    validate_every: int = 100
    """Steps between validations; 0 validates at the end only."""
    save_best: bool = True
    """Whether the lowest validation loss so far writes a checkpoint."""
    sample_prompts: tuple[str, ...] = ("",)
    """Texts that samples begin with; an empty one begins from nothing."""
    sample_temperatures: tuple[float, ...] = (1.0,)
    """Each prompt is written at each of these; from 0."""
    sample_top_k: int = 40
    """Samples are drawn among so many most likely tokens; 0 means all."""
    sample_top_p: float = 1.0
    """And among the most likely that together have this probability, above 0 to 1."""
    publish: str = "never"
    """never; at_end: one checkpoint, the best where validation ended the run; on_best: each new best one; or
    on_best_original: each new best one whose samples recite little."""
    max_verbatim_share: float = 0.1
    """How much of the samples may stand in the posts word for word where publish is on_best_original, 0 to 1."""
    keep_versions: int = 5
    """Published versions of the run's model kept, from 1; marked ones are kept besides."""
    preset: str = "standard"
    """Where the settings that the request left out came from: gentle, standard or thorough."""
    epochs: float = 0.0
    """End after so many passes over the training documents; 0 is no end."""
    tokens: int = 0
    """End after so many tokens; 0 is no end."""
    minutes: float = 0.0
    """End after so many minutes of training; 0 is no end."""
    patience: int = 0
    """End after so many validations without a new lowest loss; 0 is no end."""
    on_divergence: str = "skip_step"
    """What a step whose loss is no number, or jumps, leads to: skip_step, lower_rate or fail."""
    spike_limit: float = 0.0
    """A loss so many standard deviations above the mean of the last 128 is a jump; 0: only what is no number."""
    restarts: int = 5
    """How often in a row a killed process is started again without a new checkpoint between, the service killed too."""

    @property
    def publishes_bests(self) -> bool:
        """Whether checkpoints are published as they come: each new best one, or some of them."""
        return self.publish in ("on_best", "on_best_original")

    @property
    def saves_best(self) -> bool:
        """Whether a new lowest validation loss writes a checkpoint: the run may end with it, or is to publish it."""
        return self.save_best or bool(self.patience) or self.publishes_bests

    @property
    def rows_per_step(self) -> int:
        """Rows that one update sees."""
        return self.batch_size * self.accumulation


def resolve(
    choices: dict[str, Any],
    *,
    config: GPT2Config,
    num_train_tokens: int,
    num_validation_tokens: int = 0,
    document_lengths: Sequence[int] = (),
    fresh: bool = True,
) -> RunSettings:
    """Return the settings of a request: its choices, and for the rest what its preset says of base and corpus.

    `steps` becomes the first of the ends that are counted: steps, epochs, tokens. Minutes and patience end a run on the
    way.

    Args:
        choices: values by field name; `dataset` at least.
        config: of the base.
        num_train_tokens: of the dataset; a context that it cannot fill shrinks.
        num_validation_tokens: of the dataset; they bound how often it is worth while to validate.
        document_lengths: of the train documents, in tokens; a pass takes more rows where each begins one.
        fresh: the base is random weights.

    Raises:
        InvalidRequest: a value is out of its range.
        FailedPrecondition: the dataset is too small to learn from.
    """
    named: dict[str, Any] = {"base": "nano", "context": config.n_ctx} | choices
    check_ranges(named)
    if named["context"] > config.n_ctx:
        _refuse("context", named["context"], f"base {named['base']!r} sees at most {config.n_ctx} tokens")
    named["context"] = fit_context(named["context"], num_train_tokens)
    values = named | left_out(
        named,
        config=config,
        fresh=fresh,
        num_train_tokens=tokens_per_pass(
            named.get("packing", ""), named["context"], document_lengths, num_train_tokens
        ),
        num_validation_tokens=num_validation_tokens,
    )
    values.setdefault("sample_length", values["context"])
    if values.get("lora_rank") and not values.get("lora_alpha"):
        values["lora_alpha"] = 2.0 * values["lora_rank"]
    settings = RunSettings(**values)
    check(settings)
    for name, most, what in (
        ("frozen_layers", config.n_layer, "layers"),
        ("lora_rank", config.n_embd, "numbers a token"),
    ):
        if getattr(settings, name) > most:
            _refuse(name, getattr(settings, name), f"base {settings.base!r} has {most} {what}")
    return settings


def from_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by field as JSON holds them, its lists as the tuples that they were."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def fit_context(context: int, num_train_tokens: int) -> int:
    """Return the longest row that the corpus can fill, at most `context`.

    Raises:
        FailedPrecondition: the corpus holds too few tokens to train at all.
    """
    if num_train_tokens <= MIN_CONTEXT:
        raise FailedPrecondition(
            f"the dataset holds {num_train_tokens} training tokens and {MIN_CONTEXT + 1} are the least; "
            "add posts and build the dataset again",
            reason="DATASET_TOO_SMALL",
        )
    return min(context, num_train_tokens - 1)


def check_ranges(named: Mapping[str, Any]) -> None:
    """Raise InvalidRequest naming the first of the named values that is out of its range, whatever the others are."""
    plain: dict[str, Any] = {field.name: field.default for field in fields(RunSettings)}
    values: dict[str, Any] = {**plain, "dataset": "-", "steps": MOST_STEPS, **named}
    check(RunSettings(**values))


def check(settings: RunSettings) -> None:
    """Raise InvalidRequest naming the first field whose value is out of its range."""
    s = settings
    if not s.dataset:
        _refuse("dataset", s.dataset, "give the id of a dataset")
    for name in (
        *("steps", "batch_size", "accumulation", "save_every", "keep", "keep_versions"),
        *("sample_length", "sample_num"),
    ):
        if getattr(s, name) < 1:
            _refuse(name, getattr(s, name), "it must be at least 1")
    if s.steps > MOST_STEPS:
        _refuse("steps", s.steps, f"at most {MOST_STEPS:,}; where epochs or tokens lead to so many, ask for fewer")
    for name in (
        *("warmup_steps", "sample_every", "validate_every", "frozen_layers", "lora_rank", "gpus", "sample_top_k"),
        *("patience", "restarts", "tokens"),
    ):
        if getattr(s, name) < 0:
            _refuse(name, getattr(s, name), "it must be at least 0")
    for name in (*("learning_rate", "weight_decay", "clip_norm", "lora_alpha", "epochs", "minutes", "spike_limit"),):
        if not (math.isfinite(getattr(s, name)) and getattr(s, name) >= 0):
            _refuse(name, getattr(s, name), "it must be a finite number, at least 0")
    for name in ("beta1", "beta2", "dropout", "momentum", "label_smoothing", "input_noise"):
        if not 0 <= getattr(s, name) < 1:
            _refuse(name, getattr(s, name), "it must be at least 0 and below 1")
    if s.learning_rate == 0:
        _refuse("learning_rate", s.learning_rate, "it must be above 0")
    if not 0 <= s.floor <= 1:
        _refuse("floor", s.floor, "it must be a share of learning_rate, 0 to 1")
    if not 0 <= s.max_verbatim_share <= 1:
        _refuse("max_verbatim_share", s.max_verbatim_share, "it must be a share of the samples, 0 to 1")
    for name in ("decay_share", "sample_top_p"):
        if not 0 < getattr(s, name) <= 1:
            _refuse(name, getattr(s, name), "it must be above 0, and at most 1")
    if not 1 <= len(s.sample_prompts) <= MAX_PROMPTS:
        _refuse("sample_prompts", len(s.sample_prompts), f"give 1 to {MAX_PROMPTS} texts")
    if not 1 <= len(s.sample_temperatures) <= MAX_TEMPERATURES:
        _refuse("sample_temperatures", len(s.sample_temperatures), f"give 1 to {MAX_TEMPERATURES} numbers")
    for value in s.sample_temperatures:
        if not (math.isfinite(value) and value >= 0):
            _refuse("sample_temperatures", value, "each must be a finite number, at least 0")
    if s.context < 2:
        _refuse("context", s.context, "it must be at least 2")
    if s.warmup_steps >= s.steps and s.warmup_steps:
        _refuse("warmup_steps", s.warmup_steps, f"it must be below steps ({s.steps})")
    if not 0 <= s.seed < 2**63:
        _refuse("seed", s.seed, "it must be 0 to 2^63 - 1")
    for name, allowed in CHOICES.items():
        if getattr(s, name) not in allowed:
            _refuse(name, getattr(s, name), f"it must be one of {', '.join(allowed)}")
    if s.publish == "on_best_original" and not s.sample_every:
        _refuse("publish", s.publish, "it goes by what samples recite, and sample_every 0 writes none; set it above 0")
    if s.publish == "on_best_original" and s.sample_length < LEAST_COMPARED:
        rule = f"publish on_best_original looks for runs of {LEAST_COMPARED} tokens in samples; let them be longer"
        _refuse("sample_length", s.sample_length, rule)


def check_same(recorded: RunSettings, asked: dict[str, Any], choices: dict[str, Any], *, run: str) -> None:
    """Refuse to carry a run on with other settings than it began with.

    Args:
        recorded: what the run began with.
        asked: what its first request named; a value that was fitted to the corpus since is still the same
        wish.
        choices: what this request names; a setting that it leaves out is not compared.

    Raises:
        FailedPrecondition: naming every setting that differs, with both values.
    """
    differing = {
        name: f"{name} is {getattr(recorded, name)!r}, asked for {value!r}"
        for name, value in choices.items()
        if value not in (getattr(recorded, name), asked.get(name))
    }
    if differing:
        raise FailedPrecondition(
            f"run {run!r} began with other settings: {'; '.join(differing.values())}; "
            "leave them out to carry it on, or give the new run another name",
            reason="SETTINGS_DIFFER",
            metadata={"run": run, "settings": ", ".join(differing)},
        )


def _refuse(name: str, value: object, rule: str) -> None:
    field = name if name in ("dataset", "base") else f"settings.{name}"
    raise InvalidRequest(f"{name} is {value!r}: {rule}", field=field)

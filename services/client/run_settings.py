"""A run's settings as words: what each is called, what it does, and what it is unless someone says otherwise.

In: the wire's RunSettings and values by name, as from options, a file or a form. Out: the same. What a value must be
in detail is the trainer's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protos import trainer_pb2
from services.common.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting in words. `default` is empty where the preset, the base or the corpus decides."""

    label: str
    meaning: str
    default: str = ""


# By what they are about, in the order in which a person would look for them.
SETTINGS: dict[str, dict[str, Setting]] = {
    "How long": {
        "preset": Setting("Preset", "Where everything that is left out comes from.", "standard"),
        "steps": Setting("Steps", "Optimizer steps in all."),
        "epochs": Setting("Passes", "End after so many passes over the posts."),
        "tokens": Setting("Tokens", "End after so many tokens."),
        "minutes": Setting("Minutes", "End after so many minutes of training."),
        "patience": Setting("Patience", "End after so many validations without a new lowest loss; 0 does not."),
    },
    "How it learns": {
        "batch_size": Setting("Passages at once", "Sequences per micro-batch."),
        "accumulation": Setting("Rounds per step", "Micro-batches per step.", "1"),
        "context": Setting("Length of a passage", "Tokens per sequence."),
        "packing": Setting("Packing", "How documents become sequences.", "stream"),
        "optimizer": Setting("Optimizer", "The rule that changes the weights.", "adamw"),
        "learning_rate": Setting("Learning rate", "Highest learning rate."),
        "warmup_steps": Setting("Gentle start", "Steps of linear warm-up."),
        "schedule": Setting("Learning rate over time", "How the rate moves after the warm-up.", "cosine"),
        "floor": Setting("Lowest learning rate", "Lowest learning rate as a share of the highest.", "0.1"),
        "decay_share": Setting("Decay", "Last part of warmup_stable_decay, as a share of the steps.", "0.2"),
        "weight_decay": Setting("Weight decay", "AdamW's and Lion's decay, on matrices only."),
        "beta1": Setting("Beta 1", "First decay rate of Adam and Lion."),
        "beta2": Setting("Beta 2", "Second decay rate of Adam and Lion."),
        "momentum": Setting("Momentum", "SGD's.", "0.9"),
        "clip_norm": Setting("Largest change", "Largest norm of the gradient; 0 does not clip.", "1"),
        "dropout": Setting("Dropout", "Share of activations dropped while learning."),
        "label_smoothing": Setting("Label smoothing", "Share of the target's probability spread over all.", "0"),
        "input_noise": Setting("Noise", "Chance that an input token is replaced by a random one.", "0"),
        "seed": Setting("Seed", "Seed of everything random.", "0"),
    },
    "What is trained, and in how much memory": {
        "precision": Setting("Arithmetic", "Number format of the matrix products.", "auto"),
        "gradient_checkpointing": Setting("Gradient checkpointing", "Much less memory, a fifth slower.", "false"),
        "fit_memory": Setting("Make it fit", "Lower the micro-batch when a step does not fit.", "true"),
        "only_transformer_layers": Setting("Layers only", "Leave the embeddings as they are.", "false"),
        "frozen_layers": Setting("Frozen layers", "Leave the first so many blocks and the embeddings.", "0"),
        "lora_rank": Setting("LoRA rank", "Train thin matrices of this rank instead; 0 does not.", "0"),
        "lora_alpha": Setting("LoRA alpha", "Weight of the thin matrices.", "twice the rank"),
        "gpus": Setting("GPUs", "GPUs to train on together; 0: all there are.", "0"),
    },
    "When it goes wrong": {
        "on_divergence": Setting("A loss that is no number", "Or that jumps: what it leads to.", "skip_step"),
        "spike_limit": Setting("Jump", "Standard deviations above the mean loss that are a jump; 0: none.", "0"),
        "restarts": Setting("Restarts", "How often in a row a killed process is started again.", "5"),
    },
    "What it writes down on the way": {
        "save_every": Setting("Save every", "Steps between checkpoints.", "1000"),
        "save_best": Setting("Save the best", "Also when validation has its lowest loss so far.", "true"),
        "keep": Setting("Checkpoints kept", "Newest checkpoints kept, besides the best and marked ones.", "5"),
        "validate_every": Setting("Check every", "Steps between validations; 0: at the end only.", "100"),
        "sample_every": Setting("Sample every", "Steps between samples; 0 writes none.", "100"),
        "sample_num": Setting("Samples each time", "For each prompt and temperature.", "1"),
        "sample_length": Setting("Length of a sample", "Longest sample in tokens."),
        "sample_prompts": Setting("Prompts", "What samples begin with; give it several times for several."),
        "sample_temperatures": Setting("Temperatures", "Of the samples; give it several times for several.", "1"),
        "sample_top_k": Setting("Top k", "Samples are drawn among so many most likely tokens; 0: all.", "40"),
        "sample_top_p": Setting("Top p", "And among those that together have this probability.", "1"),
        "publish": Setting("Publish", "When to publish by itself, as model RUN.", "never"),
        "keep_versions": Setting("Versions kept", "Published versions kept, besides marked ones.", "5"),
    },
}  # fmt: skip
FIELDS: Mapping[str, Any] = trainer_pb2.RunSettings.DESCRIPTOR.fields_by_name


def words_of(field: Any) -> list[str]:
    """The values of a setting that is a choice, in words: `warmup-stable-decay`."""
    return [_word(field, value.name) for value in field.enum_type.values[1:]]


def run_settings(values: Mapping[str, Any]) -> trainer_pb2.RunSettings:
    """The message of values by name; None leaves a setting unset, and so does an empty list.

    Raises:
        InvalidRequest: no such setting, or not a value of its kind; names both.
    """
    settings = trainer_pb2.RunSettings()
    for name, value in values.items():
        if name not in FIELDS:
            raise InvalidRequest(f"there is no setting {name!r}; see `nonesuch train --help`", field=name)
        if value is None:
            continue
        field = FIELDS[name]
        try:
            if field.is_repeated:
                getattr(settings, name).extend(value)
            elif field.enum_type is not None:
                setattr(settings, name, _number(field, str(value)))
            else:
                setattr(settings, name, value)
        except (TypeError, ValueError):
            raise InvalidRequest(f"{name} is {value!r}, which no run can have", field=name) from None
    return settings


def _number(field: Any, word: str) -> int:
    for value in field.enum_type.values[1:]:
        if _word(field, value.name) == word.lower().replace("_", "-"):
            return int(value.number)
    raise InvalidRequest(f"{field.name} is {word!r}; write {', '.join(words_of(field))}", field=field.name)


def _word(field: Any, name: str) -> str:
    prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
    return str(name).removeprefix(prefix).lower().replace("_", "-")

"""A run's settings as words: what each is called, what it does, and what it is unless someone says otherwise.

The one table of it: options, the file and the form are made from it. In: the wire's RunSettings, and values by name.
Out: the same. What a value must be in detail is the trainer's business.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from protos import trainer_pb2
from services.common.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting in words.

    Args:
        label: its name for people.
        meaning: what it does, in a sentence or two.
        default: in words; empty where the preset, the base or the corpus decides.
        least, most: what a number may be; None is no limit of its own.
        words: for a choice, what each of its values means.
    """

    label: str
    meaning: str
    default: str = ""
    least: float | None = None
    most: float | None = None
    words: Mapping[str, str] = field(default_factory=dict)


_BELOW_1 = 0.999  # the trainer takes what is nearer, too
_PRESETS = {
    "gentle": "short and careful",
    "standard": "until the voice is learned",
    "thorough": "longer, and more patient",
}
_SCHEDULES = {
    "constant": "stays",
    "linear": "falls evenly",
    "cosine": "falls gently",
    "warmup-stable-decay": "stays, then falls",
    "inverse-sqrt": "falls ever more slowly",
}
_PRECISIONS = {"auto": "what is fastest", "float32": "exact (32 bit)", "bfloat16": "fast (16 bit)"}
_PUBLISHING = {
    "never": "when I ask for it",
    "at-end": "when training ends",
    "on-best": "each time it is better than before",
    "on-best-original": "each time it is better than before and recites little",
}

# By what they are about, in the order in which a person would look for them.
SETTINGS: dict[str, dict[str, Setting]] = {
    "How long": {
        "preset": Setting("Preset", "Where everything that is left out comes from.", "standard", words=_PRESETS),
        "steps": Setting(
            "Steps", "How long to practise. More steps take longer and learn more, up to a point.", least=1
        ),
        "epochs": Setting("Passes", "End after so many passes over the posts.", "no such end", least=0),
        "tokens": Setting("Tokens", "End after reading so many tokens.", "no such end", least=0),
        "minutes": Setting("Minutes", "End after so many minutes of training.", "no such end", least=0),
        "patience": Setting(
            "Patience",
            "End after so many checks on unread posts without a better one than before; 0 does not.",
            least=0,
        ),
    },
    "How it learns": {
        "batch_size": Setting(
            "Passages at once", "Passages read together. More is steadier, and needs more memory.", least=1
        ),
        "accumulation": Setting(
            "Rounds per step", "Rounds read before each change: as more passages at once, in less memory.", least=1
        ),
        "context": Setting(
            "Length of a passage",
            "In tokens: pieces of words, about three quarters of a word each.",
            "as long as the model sees",
            least=2,
        ),
        "packing": Setting(
            "Packing",
            "How posts become passages.",
            "stream",
            words={
                "stream": "end to end",
                "masked": "end to end, each post by itself",
                "documents": "each post begins a passage",
            },
        ),
        "optimizer": Setting("Optimizer", "The rule by which the model changes.", "adamw"),
        "learning_rate": Setting(
            "Learning rate",
            "How boldly each step changes the model. Too high and it forgets; too low and it hardly learns.",
            least=0,
        ),
        "warmup_steps": Setting("Gentle start", "Steps over which the learning rate rises from zero.", least=0),
        "schedule": Setting(
            "Learning rate over time", "Small changes at the end let the model settle.", "cosine", words=_SCHEDULES
        ),
        "floor": Setting("Lowest learning rate", "As a share of the highest.", "0.1", least=0, most=1),
        "decay_share": Setting(
            "Decay", "Of warmup-stable-decay: how much of the run the rate falls for, as a share.", "0.2", 0, 1
        ),
        "weight_decay": Setting("Weight decay", "Keeps the model simple, so that it learns by heart less.", least=0),
        "beta1": Setting("Beta 1", "How long Adam and Lion remember the direction of change.", "0.9", 0, _BELOW_1),
        "beta2": Setting("Beta 2", "How long Adam and Lion remember its size.", "0.99", 0, _BELOW_1),
        "momentum": Setting("Momentum", "How long SGD remembers the direction of change.", "0.9", 0, _BELOW_1),
        "clip_norm": Setting(
            "Largest change", "Limits how much one odd passage can upset the model; 0: no limit.", "1", least=0
        ),
        "dropout": Setting(
            "Dropout",
            "Hides a share of the model at random while it learns; also against learning by heart.",
            least=0,
            most=_BELOW_1,
        ),
        "label_smoothing": Setting(
            "Label smoothing", "Keeps the model from being too sure: a share of every answer.", "0", 0, _BELOW_1
        ),
        "input_noise": Setting(
            "Noise", "Share of the tokens that are replaced by random ones as it reads.", "0", 0, _BELOW_1
        ),
        "seed": Setting("Seed", "The same seed and settings give the same run.", "0", 0, 2**63 - 1),
    },
    "What is trained, and in how much memory": {
        "precision": Setting(
            "Arithmetic", "Fast arithmetic helps where the processor has it.", "auto", words=_PRECISIONS
        ),
        "gradient_checkpointing": Setting(
            "Gradient checkpointing", "Needs much less memory, and is about a fifth slower.", "no"
        ),
        "fit_memory": Setting(
            "Make it fit", "Read fewer passages at once when a step does not fit into memory.", "yes"
        ),
        "only_transformer_layers": Setting("Layers only", "Leave the embeddings as they are.", "no"),
        "frozen_layers": Setting(
            "Frozen layers", "Leave the first so many layers, and the embeddings, as they are.", "0", least=0
        ),
        "lora_rank": Setting(
            "LoRA rank", "Train thin matrices of this rank instead of the weights; 0 does not.", "0", least=0
        ),
        "lora_alpha": Setting("LoRA alpha", "How much the thin matrices weigh.", "twice the rank", least=0),
        "gpus": Setting("GPUs", "GPUs to train on together; 0: all there are.", "0", least=0),
    },
    "When it goes wrong": {
        "on_divergence": Setting(
            "A step that goes wrong",
            "What a loss that is no number, or that jumps, leads to.",
            "skip-step",
            words={
                "skip-step": "skip the step",
                "lower-rate": "go back, and on at half the rate",
                "fail": "end the run",
            },
        ),
        "spike_limit": Setting(
            "Jump", "Standard deviations above the mean loss that are a jump; 0: none is.", "0", least=0
        ),
        "restarts": Setting("Restarts", "How often in a row a killed run goes on by itself.", "5", least=0),
    },
    "What it writes down on the way": {
        "save_every": Setting("Save every", "Steps between checkpoints. The last step is always saved.", least=1),
        "save_best": Setting("Save the best", "Save whenever unread posts are predicted better than before.", "yes"),
        "keep": Setting("Checkpoints kept", "Older ones are deleted, but for the best and marked ones.", "5", least=1),
        "validate_every": Setting(
            "Check every", "Steps between checks on posts that the model does not read; 0: at the end only.", least=0
        ),
        "sample_every": Setting(
            "Sample every", "Steps between samples, each of which is compared with your posts; 0: none.", least=0
        ),
        "sample_num": Setting("Samples each time", "Texts to write for each prompt and temperature.", "1", least=1),
        "sample_length": Setting("Length of a sample", "In tokens, at most.", "one passage", least=1),
        "sample_prompts": Setting("Prompts", "What samples begin with; several for several.", "from nothing"),
        "sample_temperatures": Setting("Temperatures", "How freely samples are written; several for several.", "1"),
        "sample_top_k": Setting("Top k", "Samples are drawn among so many most likely tokens; 0: all.", "40", least=0),
        "sample_top_p": Setting("Top p", "And among those that together have this probability.", "1", least=0, most=1),
        "publish": Setting("Let it write", "When to publish a model by the run's name.", "never", words=_PUBLISHING),
        "max_verbatim_share": Setting(
            "Recites at most",
            "Of on-best-original: how much of the samples may stand in your posts word for word, as a share.",
            *("0.1", 0, 1),
        ),
        "keep_versions": Setting("Versions kept", "Published versions kept, besides marked ones.", "5", least=1),
    },
}
FIELDS: Mapping[str, Any] = trainer_pb2.RunSettings.DESCRIPTOR.fields_by_name


def words_of(kind: Any) -> list[str]:
    """The values of a setting that is a choice, in words: `warmup-stable-decay`."""
    return [_word(kind, value.name) for value in kind.enum_type.values[1:]]


def values_of(settings: trainer_pb2.RunSettings) -> dict[str, Any]:
    """What is set in a message, by name and as a person would write it: the inverse of `run_settings`."""
    values: dict[str, Any] = {}
    for kind, value in settings.ListFields():
        if kind.is_repeated:
            values[kind.name] = list(value)
        elif kind.enum_type is not None:
            values[kind.name] = _word(kind, kind.enum_type.values_by_number[value].name)
        else:
            values[kind.name] = value
    return values


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean steps?`, or nothing where no known name is near."""
    found = difflib.get_close_matches(name.lower().replace("-", "_"), list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else "; see `nonesuch train --help`"


def run_settings(values: Mapping[str, Any]) -> trainer_pb2.RunSettings:
    """The message of values by name; None leaves a setting unset, and so does an empty list.

    Raises:
        InvalidRequest: no such setting, or not a value of its kind; names both.
    """
    settings = trainer_pb2.RunSettings()
    for name, value in values.items():
        if name not in FIELDS:
            raise InvalidRequest(f"there is no setting {name!r}{nearest(name, FIELDS)}", field=name)
        if value is None:
            continue
        kind = FIELDS[name]
        if isinstance(value, bool) != (kind.type == FieldDescriptor.TYPE_BOOL):
            raise InvalidRequest(f"{name} is {value!r}, which no run can have", field=name)
        try:
            if kind.is_repeated:
                getattr(settings, name).extend([value] if isinstance(value, str | int | float) else value)
            elif kind.enum_type is not None:
                setattr(settings, name, _number(kind, str(value)))
            else:
                setattr(settings, name, value)
        except (TypeError, ValueError):
            raise InvalidRequest(f"{name} is {value!r}, which no run can have", field=name) from None
    return settings


def _number(kind: Any, word: str) -> int:
    for value in kind.enum_type.values[1:]:
        if _word(kind, value.name) == word.lower().replace("_", "-"):
            return int(value.number)
    raise InvalidRequest(f"{kind.name} is {word!r}; write {', '.join(words_of(kind))}", field=kind.name)


def _word(kind: Any, name: str) -> str:
    prefix = kind.enum_type.values[0].name.removesuffix("UNSPECIFIED")
    return str(name).removeprefix(prefix).lower().replace("_", "-")

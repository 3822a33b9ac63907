"""What a caller may ask of sampling: one frozen value, checked once.

Knows the meaning and the range of each parameter, not how it is applied (rules.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from services.common.errors import InvalidRequest

MAX_TEMPERATURE = 100.0
MAX_PENALTY = 2.0  # bounds of presence and frequency penalty, as in OpenAI's API
MAX_BIAS = 100.0  # bounds of a logit bias, as in OpenAI's API; -100 in effect forbids, 100 in effect forces
MAX_LOGIT_BIASES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParameters:
    """How the next token is chosen. The defaults are those of the wire, protos/generator.proto.

    Attributes:
        temperature: logits are divided by it, 0 to 100; 0 is greedy.
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: keep the most likely tokens up to and with the one at which their sum reaches p; in (0, 1].
        min_p: keep tokens at least min_p times as likely as the likeliest; in [0, 1].
        typical_p: locally typical sampling (Meister et al. 2022): keep the tokens whose surprise is nearest
            to the distribution's entropy, up to this sum; in (0, 1].
        repetition_penalty: logits of ids in prompt and text are divided (if positive) or multiplied
            (if negative) by it (Keskar et al. 2019); above 0; 1 changes nothing.
        presence_penalty: taken from the logit of each id that was generated; in [-2, 2].
        frequency_penalty: taken from the logit of an id once for each time it was generated; in [-2, 2].
        no_repeat_ngram: no n ids in a row come twice, prompt included; 0 allows them.
        logit_bias: (id, bias) pairs added to the logits; bias in [-100, 100].
    """

    temperature: float = 1.0
    top_k: int = 40
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()

    @property
    def uses_history(self) -> bool:
        """Whether the choice depends on the ids so far."""
        return (
            self.repetition_penalty != 1
            or self.presence_penalty != 0
            or self.frequency_penalty != 0
            or self.no_repeat_ngram != 0
        )

    def validate(self, vocabulary_size: int | None = None) -> None:
        """Raise InvalidRequest naming the first field (`sampling.<name>`) whose value is out of range.

        Args:
            vocabulary_size: where known, ids must be below it.
        """
        fits = 0 <= self.temperature <= MAX_TEMPERATURE
        _check("temperature", self.temperature, fits, f"from 0 (greedy) to {MAX_TEMPERATURE:g}")
        _check("top_k", self.top_k, self.top_k >= 0, "0 (all tokens) or more")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1 (all tokens)")
        _check("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 (all tokens) to 1")
        _check("typical_p", self.typical_p, 0 < self.typical_p <= 1, "above 0 and at most 1 (all tokens)")
        _check("repetition_penalty", self.repetition_penalty, self.repetition_penalty > 0, "above 0")
        for name, penalty in (
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ):
            _check(name, penalty, abs(penalty) <= MAX_PENALTY, f"from -{MAX_PENALTY:g} to {MAX_PENALTY:g}")
        _check("no_repeat_ngram", self.no_repeat_ngram, self.no_repeat_ngram >= 0, "0 (allowed) or more")
        num_biases = len(self.logit_bias)
        _check("logit_bias", num_biases, num_biases <= MAX_LOGIT_BIASES, f"at most {MAX_LOGIT_BIASES} ids")
        limit = 2**31 if vocabulary_size is None else vocabulary_size
        for token_id, bias in self.logit_bias:
            _check("logit_bias", token_id, 0 <= token_id < limit, f"token ids from 0 to {limit - 1}")
            _check("logit_bias", bias, abs(bias) <= MAX_BIAS, f"a bias from -{MAX_BIAS:g} to {MAX_BIAS:g}")


# The parameters that are one number each, and of which type.
NUMBERS: dict[str, type] = {
    field.name: type(field.default) for field in fields(SamplingParameters) if field.name != "logit_bias"
}


def _check(name: str, value: float, fits: bool, expected: str) -> None:
    """NaN compares as False everywhere and so never fits; infinity is refused too."""
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise InvalidRequest(f"sampling.{name} is {value!r}; expected {expected}", field=f"sampling.{name}")

"""What a caller may ask of sampling: one frozen value, checked once.

Knows the meaning and the range of each parameter, not how it is applied (rules.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.common.errors import InvalidRequest

MAX_SEED = 2**64 - 1
MAX_PENALTY = 2.0  # bounds of presence and frequency penalty, as in OpenAI's API
MAX_BIAS = 100.0  # bounds of a logit bias, as in OpenAI's API; -100 in effect forbids, 100 in effect forces
MAX_LOGIT_BIASES = 1024
MAX_STOP_IDS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParameters:
    """How the next token is chosen and when to stop. The defaults draw from the model's own distribution.

    Attributes:
        temperature: logits are divided by it; 0 is greedy; at least 0.
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
        stop_ids: ids that end the text (and are not part of it).
        ignore_end_of_text: the end-of-text id is never drawn.
        min_new_tokens: end-of-text and the stop ids are not drawn before so many tokens.
        max_new_tokens: at most so many tokens; None: what the context holds.
        seed: 0 to 2**64-1; None: the caller draws one and tells it.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop_ids: tuple[int, ...] = ()
    ignore_end_of_text: bool = False
    min_new_tokens: int = 0
    max_new_tokens: int | None = None
    seed: int | None = None

    def validate(self, vocabulary_size: int | None = None) -> None:
        """Raise InvalidRequest naming the first field (`sampling.<name>`) whose value is out of range.

        Args:
            vocabulary_size: where known, ids must be below it.
        """
        _check("temperature", self.temperature, self.temperature >= 0, "0 (greedy) or more")
        _check("top_k", self.top_k, self.top_k >= 0, "0 (all tokens) or more")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1 (all tokens)")
        _check("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 (all tokens) to 1")
        _check("typical_p", self.typical_p, 0 < self.typical_p <= 1, "above 0 and at most 1 (all tokens)")
        _check(
            "repetition_penalty", self.repetition_penalty, self.repetition_penalty > 0, "above 0; 1 is none"
        )
        for name, penalty in (
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ):
            _check(name, penalty, abs(penalty) <= MAX_PENALTY, f"from -{MAX_PENALTY} to {MAX_PENALTY}")
        _check("no_repeat_ngram", self.no_repeat_ngram, self.no_repeat_ngram >= 0, "0 (allowed) or more")
        _check(
            "logit_bias",
            len(self.logit_bias),
            len(self.logit_bias) <= MAX_LOGIT_BIASES,
            f"at most {MAX_LOGIT_BIASES} ids",
        )
        for token_id, bias in self.logit_bias:
            _check_id("logit_bias", token_id, vocabulary_size)
            _check("logit_bias", bias, abs(bias) <= MAX_BIAS, f"a bias from -{MAX_BIAS:g} to {MAX_BIAS:g}")
        _check(
            "stop_ids", len(self.stop_ids), len(self.stop_ids) <= MAX_STOP_IDS, f"at most {MAX_STOP_IDS} ids"
        )
        for token_id in self.stop_ids:
            _check_id("stop_ids", token_id, vocabulary_size)
        _check("min_new_tokens", self.min_new_tokens, self.min_new_tokens >= 0, "0 or more")
        if self.max_new_tokens is not None:
            _check("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "1 or more")
            _check(
                "min_new_tokens",
                self.min_new_tokens,
                self.min_new_tokens <= self.max_new_tokens,
                f"at most max_new_tokens, {self.max_new_tokens}",
            )
        if self.seed is not None:
            _check("seed", self.seed, 0 <= self.seed <= MAX_SEED, "a whole number from 0 to 2**64-1")


def _check(name: str, value: float, fits: bool, expected: str) -> None:
    """NaN compares as False everywhere and so never fits; infinity is refused too."""
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise InvalidRequest(f"sampling.{name} is {value!r}; expected {expected}", field=f"sampling.{name}")


def _check_id(name: str, token_id: int, vocabulary_size: int | None) -> None:
    limit = vocabulary_size if vocabulary_size is not None else 2**31
    _check(name, token_id, 0 <= token_id < limit, f"a token id from 0 to {limit - 1}")

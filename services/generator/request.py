"""One request for samples, checked and with nothing left open: what the model's thread works on.

Knows ids and limits; knows no wire and no model.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.common.errors import InvalidRequest
from services.sampling.draw import MAX_SEED
from services.sampling.parameters import SamplingParameters

MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256
MAX_STOP_IDS = 64
MAX_LOGPROBS = 20
# Of an answer in one message: tokens and their alternatives. A message may have 16 MiB, which leaves 32 bytes for
# each: 17 around it at most, and 15 of the token itself.
MAX_ENTRIES = 1 << 19
MAX_PLAIN_TOKENS = 1 << 21  # of an answer without log-probabilities: 8 bytes for each id and its text


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a model and this server allow.

    Attributes:
        context: longest sequence of the model, in tokens.
        vocabulary_size: ids are below it.
        max_new_tokens: most tokens of one sample.
        max_samples: most samples of one request.
        streams: whether the answer goes out in pieces; else it is one message.
    """

    context: int
    vocabulary_size: int
    max_new_tokens: int
    max_samples: int
    streams: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """What to write. Fields as in GenerateRequest of protos/generator.proto.

    Attributes:
        prompt_ids: at least one id, shorter than the context.
        logprobs: how many alternatives to return per token; None: no log-probabilities.
        max_verbatim_tokens: of the longest run of the corpus; None: any run may be written.
    """

    prompt_ids: tuple[int, ...]
    sampling: SamplingParameters
    max_new_tokens: int
    seed: int
    min_new_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    ignore_end_of_text: bool = False
    n: int = 1
    best_of: int = 1
    slide: bool = False
    slide_keep: int = 0
    logprobs: int | None = None
    max_verbatim_tokens: int | None = None

    def validate(self, limits: Limits) -> None:
        """Raise InvalidRequest naming the first field that does not fit the limits."""
        self.sampling.validate(limits.vocabulary_size)
        check_prompt_length(len(self.prompt_ids), limits.context)
        _check_ids("prompt_ids", self.prompt_ids, limits.vocabulary_size)
        _check_ids("stop_ids", self.stop_ids, limits.vocabulary_size)
        _check_range("max_new_tokens", self.max_new_tokens, 1, limits.max_new_tokens)
        _check_range("min_new_tokens", self.min_new_tokens, 0, self.max_new_tokens)
        _check_range("stop_ids", len(self.stop_ids), 0, MAX_STOP_IDS, what="entries")
        _check_range("stop", len(self.stop), 0, MAX_STOPS, what="entries")
        for text in self.stop:
            _check_range("stop", len(text), 1, MAX_STOP_CHARACTERS, what="characters")
        _check_range("seed", self.seed, 0, MAX_SEED)
        _check_range("n", self.n, 1, limits.max_samples)
        _check_range("best_of", self.best_of, self.n, limits.max_samples)
        # What stays must leave room for at least as much that moves.
        _check_range("slide_keep", self.slide_keep, 0, min(len(self.prompt_ids), limits.context // 2))
        if self.max_verbatim_tokens is not None:
            _check_range("max_verbatim_tokens", self.max_verbatim_tokens, 1, limits.max_new_tokens)
        if self.logprobs is not None:
            _check_range("logprobs", self.logprobs, 0, MAX_LOGPROBS)
        if not limits.streams:
            self._check_size(limits.context)

    def _check_size(self, context: int) -> None:
        """Raise InvalidRequest when the answer may not fit in one message; samples not chosen are held as long."""
        num_tokens = self.max_new_tokens if self.slide else min(self.max_new_tokens, context - len(self.prompt_ids))
        num_entries = self.best_of * num_tokens * (1 + (self.logprobs or 0))
        most = MAX_PLAIN_TOKENS if self.logprobs is None else MAX_ENTRIES
        if num_entries <= most:
            return
        what = "tokens" if self.logprobs is None else f"tokens with {self.logprobs} log-probabilities"
        stream = ", or stream them with GenerateStream" if self.best_of == self.n else ""
        raise InvalidRequest(
            f"{self.best_of} samples of {num_tokens} {what} are up to {num_entries} entries; one answer holds "
            f"{most}: ask for fewer{stream}",
            field="max_new_tokens" if self.logprobs is None else "logprobs",
        )


def check_prompt_length(num_ids: int, context: int) -> None:
    """Raise InvalidRequest when a prompt leaves no room for a new token."""
    if num_ids >= context:
        raise InvalidRequest(
            f"the prompt has {num_ids} tokens and the model's context holds {context}, a new token included; "
            f"shorten the prompt to at most {context - 1} tokens",
            field="prompt",
        )


def _check_ids(field: str, ids: tuple[int, ...], vocabulary_size: int) -> None:
    for token_id in ids:
        if not 0 <= token_id < vocabulary_size:
            raise InvalidRequest(
                f"{field} holds {token_id}; the model's token ids are 0 to {vocabulary_size - 1}", field=field
            )


def _check_range(field: str, value: int, least: int, most: int, what: str = "") -> None:
    if not least <= value <= most:
        of = f" {what}" if what else ""
        raise InvalidRequest(f"{field} is {value}{of}; expected {least} to {most}{of}", field=field)

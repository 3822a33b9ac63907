"""What the model's thread tells the caller's thread about a request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from services.common.errors import NonesuchError


class Finish(Enum):
    """Why a sample ended; names as FinishReason of protos/generator.proto."""

    END_OF_TEXT = "end of text"
    STOP = "stop"
    LENGTH = "length"
    CONTEXT = "context"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Logprob:
    """Natural logarithm of an id's probability under the model, with the likeliest (id, logarithm) pairs."""

    id: int
    logprob: float
    alternatives: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """Whole characters of one sample, and the ids behind them."""

    index: int
    text: str
    ids: tuple[int, ...] = ()
    logprobs: tuple[Logprob, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """One sample has ended."""

    index: int
    finish: Finish
    stop: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The request cannot go on. `error` is one of ours, or a bug's exception."""

    error: NonesuchError | Exception


Event = Text | End | Failed

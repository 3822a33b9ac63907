"""What a run starts from, as a word: `nano`, `fresh/124M`, `fresh/12x768x12`, `runs/blog@best`, `models/voice@3`.

In: the word. Out: its parts, and for fresh weights their shape. Knows neither files nor what is on the volume.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from services.common.errors import InvalidRequest
from services.common.files import check_name
from services.gpt2.config import FRESH, SIZES, GPT2Config

BEST = "best"
LARGEST_LAYERS, LARGEST_WIDTH = 256, 16_384
LARGEST_NUMBER = 2**31 - 1  # of a step or a version, as the wire has them
_SHAPE = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})x([1-9]\d{0,5})")
_CONTEXT = 1024  # GPT-2's
# Entries of a vocabulary trained on the corpus, by the narrowest width that is worth them.
_VOCABULARIES = ((768, 16_384), (384, 8192), (192, 4096), (0, 2048))


class SourceKind(StrEnum):
    """What kind of thing a source is; its value is the word before the slash."""

    FRESH = "fresh"
    BASE = "base"
    RUN = "runs"
    MODEL = "models"


@dataclass(frozen=True, slots=True)
class Source:
    """A word in its parts."""

    kind: SourceKind
    name: str
    """A preset, size or shape of fresh weights; a base, a run, or a model."""
    at: str = ""
    """A step or a version in digits, `best`, or empty for the newest."""

    @property
    def word(self) -> str:
        """The word again."""
        if self.kind == SourceKind.BASE or (self.kind == SourceKind.FRESH and self.name in FRESH):
            return self.name
        return f"{self.kind}/{self.name}" + (f"@{self.at}" if self.at else "")

    def pinned(self, at: int) -> Source:
        """The same at one step or version."""
        return replace(self, at=str(at))


def parse(word: str) -> Source:
    """Take a word apart.

    Raises:
        InvalidRequest: it is none; says what it could be.
    """
    kind, slash, rest = word.partition("/")
    if word in FRESH:
        return Source(SourceKind.FRESH, word)
    if slash and kind == SourceKind.FRESH:
        source = Source(SourceKind.FRESH, rest)
        fresh_config(source)
        return source
    if slash and kind in (SourceKind.RUN, SourceKind.MODEL):
        what = SourceKind(kind)
        name, at_sign, at = rest.partition("@")
        check_name(name, field="base", kind="run" if what == SourceKind.RUN else "model")
        number = at.isascii() and at.isdigit() and int(at) <= LARGEST_NUMBER
        if at_sign and not number and not (what == SourceKind.RUN and at == BEST):
            wanted = f"a step, or {BEST}" if what == SourceKind.RUN else "the number of a version"
            raise InvalidRequest(f"base is {word!r}: after the '@' comes {wanted}", field="base")
        return Source(what, name, str(int(at)) if number else at)
    if not word:
        raise InvalidRequest("base is empty: name what to start from, such as nano", field="base")
    return Source(SourceKind.BASE, word)


def is_fresh(word: str) -> bool:
    """Whether a run of this base starts from random weights; InvalidRequest as `parse`."""
    return parse(word).kind == SourceKind.FRESH


def fresh_config(source: Source) -> GPT2Config:
    """The shape of fresh weights. Its vocabulary's size is what to ask for: a dataset has its own.

    Raises:
        InvalidRequest: no such size, or a shape that no model can have.
    """
    if source.name in FRESH:
        return FRESH[source.name]
    if source.name in SIZES:
        config = SIZES[source.name]
    else:
        shape = _SHAPE.fullmatch(source.name)
        if shape is None:
            known = ", ".join([*FRESH, *SIZES])
            raise InvalidRequest(
                f"base is {source.word!r}: write fresh/<size> with one of {known}, or "
                "fresh/<layers>x<width>x<heads> such as fresh/12x768x12",
                field="base",
            )
        layers, width, heads = (int(number) for number in shape.groups())
        if layers > LARGEST_LAYERS or width > LARGEST_WIDTH:
            raise InvalidRequest(
                f"base is {source.word!r}: at most {LARGEST_LAYERS} layers and a width of {LARGEST_WIDTH:,}",
                field="base",
            )
        if width % heads:
            raise InvalidRequest(
                f"base is {source.word!r}: the width, {width}, must be a multiple of the heads, {heads}", field="base"
            )
        config = GPT2Config(n_vocab=1, n_ctx=_CONTEXT, n_embd=width, n_head=heads, n_layer=layers)
    size = next(size for width, size in _VOCABULARIES if config.n_embd >= width)
    return replace(config, n_vocab=size)

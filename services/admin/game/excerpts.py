"""Excerpts: pieces of a post that give nothing away but how they are written.

In: a post as models read and write it, real or generated. Out: successive excerpts of its body of about the same
length, each beginning and ending with a sentence, on one line. Both sides go through here, so neither header nor
length nor line breaks tell them apart. Lengths are in characters, which also serves languages that put no spaces
between words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from services.client.post import parse

MIN_CHARACTERS = 350  # about 60 words
MAX_CHARACTERS = 700
_FIELD = re.compile(r"(title|tags|date):( |$)")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’»)\]*_]*(?=\s|$)|[。！？][」』”]*")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of a post.

    Args:
        post: what it was cut from: excerpts of one post belong together.
        title: of that post; empty where it has none.
        is_opening: it begins where the body begins.
    """

    text: str
    post: str
    title: str
    is_opening: bool


def cut(text: str, *, post: str, title: str = "") -> list[Excerpt]:
    """The excerpts of a post, in order; what is left over at its end is too short to be one.

    Args:
        title: of the post; empty takes the one in its header.
    """
    title = title or parse(text).title
    return [
        Excerpt(piece, post=post, title=title, is_opening=number == 0)
        for number, piece in enumerate(_pieces(without_header(text)))
    ]


def without_header(text: str) -> str:
    """The body of a post. A header that a model began in its middle is one too: it would give the model away."""
    head, blank, body = text.lstrip("\n").partition("\n\n")
    return body if any(_FIELD.match(line) for line in head.split("\n")) else head + blank + body


def _pieces(body: str) -> Iterator[str]:
    text = " ".join(body.split())
    start = 0
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    while True:
        end = next((end for end in ends if end - start >= MIN_CHARACTERS), len(text))
        if end - start > MAX_CHARACTERS:
            shown = text[start : start + MAX_CHARACTERS]
            yield shown.rpartition(" ")[0].rstrip() + " …" if " " in shown else shown + " …"
        elif end in ends and end - start >= MIN_CHARACTERS:
            yield text[start:end]
        if end >= len(text):
            return
        start = end + (text[end] == " ")


def openings_first(posts: Sequence[Sequence[Excerpt]], most: int) -> list[Excerpt]:
    """At most `most` excerpts: the first of every post, then the second of every post that has one, and so on."""
    by_place = zip_longest(*posts)
    return [excerpt for place in by_place for excerpt in place if excerpt is not None][:most]

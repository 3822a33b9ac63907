"""Emoji names: `:tada:` in a post -> the sign that GitHub, Jekyll, Hugo and others draw for it.

The names are those of GitHub, which the `emoji` package knows. A name that is none stays as it is typed.
Spans of code stay too; blocks of code are out already.
"""

from __future__ import annotations

import re
from functools import lru_cache

_NAME = re.compile(
    r"(?P<code>(?P<ticks>(?<!`)`+(?!`))[^`]*?(?:(?!(?P=ticks)(?!`))`+[^`]*?)*?(?P=ticks)(?!`))"
    r"|(?<![\w:/.\\])(?P<colon>:)(?P<name>[a-z0-9+-][a-z0-9_+-]*):(?![\w:/])"
)
_ANY = re.compile(r":[a-z0-9+-][a-z0-9_+-]*:")


def draw_emoji(text: str) -> str:
    """Put signs for the names of emoji. Takes linear time."""
    return _NAME.sub(_sign, text) if ":" in text and _ANY.search(text) else text


def _sign(found: re.Match[str]) -> str:
    return found[0] if found["code"] is not None else _sign_of(found["name"])


@lru_cache(maxsize=1000)
def _sign_of(name: str) -> str:
    from emoji import emojize  # its table takes 4 MB, and few posts need it

    return emojize(f":{name}:", language="alias")

"""Effects: what each rule of cleaning does to a post, as the difference that its other value would make.

Pure; a post is cleaned twice for each rule, so what asks for them runs this in a cleaning process (cleaners.py).
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any

from services.corpus.cleaning.documents import make_document
from services.corpus.reasons import LeftOut
from services.corpus.rules import CLEANING, Rules

RULES = CLEANING  # in the order in which they are shown


@dataclass(frozen=True, slots=True)
class Effect:
    """What one rule does to a post.

    Args:
        rule: one of RULES.
        value: what the rule says, in words: `true`, `mask`.
        other_value: what it is compared with.
        diff: a unified diff, without file names, from the document under the other value to the document; "" if
            they are equal.
        problem: why there is no document under the other value to compare with; "" if there is.
    """

    rule: str
    value: str
    other_value: str
    diff: str = ""
    problem: str = ""


def values(rules: Rules, rule: str) -> tuple[str, str]:
    """What a rule says, and what it is compared with, in words."""
    return _word(_value(rules, rule)), _word(_other(rules, rule))


def difference(path: str, content: bytes, rules: Rules, rule: str) -> str:
    """The `diff` of one effect; a post that is left out counts as an empty document.

    Raises:
        RecursionError: its markup is nested too deeply.
    """
    change: dict[str, Any] = {rule: _other(rules, rule)}
    other = dataclasses.replace(rules, **change)
    before, after = (_lines(path, content, chosen) for chosen in (other, rules))
    return "\n".join(list(difflib.unified_diff(before, after, lineterm=""))[2:])


def _lines(path: str, content: bytes, rules: Rules) -> list[str]:
    try:
        return make_document(path, content, rules).text.split("\n")
    except LeftOut:
        return []


def _value(rules: Rules, rule: str) -> str | bool:
    value: str | bool | None = getattr(rules, rule)
    return rules.form == "markdown" if value is None else value  # keep_link_targets goes by the form


def _other(rules: Rules, rule: str) -> str | bool:
    value = _value(rules, rule)
    if rule == "form":
        return "markdown" if value == "text" else "text"
    if rule == "secrets":
        return "mask" if value == "keep" else "keep"
    return not value


def _word(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()

"""Bounds: what costs Python-Markdown the square of its length, or its stack, is written so that it does not.

An opening bracket that nothing closes is read to the end of its paragraph, for each one anew; so are `](` and `<`,
and signs of emphasis are tried with each other. A backslash before them changes no word. Nothing is touched where
there are fewer than any author writes. Takes linear time.
"""

from __future__ import annotations

import re

_MANY = 100  # of one kind in a paragraph or an item, before any of them is looked at
_MANY_SIGNS = 600
_DEEP = 20  # brackets in brackets
_MAX_PARENTHESES = 50  # in one address
_ITEM = re.compile(r"\n(?=[ \t>]*(?:[-*+]|\d{1,9}[.)])[ \t])|\n(?=\s*\n)")
_SPAN = r"(?P<span>\\.|(?P<ticks>(?<!`)`+(?!`))[^`]*(?:(?!(?P=ticks)(?!`))`+[^`]*)*(?P=ticks)(?!`))"
_BRACKET = re.compile(rf"{_SPAN}|(?P<mark>[\[\]])")
_OPEN_TAG = re.compile(rf"{_SPAN}|(?P<mark><(?=[^<>]*(?:<|\Z)))")
_SIGN = re.compile(rf"{_SPAN}|(?P<mark>[*_~])")
_PARENTHESIS = re.compile(r"\\.|[()]")


def bounded(text: str) -> str:
    """Escape what nothing closes, where there is much of it."""
    if text.count("[") < _MANY and text.count("<") < _MANY and sum(map(text.count, "*_~")) < _MANY_SIGNS:
        return text
    ends = [found.start() for found in _ITEM.finditer(text)]
    starts = [0, *ends]
    return "".join(_part(text[start:end]) for start, end in zip(starts, [*ends, len(text)], strict=True))


def _part(text: str) -> str:
    """A paragraph or an item."""
    if text.count("[") >= _MANY:
        text = _brackets(text)
    if text.count("<") >= _MANY:
        text = _OPEN_TAG.sub(lambda found: found["span"] or "&lt;", text)
    if "|" not in text and sum(map(text.count, "*_~")) >= _MANY_SIGNS:
        text = _SIGN.sub(lambda found: found["span"] or f"\\{found[0]}", text)
    return text


def _brackets(text: str) -> str:
    doomed: list[int] = []
    opened: list[int] = []
    for found in _BRACKET.finditer(text):
        if found["mark"] == "[":
            opened.append(found.start())
        elif found["mark"] == "]" and opened:
            start = opened.pop()
            if len(opened) >= _DEEP or not _closes(text, found.end()):
                doomed += [start, found.start()]
    parts = []
    copied = 0
    for position in sorted(doomed + opened):
        parts += [text[copied:position], "\\"]
        copied = position
    return "".join([*parts, text[copied:]])


def _closes(text: str, position: int) -> bool:
    """Whether an address that begins here, if one does, has its closing parenthesis."""
    if text[position : position + 1] != "(":
        return True
    depth = 0
    for number, found in enumerate(_PARENTHESIS.finditer(text, position)):
        depth += (found[0] == "(") - (found[0] == ")")
        if depth == 0 or number > _MAX_PARENTHESES:
            return depth == 0
    return False

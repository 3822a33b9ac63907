"""Maths: TeX between dollars or TeX's brackets, kept as its author typed it.

Markdown would read `_` and `*` in it as emphasis and drop backslashes. Between single dollars only what
looks like TeX counts, so that two prices in a sentence are no formula.
"""

from __future__ import annotations

import re

KEPT = "\ufdd5{}\ufdd6"
_KEPT = re.compile("\ufdd5(\\d+)\ufdd6")
_CODE_SPAN = r"(?P<code>(?P<ticks>(?<!`)`+(?!`))[^`\n]*(?:(?!(?P=ticks))`+[^`\n]*)*(?P=ticks)(?!`))"
_MATHS = re.compile(
    _CODE_SPAN + r"|\\(?P<dollar>\$)"
    r"|(?P<maths>\$\$(?!\$)[^$\n]{1,2000}\$\$"
    r"|(?<![\w$\\])\$(?=[^\s$])(?:[^$\n`\\]|\\[^\n]){1,300}(?<=[^\s])\$(?![\w$])"
    r"|\\\\?\((?=[^\n]{0,500}?\\\\?\))(?:[^\n\\`]|\\(?!\\?\)))*\\\\?\)"
    r"|\\\\?\[(?=[^\n]{0,1000}?\\\\?\])(?:[^\n\\`]|\\(?!\\?\]))*\\\\?\])"
)
_TEX = re.compile(r"[\\_^={}<>]|^\$[^\s$]{1,3}\$$")


def keep_maths(text: str, kept: list[str]) -> str:
    """Put a placeholder for each formula, and the formulas into `kept`; spans of code stay."""
    if "$" not in text and "\\(" not in text and "\\[" not in text:
        return text

    def replace(found: re.Match[str]) -> str:
        formula = found["maths"]
        if formula is None or not _is_tex(formula):
            return found[0]
        kept.append(formula.replace("\\\\", "\\") if formula.startswith("\\\\") else formula)
        return KEPT.format(len(kept) - 1)

    return _MATHS.sub(replace, text)


def drop_maths(text: str) -> str:
    """Take the placeholders out."""
    return _KEPT.sub("", text)


def _is_tex(formula: str) -> bool:
    if formula.startswith("$$"):
        return True
    if formula.startswith("$"):
        return _TEX.search(formula) is not None and "**" not in formula and "](" not in formula
    return re.search(r"[_^={}+]|\\[a-zA-Z]|^\\+[(\[]\s*\w\s*\\", formula) is not None and "](" not in formula


def restore_maths(text: str, kept: list[str]) -> str:
    """Put the formulas back."""
    return _KEPT.sub(lambda found: kept[int(found[1])], text) if kept else text

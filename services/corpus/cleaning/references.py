"""References: `[words][label]` and `[label]` with their targets elsewhere, made into links that stand alone.

Python-Markdown does not find a label that holds code or brackets, and the words would keep their brackets.
Where only the words matter, a reference becomes `[words](#)`, else it gets its address; targets go. `[words][]` is
always meant as a reference; other ones without a target stay as they are, unless the label is plainly a name.
"""

from __future__ import annotations

import re

_TARGET = re.compile(
    r"^[ \t>]*\[(?!\^)(?P<label>(?:\\.|`[^`\n]*`|[^\[\]\\\n])+)\]:[ \t]*(?:\n[ \t]*)?(?P<address><[^>\n]*>|\S+)"
    r"(?:(?:[ \t]+|[ \t]*\n[ \t]*)(?:\"[^\"\n]*\"|'[^'\n]*'|\([^()\n]*\)))?[ \t]*$",
    re.MULTILINE,
)
# What matters between brackets: escapes and code spans, which hide brackets, and brackets.
# Each begins with a sign of its own, so that the search need not look at letters.
_PIECE = re.compile(r"\\.|`(?<!``)(`*)(?!`)(?:.*?[^`])`\1(?!`)|\[|\]", re.DOTALL)
# Markdown as it was first described, and MkDocs with it, lets a label stand on the line below its words.
_NEXT_LINE = re.compile(r"\n *\[")


def inline_references(text: str, *, keep_addresses: bool = False) -> str:
    """Rewrite references, and take their targets out. Takes linear time."""
    labels: dict[str, str] = {}

    def note(found: re.Match[str]) -> str:
        labels.setdefault(_normal(found["label"]), f"(<{found['address'].strip('<>')}>)" if keep_addresses else "(#)")
        return ""

    # Code points that are no characters stand for blocks of code: none is in a target.
    if "]:" in text:
        text = _TARGET.sub(note, text)
    elif "[" not in text:
        return text
    return "\n\n".join(_inline(part, labels) for part in text.split("\n\n"))


def _inline(paragraph: str, labels: dict[str, str]) -> str:
    """Rewrite within one paragraph: brackets do not pair across blank lines."""
    if "[" not in paragraph:
        return paragraph
    result: list[str] = []
    opened: list[int] = []  # where brackets opened
    copied = 0
    for piece in _PIECE.finditer(paragraph):
        if piece.start() < copied:
            continue
        if piece[0] == "[":
            opened.append(piece.start())
        elif piece[0] == "]" and opened:
            start, end = opened.pop(), piece.end()
            broken = _NEXT_LINE.match(paragraph, end)
            follows = "[" if broken else paragraph[end : end + 1]
            if follows == "(" or (follows == ":" and paragraph[start + 1 : start + 2] == "^"):
                continue
            own = _normal(paragraph[start + 1 : end - 1]) in labels
            label_start = broken.end() - 1 if broken else end
            label_end = _label_end(paragraph, label_start) if follows == "[" else label_start
            label = paragraph[label_start + 1 : label_end - 1]
            if label_end > label_start and (
                _normal(label) in labels or (not broken and (not label.strip() or _is_broken(paragraph, start, label)))
            ):
                named = _normal(label if label.strip() else paragraph[start + 1 : end - 1])
                result.append(paragraph[copied:end] + labels.get(named, "(#)"))
                copied = label_end
            elif own and (broken or follows != "["):
                result.append(paragraph[copied:end] + labels[_normal(paragraph[start + 1 : end - 1])])
                copied = end
    result.append(paragraph[copied:])
    return "".join(result)


def _is_broken(paragraph: str, start: int, label: str) -> bool:
    """Whether a label without a target was meant as one: a name, no index of an array, no citation."""
    after_word = start > 0 and (paragraph[start - 1].isalnum() or paragraph[start - 1] in "_])")
    return not after_word and re.fullmatch(r"[A-Za-z][\w .:#/'-]*", label) is not None


def _label_end(paragraph: str, start: int) -> int:
    """Where the label that opens at `start` ends, beyond its bracket; `start` if it does not."""
    depth = 0
    for piece in _PIECE.finditer(paragraph, start, start + 1000):  # CommonMark allows 999 characters
        if piece[0] in "[]":
            depth += 1 if piece[0] == "[" else -1
            if depth == 0:
                return piece.end()
    return start


def _normal(label: str) -> str:
    return " ".join(label.split()).casefold()

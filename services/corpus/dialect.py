"""Dialect: what authors write after GitHub and CommonMark, rewritten into what Python-Markdown reads.

Python-Markdown follows the Markdown of 2004: a list needs a blank line before it and four spaces a level, a
fence must not be indented. Posts are seldom written so. This pass takes code blocks out (a placeholder
stands for each, so that nothing is read inside them), gives lists and tables their blank line, and indents
nested lists by four. It changes layout only; every word stays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_LIST_DEPTH = 8  # deeper items are kept at this depth; Python-Markdown overflows its stack at about 300

# Code points that are no characters, so that no post holds them (reading.py takes them out).
PLACEHOLDER = re.compile("\ufdd0(\\d+)\ufdd1")

_FENCE = re.compile(r"^(?P<prefix>(?:[ \t]*>)*[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)(?P<fence>`{3,}(?!.*`)|~{3,})(?P<info>.*)$")
_HIGHLIGHT = re.compile(r"^\s*\{%-?\s*highlight\b.*?-?%\}\s*$")
_END_HIGHLIGHT = re.compile(r"^\s*\{%-?\s*endhighlight\s*-?%\}\s*$")
_ITEM = re.compile(r"^(?P<indent> *)(?P<marker>[-*+]|\d{1,9}[.)])(?P<space> +|$)(?P<rest>.*)$")
_RULE = re.compile(r"^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_TABLE_RULE = re.compile(r"^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")


@dataclass(slots=True)
class Source:
    """Markdown in Python-Markdown's dialect.

    Args:
        text: the Markdown, with a placeholder for each code block.
        code: the code blocks, by the number in their placeholder.
    """

    text: str
    code: list[str] = field(default_factory=list)


def to_python_markdown(text: str) -> Source:
    """Rewrite a post's Markdown; tabs at the start of lines become four spaces."""
    source = Source("")
    lines = _take_code([_expand_tabs(line) for line in text.split("\n")], source.code)
    source.text = "\n".join(_indent_lists(_separate_tables(lines)))
    return source


def _expand_tabs(line: str) -> str:
    body = line.lstrip(" \t")
    return line[: len(line) - len(body)].expandtabs(4) + body if "\t" in line[: len(line) - len(body)] else line


def _take_code(lines: list[str], code: list[str]) -> list[str]:
    """Put a placeholder, apart from its neighbours, where a fenced block stands."""
    result: list[str] = []
    index = 0
    while index < len(lines):
        found = _FENCE.match(lines[index])
        is_highlight = found is None and _HIGHLIGHT.match(lines[index]) is not None
        if found is None and not is_highlight:
            result.append(lines[index])
            index += 1
            continue
        prefix = found["prefix"] if found else ""
        quote = prefix.rpartition(">")[0] + ">" if ">" in prefix else ""
        closing = _closing(found["fence"]) if found else _END_HIGHLIGHT
        # A list item may begin with a fence; its code is then indented to where the fence is.
        width = len(prefix) - len(quote)
        block: list[str] = []
        index += 1
        while index < len(lines) and not closing.match(_unquote(lines[index], quote)):
            if quote and not lines[index].lstrip().startswith(">"):
                break  # the quotation ends, and the block with it
            block.append(_dedent(_unquote(lines[index], quote), width))
            index += 1
        else:
            index += 1
        code.append("\n".join(block))
        is_item = bool(prefix[len(quote) :].strip())
        blank = quote if quote else ""
        if not is_item:
            result.append(blank)
        result += [f"{prefix}\ufdd0{len(code) - 1}\ufdd1", blank]
    return result


def _closing(fence: str) -> re.Pattern[str]:
    return re.compile(rf"^\s*{re.escape(fence[0])}{{{len(fence)},}}\s*$")


def _unquote(line: str, quote: str) -> str:
    """Take off as many `>` as `quote` has."""
    for _ in range(quote.count(">")):
        stripped = line.lstrip()
        if not stripped.startswith(">"):
            break
        line = stripped[1:]
    return line


def _dedent(line: str, width: int) -> str:
    """Take off up to `width` leading spaces."""
    return line[min(width, len(line) - len(line.lstrip(" "))) :]


def _separate_tables(lines: list[str]) -> list[str]:
    """Give a table the blank line before it that Python-Markdown wants."""
    result: list[str] = []
    for index, line in enumerate(lines):
        is_head = "|" in line and index + 1 < len(lines) and _TABLE_RULE.match(lines[index + 1]) is not None
        if is_head and "|" in lines[index + 1] and result and result[-1].strip() and "|" not in result[-1]:
            result.append("")
        result.append(line)
    return result


def _indent_lists(lines: list[str]) -> list[str]:
    """Indent list items by four a level, as CommonMark nests them: by where the parent's text begins."""
    result: list[str] = []
    contents: list[int] = []  # for each open item, the column at which its text begins
    after_blank = True
    for line in lines:
        if not line.strip():
            result.append(line)
            after_blank = True
            continue
        indent = len(line) - len(line.lstrip(" "))
        item = None if _RULE.match(line) else _ITEM.match(line)
        depth = sum(1 for column in contents if column <= indent)
        # Four spaces more than the innermost item's text are code, not an item.
        if item is not None and indent - (contents[depth - 1] if depth else 0) >= 4 and (after_blank or not contents):
            item = None
        if item is not None and (after_blank or contents or _interrupts(item)):
            if not after_blank and not contents:
                result.append("")
            del contents[depth:]
            spaces = len(item["space"])
            contents.append(indent + len(item["marker"]) + (spaces if 1 <= spaces <= 4 else 1))
            level = min(depth, MAX_LIST_DEPTH)
            marker = item["marker"].replace(")", ".")
            result.append(f"{'    ' * level}{marker} {item['rest']}")
        elif contents and after_blank:
            del contents[depth:]
            base = contents[-1] if contents else 0
            result.append("    " * min(len(contents), MAX_LIST_DEPTH) + line[base:])
        elif contents:
            starts_block = re.match(r" *(?:#{1,6} |>)", line) is not None
            if starts_block and depth == 0:
                contents.clear()
                result += ["", line]
            else:
                result.append("    " * min(len(contents), MAX_LIST_DEPTH) + line.lstrip(" "))
        else:
            result.append(line)
        after_blank = False
    return result


def _interrupts(item: re.Match[str]) -> bool:
    """Whether an item may follow a paragraph's line at once: a bullet, or number one, with text."""
    return bool(item["rest"].strip()) and item["marker"] in ("-", "*", "+", "1.", "1)") and len(item["indent"]) < 4

"""Taken out: blocks that nothing may be read inside, and the placeholders that stand for them.

Fences, indented code, code between a pair of template tags, formulas on lines of their own, HTML up to the next
blank line; comments go for good. Each function gets all lines and where its block begins, writes to the lines
laid out so far and tells where the block ends. dialect.py decides which line begins what.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from services.corpus.cleaning.containers import code_tag, ends_block, is_query, language_of_tag
from services.corpus.cleaning.maths import KEPT

# Code points that are no characters, so that no post holds them (reading.py takes them out).
CODE = "\ufdd0{}\ufdd1"
HTML = "\ufdd3{}\ufdd4"

FENCE = re.compile(r"^ *(?P<fence>`{3,}(?!.*`)|~{3,})")
# Where Python-Markdown's own codehilite finds the language of an indented block.
_LANGUAGE = re.compile(r"^(?::{3}\w[\w+-]*|#!\w[\w+-]*)(?:\s+\w+=.*)?\s*$")
FORMULA = re.compile(r"^ *(?:(?P<dollars>\$\$)|\\\\?(?P<bracket>\[)\s*$|\\begin\{(?P<name>[a-z]+\*?)\}\s*$)")
_SENTENCE_END = re.compile(r"[.!?:;。！？：…][\"'”’)*_]*\s*$")
_MAX_FORMULA_LINES = 100
HTML_BLOCK = re.compile(
    r"^ *</?(?:address|article|aside|base|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|"
    r"div|dl|dt|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|"
    r"menu|nav|noframes|object|ol|optgroup|option|p|param|picture|search|section|source|summary|svg|table|tbody|td|"
    r"tfoot|th|thead|title|tr|track|ul|video)(?=[\s/>]|$)",
    re.IGNORECASE,
)
# Any other tag alone on its line begins a block too, if no paragraph is before it.
HTML_LINE = re.compile(r"^ *(?:</[A-Za-z][A-Za-z0-9-]*\s*>|<[A-Za-z][A-Za-z0-9-]*(?:\s[^<>]*)?/?>)\s*$")
VERBATIM = re.compile(r"^ *<(pre|script|style|textarea|svg)(?=[\s>]|$)", re.IGNORECASE)


@dataclass(slots=True)
class Source:
    """Markdown in Python-Markdown's dialect, with what was taken out of it by number.

    Args:
        languages: what stands behind a fence or in a tag, by the number of its block of code.
    """

    text: str = ""
    code: list[str] = field(default_factory=list)
    html: list[str] = field(default_factory=list)
    maths: list[str] = field(default_factory=list)
    languages: dict[int, str] = field(default_factory=dict)
    indented_code: bool = True
    quoted_boxes: bool = True


def take_fence(lines: list[str], index: int, source: Source, out: list[str]) -> int:
    """Take out what stands between two fences; a query of a note-taker goes for good."""
    found = FENCE.match(lines[index])
    assert found is not None
    opened = index
    width = indent(lines[index])
    closing = re.compile(rf"^ {{0,{width + 3}}}{re.escape(found['fence'][0])}{{{len(found['fence'])},}}\s*$")
    block: list[str] = []
    index += 1
    while index < len(lines) and not closing.match(lines[index]):
        block.append(lines[index][min(width, indent(lines[index])) :])
        index += 1
    if is_query(lines[opened][found.end() :]):
        out.append("")
    else:
        source.languages[len(source.code)] = lines[opened].lstrip(" `~")
        _take(source.code, CODE, block, out)
    return index + 1


def take_code_tag(lines: list[str], index: int, source: Source, out: list[str], unclosed: set[str]) -> int | None:
    """Take out code between a pair of tags; None if no pair is there."""
    opened = code_tag(lines[index])
    if opened is None or opened[0].pattern in unclosed:
        return None
    closing, rest = opened
    tag = lines[index][: len(lines[index]) - len(rest)]
    block: list[str] = []
    for end in range(index, len(lines)):
        line = rest if end == index else lines[end]
        if found := closing.search(line):
            if before := line[: found.start()].rstrip():
                block.append(before)
            source.languages[len(source.code)] = language_of_tag(tag)
            _take(source.code, CODE, block if block and block[0].strip() else block[1:], out)
            lines[end] = line[found.end() :]
            return end if lines[end].strip() else end + 1
        block.append(line)
    unclosed.add(closing.pattern)
    return None


def take_formula(lines: list[str], index: int, source: Source, out: list[str]) -> int | None:
    """Take out a formula that stands on lines of its own; None if it does not end."""
    found = FORMULA.match(lines[index])
    assert found is not None
    if not found["dollars"]:
        closing = ("\\]",) if found["bracket"] else (f"\\end{{{found['name']}}}",)
        for end in range(index + 1, min(len(lines), index + _MAX_FORMULA_LINES)):
            if lines[end].rstrip().endswith(closing):
                _take(source.maths, KEPT, [part.strip() for part in lines[index : end + 1]], out)
                return end + 1
        return None
    for end in range(index, min(len(lines), index + _MAX_FORMULA_LINES)):
        line = lines[end].strip()
        if end > index and not line:
            return None
        if line.endswith("$$") and (end > index or len(line) > 4):
            formula = "\n".join(part.strip() for part in lines[index : end + 1])
            if formula.count("$$") > 2:
                return None
            _take(source.maths, KEPT, [formula], out)
            return end + 1
    return None


def take_indented_code(lines: list[str], index: int, source: Source, out: list[str]) -> int:
    """Take out lines that four spaces make code."""
    block: list[str] = []
    while index < len(lines) and (not lines[index].strip() or indent(lines[index]) >= 4):
        block.append(lines[index][4:])
        index += 1
    if len(block) > 1 and _LANGUAGE.match(block[0]) and not block[0].startswith("#!/"):
        source.languages[len(source.code)] = block.pop(0).lstrip(":#!")
    _take(source.code, CODE, block, out)
    return index


def _take(taken: list[str], placeholder: str, block: list[str], out: list[str]) -> None:
    """Put a placeholder, apart from its neighbours, where a block stood."""
    if out and out[-1].strip():
        out.append("")
    out += [placeholder.format(len(taken)), ""]
    taken.append("\n".join(block))


def drop_comment(lines: list[str], index: int, out: list[str]) -> int:
    """Drop a comment; without its end it would hide the rest of the post, so only its first line goes."""
    end = index
    while end < len(lines) and "-->" not in lines[end]:
        end += 1
    if end == len(lines):
        out.append(lines[index].replace("<!--", "", 1))
        return index + 1
    rest = lines[end].partition("-->")[2]
    if index == end and not rest.strip() and out and out[-1].strip() and not _SENTENCE_END.search(out[-1]):
        return end + 1  # inside a paragraph: it goes on
    lines[end] = rest
    out.append("")
    return end


def take_html(lines: list[str], index: int, source: Source, out: list[str]) -> tuple[int, int]:
    """Take out HTML up to the next blank line; return where it ends and how many blocks it leaves open."""
    verbatim = VERBATIM.match(lines[index])
    closing = re.compile(rf"</{verbatim[1]}\s*>", re.IGNORECASE) if verbatim else None
    block: list[str] = []
    while index < len(lines):
        line = lines[index]
        if closing is None and not line.strip():
            break
        if closing is None and block and (FENCE.match(line) or code_tag(line) or ends_block(line)):
            break
        block.append(line)
        index += 1
        if closing is not None:
            if closing.search(line):
                break
        elif re.search(r"\smarkdown=", line) and line.rstrip().endswith(">"):
            break  # kramdown reads Markdown from here on
    text = "\n".join(block)
    _take(source.html, HTML, block, out)
    opened = len(re.findall(r"<(?:div|details|section|article|aside|figure|center|blockquote|table|ul|ol)\b", text))
    closed = len(re.findall(r"</(?:div|details|section|article|aside|figure|center|blockquote|table|ul|ol)\s*>", text))
    return index, opened - closed


def indent(line: str) -> int:
    """How many blanks a line begins with."""
    return len(line) - len(line.lstrip(" "))

"""Dialect: what authors write after GitHub and CommonMark, laid out as Python-Markdown reads it.

Python-Markdown follows the Markdown of 2004: a list needs a blank line before it and four spaces a level, a
fence must not be indented, HTML goes on to its closing tag. Posts are seldom written so. This pass finds the
blocks as CommonMark does (spec 0.31, sections 4 and 5) and lays them out anew. Code and HTML are taken out,
and a placeholder stands for each, so that nothing is read inside them. Every word stays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from services.corpus.containers import (
    code_tag,
    dedent,
    holds_indented,
    is_snippet,
    join_tag,
    language_of_tag,
    opens_tag,
    title_of_box,
    title_of_callout,
)
from services.corpus.maths import KEPT

MAX_DEPTH = 8  # of lists and quotations; deeper ones are flattened. Python-Markdown overflows at about 300

# Code points that are no characters, so that no post holds them (reading.py takes them out).
CODE = "\ufdd0{}\ufdd1"
HTML = "\ufdd3{}\ufdd4"

_FENCE = re.compile(r"^ *(?P<fence>`{3,}(?!.*`)|~{3,})")
# Where Python-Markdown's own codehilite finds the language of an indented block.
_LANGUAGE = re.compile(r"^(?::{3}\w[\w+-]*|#!\w[\w+-]*)\s*$")
_DOLLARS = re.compile(r"^ *\$\$")
_SHORTCODE = re.compile(r"^ *\{\{[<%]\s*(?P<end>/)?(?!.*\{\{[<%]\s*/)")
_MAX_FORMULA_LINES = 100
_ITEM = re.compile(r"^(?P<indent> *)(?P<marker>[-*+]|\d{1,9}[.)])(?P<space> +|$)(?P<rest>.*)$")
_RULE = re.compile(r"^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_QUOTE = re.compile(r"^ {0,3}> ?")
_HEADING = re.compile(r"^ {0,3}#{1,6}(?: |$)")
_TABLE_RULE = re.compile(r"^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
# Paragraphs that belong to a footnote or a definition are indented by four, as code is.
_OWNS_INDENTED = re.compile(r"^ {0,3}(?:\[\^[^\]]+\]:|: )")
_HTML_BLOCK = re.compile(
    r"^ *</?(?:address|article|aside|base|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|"
    r"div|dl|dt|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|"
    r"menu|nav|noframes|object|ol|optgroup|option|p|param|picture|search|section|source|summary|svg|table|tbody|td|"
    r"tfoot|th|thead|title|tr|track|ul|video)(?=[\s/>]|$)",
    re.IGNORECASE,
)
# Any other tag alone on its line begins a block too, if no paragraph is before it.
_HTML_LINE = re.compile(r"^ *(?:</[A-Za-z][\w.-]*\s*>|<[A-Za-z][\w.-]*(?:\s[^<>]*)?/?>)\s*$")
_VERBATIM = re.compile(r"^ *<(pre|script|style|textarea|svg)(?=[\s>]|$)", re.IGNORECASE)


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


def to_python_markdown(text: str, *, indented_code: bool = True, quoted_boxes: bool = True) -> Source:
    """Lay out a post's Markdown; tabs at the start of lines become four spaces.

    Args:
        text: the post's body.
        indented_code: four spaces make code, as everywhere but in MDX.
        quoted_boxes: callouts stay quotations, as they are written; else they are plain paragraphs.
    """
    source = Source(indented_code=indented_code, quoted_boxes=quoted_boxes)
    source.text = "\n".join(_blocks([_expand_tabs(line) for line in text.split("\n")], source, 0))
    return source


def _expand_tabs(line: str) -> str:
    body = line.lstrip(" \t")
    lead = line[: len(line) - len(body)]
    return lead.expandtabs(4) + body if "\t" in lead else line


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _blocks(lines: list[str], source: Source, depth: int, *, in_item: bool = False) -> list[str]:
    """Lay out the blocks of the post, of one item or of one quotation."""
    out: list[str] = []
    index = 0
    in_html = 0  # open HTML blocks, inside which indentation is no code
    owner = False  # the last paragraph may own indented ones
    in_paragraph = False  # the line before is a paragraph's
    unclosed: set[str] = set()  # ends of code tags that no line below has
    while index < len(lines):
        line = lines[index]
        before_is_text, in_paragraph = in_paragraph, False
        if "{" in line and not (_FENCE.match(line) or (_indent(line) >= 4 and source.indented_code and not in_html)):
            join_tag(lines, index)
            line = lines[index]
        if not line.strip():
            out.append("")
            index += 1
        elif _FENCE.match(line):
            index = _fence(lines, index, source, out)
        elif "{" in line and (end := _code_tag(lines, index, source, out, unclosed)):
            index = end
        elif (title := title_of_box(line)) is not None:
            if holds_indented(line):
                dedent(lines, index + 1, at_least=min(4, _indent(line) + 1))
            out += ["", title, ""]
            index += 1
        elif is_snippet(line):
            out.append("")
            index += 1
        elif _DOLLARS.match(line) and (end := _formula(lines, index, source, out)):
            index = end
        elif _indent(line) >= 4 and not before_is_text and not owner and not (in_html and "<" in line[:40]):
            if source.indented_code:
                index = _indented_code(lines, index, source, out)
            else:
                dedent(lines, index)
        elif line.lstrip().startswith("<!--"):
            index = _comment(lines, index, out)
        elif _HTML_BLOCK.match(line) or _VERBATIM.match(line) or (not before_is_text and _HTML_LINE.match(line)):
            index, opened = _html(lines, index, source, out)
            in_html = max(0, in_html + opened)
        elif _QUOTE.match(line):
            index = _quotation(lines, index, source, depth, out)
        elif _is_item(line, before_is_text):
            if before_is_text and (not in_item or "" in out):
                out.append("")  # right below an item's first words a list needs none, and would come apart with one
            index = _list(lines, index, source, depth, out)
        else:
            if opens_tag(line) and index + 1 < len(lines):
                dedent(lines, index + 1, at_least=max(1, _indent(line) + 1))
            if _is_table_head(lines, index) and before_is_text and "|" not in out[-1]:
                out.append("")
            owner = (owner and _indent(line) >= 4) or _OWNS_INDENTED.match(line) is not None
            out.append(line)
            index += 1
            in_paragraph = True
    return out


def _fence(lines: list[str], index: int, source: Source, out: list[str]) -> int:
    found = _FENCE.match(lines[index])
    assert found is not None
    closing = re.compile(rf"^ *{re.escape(found['fence'][0])}{{{len(found['fence'])},}}\s*$")
    width = _indent(lines[index])
    block: list[str] = []
    start = index
    index += 1
    while index < len(lines) and not closing.match(lines[index]):
        block.append(lines[index][min(width, _indent(lines[index])) :])
        index += 1
    source.languages[len(source.code)] = lines[start].lstrip(" `~")
    _take(source.code, CODE, block, out)
    return index + 1


def _code_tag(lines: list[str], index: int, source: Source, out: list[str], unclosed: set[str]) -> int | None:
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


def _formula(lines: list[str], index: int, source: Source, out: list[str]) -> int | None:
    """Take out a formula that stands on lines of its own; None if it does not end."""
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


def _indented_code(lines: list[str], index: int, source: Source, out: list[str]) -> int:
    block: list[str] = []
    while index < len(lines) and (not lines[index].strip() or _indent(lines[index]) >= 4):
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


def _comment(lines: list[str], index: int, out: list[str]) -> int:
    """Drop a comment; without its end it would hide the rest of the post, so only its first line goes."""
    end = index
    while end < len(lines) and "-->" not in lines[end]:
        end += 1
    if end == len(lines):
        out.append(lines[index].replace("<!--", "", 1))
        return index + 1
    rest = lines[end].partition("-->")[2]
    if index == end and not rest.strip() and out and out[-1].strip():
        return end + 1  # inside a paragraph: it goes on
    lines[end] = rest
    out.append("")
    return end


def _html(lines: list[str], index: int, source: Source, out: list[str]) -> tuple[int, int]:
    """Take out HTML up to the next blank line; return where it ends and how many blocks it leaves open."""
    verbatim = _VERBATIM.match(lines[index])
    closing = re.compile(rf"</{verbatim[1]}\s*>", re.IGNORECASE) if verbatim else None
    block: list[str] = []
    while index < len(lines):
        line = lines[index]
        if closing is None and not line.strip():
            break
        if closing is None and block and (_FENCE.match(line) or code_tag(line)):
            break
        block.append(line)
        index += 1
        if closing is not None:
            if closing.search(line):
                closing = None  # what follows is HTML up to a blank line
        elif re.search(r"\smarkdown=", line) and line.rstrip().endswith(">"):
            break  # kramdown reads Markdown from here on
    text = "\n".join(block)
    _take(source.html, HTML, block, out)
    opened = len(re.findall(r"<(?:div|details|section|article|aside|figure|center|blockquote|table|ul|ol)\b", text))
    closed = len(re.findall(r"</(?:div|details|section|article|aside|figure|center|blockquote|table|ul|ol)\s*>", text))
    return index, opened - closed


def _quotation(lines: list[str], index: int, source: Source, depth: int, out: list[str]) -> int:
    inner = []
    while index < len(lines):
        line = lines[index]
        if _QUOTE.match(line):
            inner.append(_expand_tabs(_QUOTE.sub("", line, count=1)))
        elif line.strip() and inner[-1].strip() and not _begins_block(line):
            inner.append(line)  # the paragraph goes on without its mark
        else:
            break
        index += 1
    if out and out[-1].strip():
        out.append("")
    is_box = False
    if (title := title_of_callout(inner[0])) is not None:
        is_box = not source.quoted_boxes and not re.match(r"\s*\[!(?:quote|cite)\b", inner[0], re.IGNORECASE)
        inner[0:1] = [title, ""]
    if is_box and depth < MAX_DEPTH:
        out += _blocks(inner, source, depth + 1)
    elif depth >= MAX_DEPTH:
        out += [re.sub(r"^[ >]+", "", line) for line in inner]
    else:
        out += [f"> {line}".rstrip() for line in _blocks(inner, source, depth + 1)]
    if index < len(lines) and lines[index].strip():
        out.append("")
    return index


def _list(lines: list[str], index: int, source: Source, depth: int, out: list[str]) -> int:
    """One item with all that belongs to it; the next item is the next call's."""
    item = _ITEM.match(lines[index])
    assert item is not None
    spaces = len(item["space"])
    column = len(item["indent"]) + len(item["marker"]) + (spaces if 1 <= spaces <= 4 else 1)
    inner = [item["rest"] if spaces <= 4 else " " * (spaces - 1) + item["rest"]]
    open_tags = 0
    index += 1
    while index < len(lines):
        line = lines[index]
        if "{{" in line and (tag := _SHORTCODE.match(line)):
            open_tags += -1 if tag["end"] else 1
            if open_tags < 0:
                break  # it closes what was opened around the list
        if line.strip() and _indent(line) < column:
            is_lazy = inner[-1].strip() and not _begins_block(line) and not _ITEM.match(line)
            if not is_lazy:
                break
            line = " " * column + line.lstrip(" ")
        inner.append(line[column:])
        index += 1
    num_blank = 0
    while len(inner) > 1 and not inner[-1].strip():
        inner.pop()
        num_blank += 1
    marker = item["marker"].replace(")", ".")
    if depth >= MAX_DEPTH:
        out += [
            f"{marker} {inner[0]}",
            *(f"{marker} {re.sub('^[ >*+-]+', '', line)}" for line in inner[1:] if line),
        ]
    else:
        laid_out = _blocks(inner, source, depth + 1, in_item=True)
        while laid_out and not laid_out[-1].strip():
            laid_out.pop()
        first = laid_out[0] if laid_out else ""
        out.append(f"{marker} {first}".rstrip())
        out += [f"    {line}".rstrip() for line in laid_out[1:]]
        if "" in laid_out:
            num_blank = 1  # without it, Python-Markdown takes the next item for one of this item's
    out += [""] * min(num_blank, 1)
    return index


def _is_item(line: str, after_text: bool) -> bool:
    """Whether a line begins an item; within a paragraph only a bullet or number one with text does."""
    item = _ITEM.match(line)
    if item is None or _RULE.match(line) or len(item["indent"]) > 3:
        return False
    return not after_text or (bool(item["rest"].strip()) and item["marker"] in ("-", "*", "+", "1.", "1)"))


def _begins_block(line: str) -> bool:
    """Whether a line ends the paragraph before it."""
    return bool(
        _FENCE.match(line)
        or _HEADING.match(line)
        or _RULE.match(line)
        or _QUOTE.match(line)
        or _HTML_BLOCK.match(line)
        or _is_item(line, after_text=True)
    )


def _is_table_head(lines: list[str], index: int) -> bool:
    if "|" not in lines[index] or index + 1 >= len(lines):
        return False
    return "|" in lines[index + 1] and _TABLE_RULE.match(lines[index + 1]) is not None

"""Dialect: what authors write after GitHub and CommonMark, laid out as Python-Markdown reads it.

Python-Markdown follows the Markdown of 2004: a list needs a blank line before it and four spaces a level, a
fence must not be indented, HTML goes on to its closing tag. Posts are seldom written so. This pass finds the
blocks as CommonMark does (spec 0.31, sections 4 and 5) and lays them out anew. Code and HTML are taken out,
and a placeholder stands for each, so that nothing is read inside them. Every word stays.
"""

from __future__ import annotations

import re

from services.corpus.cleaning.containers import (
    dedent,
    end_of_call,
    ends_block,
    holds_indented,
    join_tag,
    opens_tag,
    title_of_box,
    title_of_callout,
)
from services.corpus.cleaning.paragraphs import guarded, heading, is_rule, underlined, with_break
from services.corpus.cleaning.tables import table
from services.corpus.cleaning.taken_out import (
    FENCE,
    FORMULA,
    HTML_BLOCK,
    HTML_LINE,
    VERBATIM,
    Source,
    drop_comment,
    indent,
    take_code_tag,
    take_fence,
    take_formula,
    take_html,
    take_indented_code,
)

_MAX_LINES_OF_WORDS = 50  # of an item's first block
MAX_DEPTH = 8  # of lists and quotations; deeper ones are flattened. Python-Markdown overflows at about 300

NOTHING = "\ufde9"  # stands where Python-Markdown needs a word and there is none

_SHORTCODE = re.compile(r"^ *\{\{[<%]\s*(?P<end>/)?(?!.*\{\{[<%]\s*/)")
_ITEM = re.compile(r"^(?P<indent> *)(?P<marker>[-*+]|\d{1,9}[.)])(?P<space> +|$)(?P<rest>.*)$")
_QUOTE = re.compile(r"^ {0,3}> ?")
_MARKS = re.compile(r"^(?: |>|(?:[-*+]|\d{1,9}[.)])(?= |$))+")  # of any depth
# Paragraphs that belong to a footnote or a definition are indented by four, as code is.
_OWNS_INDENTED = re.compile(r"^ {0,3}(?:\[\^[^\]]+\]:|: )")


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


def _is_indented(line: str, source: Source, goes_on: bool) -> bool:
    return indent(line) >= 4 and source.indented_code and not goes_on


def _blocks(lines: list[str], source: Source, depth: int, *, in_item: bool = False) -> list[str]:
    """Lay out the blocks of the post, of one item or of one quotation."""
    out: list[str] = []
    index = 0
    in_html = 0  # open HTML blocks, inside which indentation is no code
    owner = False  # the last paragraph may own indented ones
    in_paragraph = False  # the line before is a paragraph's
    paragraph = 0  # where in `out` it began
    unclosed: set[str] = set()  # ends of code tags that no line below has
    while index < len(lines):
        line = lines[index]
        before_is_text, in_paragraph = in_paragraph, False
        if not before_is_text:
            paragraph = len(out)
        if line[:1].isalpha() and "{" not in line and "|" not in line:  # most lines are prose
            owner = _prose(lines, index, before_is_text, owner, out)
            in_paragraph = True
            index += 1
            continue
        if "{" in line and not (FENCE.match(line) or (indent(line) >= 4 and source.indented_code and not in_html)):
            join_tag(lines, index)
            line = lines[index]
        if not line.strip():
            out.append("")
            index += 1
        elif FENCE.match(line):
            index = take_fence(lines, index, source, out)
        elif "{" in line and (end := take_code_tag(lines, index, source, out, unclosed)):
            index = end
        elif (end := end_of_call(lines, index)) > index:
            out.append("")
            index = end
        elif ends_block(line):
            out.append("")
            index += 1
        elif not _is_indented(line, source, before_is_text or owner) and (title := title_of_box(line)) is not None:
            if holds_indented(line):
                dedent(lines, index + 1, at_least=min(4, indent(line) + 1))
            out += ["", title, ""]
            index += 1
        elif (
            ("\\" in line or "$$" in line) and FORMULA.match(line) and (end := take_formula(lines, index, source, out))
        ):
            index = end
        elif indent(line) >= 4 and not before_is_text and not owner and not (in_html and "<" in line[:40]):
            if source.indented_code:
                index = take_indented_code(lines, index, source, out)
            else:
                dedent(lines, index)
        elif line.lstrip().startswith("<!--"):
            index = drop_comment(lines, index, out)
        elif HTML_BLOCK.match(line) or VERBATIM.match(line) or (not before_is_text and HTML_LINE.match(line)):
            index, opened = take_html(lines, index, source, out)
            in_html = max(0, in_html + opened)
        elif _QUOTE.match(line):
            index = _quotation(lines, index, source, depth, out)
        elif "|" in line and (found := table(lines, index)) is not None:
            rows, index = found
            out += ["", *rows, ""]
        elif before_is_text and (title := underlined(line, out, paragraph)) is not None:
            targets = [above for above in out[paragraph:] if above.lstrip().startswith("[") and "]:" in above]
            out[paragraph:] = [*targets, "", title, ""]
            index += 1
        elif is_rule(line):
            out += ["", "---", ""]
            index += 1
        elif (title := heading(line)) is not None:
            out += ["", title, ""]
            index += 1
        elif _is_item(line, before_is_text):
            if before_is_text and (not in_item or "" in out):
                out.append("")  # right below an item's first words a list needs none, and would come apart with one
            index = _list(lines, index, source, depth, out)
        else:
            owner = _prose(lines, index, before_is_text, owner, out)
            in_paragraph = True
            index += 1
    return out


def _prose(lines: list[str], index: int, before_is_text: bool, owner: bool, out: list[str]) -> bool:
    """Lay out one line of a paragraph; return whether the paragraph may own indented ones."""
    line = lines[index]
    if "{" in line and opens_tag(line) and index + 1 < len(lines):
        dedent(lines, index + 1, at_least=max(1, indent(line) + 1))
    if owner and not before_is_text and 2 <= indent(line) < 4:
        line = "    " + line.lstrip(" ")  # as far in as the definition that it belongs to
    goes_on = index + 1 < len(lines) and lines[index + 1].strip()
    out.append(with_break(guarded(line)) if goes_on else guarded(line))
    return (owner and indent(line) >= 4) or _OWNS_INDENTED.match(line) is not None


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
        out += [_MARKS.sub("", line) for line in inner]
    else:
        out += [f"> {line}" if line.strip() else ">" for line in _blocks(inner, source, depth + 1)]
    if index < len(lines) and lines[index].strip():
        out.append("")
    return index


def _list(lines: list[str], index: int, source: Source, depth: int, out: list[str]) -> int:
    """One item with all that belongs to it; the next item is the next call's."""
    item = _ITEM.match(lines[index])
    assert item is not None
    spaces = len(item["space"])
    column = _column(item, lines, index)
    inner = [item["rest"] if spaces <= 4 else " " * (spaces - 1) + item["rest"]]
    open_tags = 0
    index += 1
    while index < len(lines):
        line = lines[index]
        if "{{" in line and (tag := _SHORTCODE.match(line)):
            open_tags += -1 if tag["end"] else 1
            if open_tags < 0:
                break  # it closes what was opened around the list
        if line.strip() and indent(line) < column:
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
            f"{marker} {_MARKS.sub('', inner[0])}",
            *(f"{marker} {_MARKS.sub('', line)}" for line in inner[1:] if line),
        ]
    else:
        laid_out = _blocks(inner, source, depth + 1, in_item=True)
        while laid_out and not laid_out[-1].strip():
            laid_out.pop()
        while laid_out and not laid_out[0].strip():
            del laid_out[0]
        if not laid_out:
            _empty_item(item, lines, index, out)
            return index
        if len(laid_out) > 1 and laid_out[1].startswith((": ", "|")):
            laid_out[:0] = [NOTHING, ""]  # Python-Markdown reads only the first line of such a block
        out.append(f"{marker} {laid_out[0]}")
        is_first = laid_out[0].startswith(">")  # a quotation goes on without indentation, as a paragraph would
        for line in laid_out[1:]:
            is_first = is_first and line.startswith(">")
            out.append(line if is_first or not line.strip() else f"    {line}")
        if "" in laid_out or _other_list(marker, lines, index):
            num_blank = 1  # without it, Python-Markdown takes the next item for one of this item's
    out += [""] * min(num_blank, 1)
    return index


def _column(item: re.Match[str], lines: list[str], index: int) -> int:
    """How far in the item's own blocks stand: as its words, or 4 where its second block stands before those.

    Markdown as it was first described, and MkDocs with it, asks for 4 however far in the words are.
    """
    spaces = len(item["space"])
    column = len(item["indent"]) + len(item["marker"]) + (spaces if 1 <= spaces <= 4 else 1)
    if column <= 4:
        return column
    after_blank = False
    for line in lines[index + 1 : index + 1 + _MAX_LINES_OF_WORDS]:
        if after_blank and line.strip():
            return 4 if 4 <= indent(line) < column else column
        after_blank = after_blank or not line.strip()
    return column


def _other_list(marker: str, lines: list[str], index: int) -> bool:
    """Whether the line below an item begins a list of the other kind."""
    found = _ITEM.match(lines[index]) if index < len(lines) else None
    return found is not None and (found["marker"] in "-*+") != (marker in "-*+")


def _empty_item(item: re.Match[str], lines: list[str], end: int, out: list[str]) -> None:
    """A bullet without words is nothing; a number may be the author's, but between numbered items."""
    neighbours = [line for line in (out[-1] if out else "", lines[end] if end < len(lines) else "") if line.strip()]
    if item["marker"][0] in "-*+" or any(_ITEM.match(line) for line in neighbours):
        return
    out += ["", f"{item['marker'][:-1]}\\{item['marker'][-1]}", ""]


def _is_item(line: str, after_text: bool) -> bool:
    """Whether a line begins an item; within a paragraph only a bullet or number one with text does."""
    item = _ITEM.match(line)
    if item is None or is_rule(line) or len(item["indent"]) > 3:
        return False
    return not after_text or (bool(item["rest"].strip()) and item["marker"] in ("-", "*", "+", "1.", "1)"))


def _begins_block(line: str) -> bool:
    """Whether a line ends the paragraph before it."""
    return bool(
        FENCE.match(line)
        or heading(line) is not None
        or is_rule(line)
        or _QUOTE.match(line)
        or HTML_BLOCK.match(line)
        or _is_item(line, after_text=True)
    )

"""Markdown form: a post -> Markdown as its author wrote it, each thing in one way, for a model to learn to write it.

`#` headings, `-` bullets, `1.` numbers, fenced code with its language, pipe tables, `>` quotations, `---` rules,
footnotes at the end; a paragraph is one line. No HTML, template tags or attributes remain. Posts are rendered as
for the text form, and Markdown is written from the tree. Cleaned again, what comes out is the same.
The inside of lines is written by markdown_words.py.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass

from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag

from services.corpus.cleaning.frontmatter import split
from services.corpus.cleaning.html_text import BLOCKS, HEADINGS, SILENT, PageText, holds_block, start_of
from services.corpus.cleaning.markdown_words import Piece, Words, escape, escape_start
from services.corpus.cleaning.maths import restore_maths
from services.corpus.cleaning.page import flattened, parse, take_maths
from services.corpus.cleaning.page_tree import UNSEEN
from services.corpus.cleaning.plain_text import to_html
from services.corpus.cleaning.template_tags import restore_raw
from services.corpus.rules import Rules

RULE = "---"
_LANGUAGE = re.compile(r"^\{?\s*\.?(?:lang(?:uage)?-)?(?P<name>[A-Za-z][\w+#.-]*)(?!\s*=)")
_CLASS = re.compile(r"^(?:lang(?:uage)?-|highlight-source-|highlight-text-)(?P<name>[A-Za-z][\w+#.-]*)$")
_BOX = re.compile(r"^\\?\[\\?[/<>?!*-]\] ")  # of a task, in a note-taker's notation
_ITEM = re.compile(r"- |\d+\. ")
_OTHER = re.compile(r"- |\d+\. |#+ |> |\| |```|---$|\$\$")  # no paragraph: one would have a backslash
_MAX_WRAPPED = 100  # columns: text whose longest line is longer was not broken by hand


@dataclass(frozen=True, slots=True)
class _Writer:
    """What the walk needs to know everywhere."""

    words: Words
    rules: Rules
    languages: dict[int, str]


def markdown_of_markdown(text: str, rules: Rules, *, mdx: bool = False) -> PageText:
    """Write a post's Markdown anew.

    Args:
        text: a post's body.
        rules: what its author chose.
        mdx: it is MDX.

    Raises:
        RecursionError: it is nested too deeply.
    """
    html, source = to_html(text, rules, mdx=mdx)
    words = Words(rules, dict(enumerate(source.code)), source.maths)
    return _page(parse(html), _Writer(words, rules, source.languages))


def markdown_of_html(html: str, rules: Rules) -> PageText:
    """Write an HTML post as Markdown; formulas are those that a script would typeset."""
    soup = parse(html)
    maths: list[str] = []
    take_maths(soup, maths if rules.keep_maths else None)
    return _page(soup, _Writer(Words(rules, {}, maths), rules, {}))


def markdown_of_text(text: str) -> PageText:
    """Write plain text as Markdown that shows it. A line that was broken for want of width goes on with the next."""
    blocks = []
    width = max((len(line.rstrip()) for line in text.split("\n")), default=0)
    for block in re.split(r"\n[ \t]*\n", text):
        lines = [" ".join(line.split()) for line in block.split("\n") if line.strip()]
        joined = lines[:1]
        for before, line in itertools.pairwise(lines):
            is_wrapped = 60 <= width <= _MAX_WRAPPED and len(before) + 1 + len(line.split(" ", 1)[0]) > width
            joined[-1:] = [f"{joined[-1]} {line}"] if is_wrapped else [joined[-1], line]
        if joined:
            blocks.append("  \n".join(escape_start(escape(line)) for line in joined))
    return PageText(_safe_start("\n\n".join(blocks)))


def _page(soup: BeautifulSoup, writer: _Writer) -> PageText:
    try:
        return _write(soup, writer)
    except RecursionError:
        return _write(flattened(soup), writer)


def _write(soup: BeautifulSoup, writer: _Writer) -> PageText:
    notes = _footnotes(soup, writer)
    root = soup.body or soup
    blocks = _without_edge_rules(_blocks(root, writer))
    heading = soup.find("h1")
    words = line = ""
    if isinstance(heading, Tag):
        written = writer.words.one_line(writer.words.pieces(heading))
        words = " ".join(restore_raw(restore_maths(heading.get_text(), writer.words.maths)).split())
        line = f"# {_heading(written)}"
    if notes:
        blocks.append("\n".join(notes))
    return PageText(_safe_start("\n\n".join(blocks)), words, line)


def _blocks(element: Tag, writer: _Writer) -> list[str]:
    """The blocks inside an element, in reading order."""
    blocks: list[str] = []
    line: list[Piece] = []

    def end_line() -> None:
        start = 0
        for index, piece in enumerate(line):
            if piece.code is not None:
                blocks.extend(writer.words.paragraphs(line[start:index]))
                blocks.extend(_fenced(writer.words.block(piece.code), writer.languages.get(piece.code, "")))
                start = index + 1
        blocks.extend(writer.words.paragraphs(line[start:]))
        line.clear()

    for child in element.children:
        if isinstance(child, UNSEEN):
            continue
        if isinstance(child, Tag):
            if child.name in BLOCKS or (child.name not in SILENT and holds_block(child)):
                end_line()
                _append(blocks, _block(child, writer))
            else:
                line += writer.words.piece(child, frozenset())
        elif isinstance(child, NavigableString):
            line += writer.words.of_string(str(child))
    end_line()
    return blocks


def _append(blocks: list[str], more: list[str]) -> None:
    """Add blocks; quotations and lists of bullets side by side are one, as they would be read."""
    if blocks and more and blocks[-1].startswith(">") and more[0].startswith(">"):
        blocks[-1] += f"\n>\n{more[0]}"
        more = more[1:]
    elif blocks and more and blocks[-1].startswith("- ") and more[0].startswith("- "):
        items = [item for block in (blocks[-1], more[0]) for item in re.split(r"\n+(?=- )", block)]
        blocks[-1] = ("\n\n" if any("\n\n" in item for item in items) else "\n").join(items)
        more = more[1:]
    blocks.extend(more)


def _block(tag: Tag, writer: _Writer) -> list[str]:
    """The blocks that one block element makes."""
    rules = writer.rules
    if tag.name == "pre":
        return _fenced(_text_of_pre(tag, writer), _language_of(tag)) if rules.keep_code else []
    if tag.name in ("ul", "ol"):
        return _list(tag, writer)
    if tag.name == "blockquote":
        inner = "\n\n".join(_without_edge_rules(_blocks(tag, writer))) if rules.keep_quotations else ""
        return ["\n".join(f"> {line}" if line else ">" for line in inner.split("\n"))] if inner else []
    if tag.name == "table":
        return _table(tag, writer) if rules.keep_tables else []
    if tag.name == "dl":
        return _definitions(tag, writer)
    if tag.name == "hr":
        return [RULE]
    if tag.name in HEADINGS:
        words = writer.words.one_line(writer.words.pieces(tag)) if rules.keep_headings else ""
        return [f"{'#' * int(tag.name[1])} {_heading(words)}"] if words else []
    return _blocks(tag, writer)


def _heading(words: str) -> str:
    """A heading's words, their own number signs at either end kept."""
    words = re.sub(r"(?<!\\)#+$", lambda found: "\\#" * len(found[0]), words)
    return f"\\{words}" if words.startswith("#") else words


def _without_edge_rules(blocks: list[str]) -> list[str]:
    """A rule parts what is before it from what is after it; at an end, or beside another, it parts nothing."""
    kept: list[str] = []
    for block in blocks:
        if block != RULE or (kept and kept[-1] != RULE):
            kept.append(block)
    return kept[:-1] if kept and kept[-1] == RULE else kept


def _fenced(code: str, language: str) -> list[str]:
    code = restore_raw(code).strip("\n").rstrip()
    if not code.strip():
        return []
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
    found = _LANGUAGE.match(language.strip())
    return [f"{fence}{found['name'] if found else ''}\n{code}\n{fence}"]


def _text_of_pre(tag: Tag, writer: _Writer) -> str:
    text = re.sub("\ufdd0(\\d+)\ufdd1", lambda found: writer.words.block(int(found[1])), tag.get_text())
    return restore_maths(text, writer.words.maths)


def _language_of(tag: Tag) -> str:
    """The language of a block of code, by the names that highlighters give its class."""
    inner = tag.find("code")
    for element in (inner, tag, tag.parent, tag.parent.parent if tag.parent else None):
        if not isinstance(element, Tag):
            continue
        if element is not tag and element is not inner and element.name not in ("div", "figure"):
            continue
        if language := element.get("data-lang") or element.get("data-language"):
            return str(language)
        classes = [str(name) for name in element.get_attribute_list("class") if name]
        for name in classes:
            if found := _CLASS.match(name):
                return found["name"]
        if classes[:1] == ["brush:"] and len(classes) > 1:
            return classes[1].rstrip(";")
    return ""


def _list(tag: Tag, writer: _Writer) -> list[str]:
    """One block: an item a line, what is inside an item indented below it."""
    items: list[str] = []
    number = start_of(tag)
    loose = False
    for child in tag.children:
        if not isinstance(child, Tag) or child.name in SILENT:
            continue
        if child.name in ("ul", "ol") and items:  # a list directly inside a list
            items[-1] += "".join("\n  " + inner.replace("\n", "\n  ") for inner in _list(child, writer))
            continue
        marker = _marker(tag, number)
        blocks = [block for block in _blocks(child, writer) if block != RULE]
        if not blocks:
            continue
        number += 1
        blocks[0] = _BOX.sub("", blocks[0])
        is_loose = not all(_ITEM.match(block) for block in blocks[1:])  # only lists stand close below an item's words
        loose = loose or is_loose
        items.append(marker + ("\n\n" if is_loose else "\n").join(blocks).replace("\n", "\n" + " " * len(marker)))
    text = ("\n\n" if loose else "\n").join(items)
    return [re.sub(r"(?m)^ +$", "", text)] if items else []


def _marker(tag: Tag, number: int) -> str:
    return f"{number}. " if tag.name == "ol" else "- "


def _table(tag: Tag, writer: _Writer) -> list[str]:
    """One block: a row a line; a table without a head gets an empty one, as Markdown has no other."""
    rows: list[list[str]] = []
    head: list[str] = []
    for row in tag.find_all("tr"):
        if row.find_parent("table") is not tag:
            continue  # of a table in a cell, whose words are the cell's
        cells = row.find_all(("td", "th"), recursive=False)
        written = [_cell(cell, writer) for cell in cells]
        if not rows and not head and all(cell.name == "th" for cell in cells):
            head = written
        elif any(written):
            rows.append(written)
    caption = tag.find("caption")
    before = _blocks(caption, writer) if isinstance(caption, Tag) else []
    width = max(map(len, [head, *rows]), default=0)
    if not any(head) and not rows:
        return before
    lines = [head, ["---"] * width, *map(_no_rule, rows)]
    return [*before, "\n".join("| " + " | ".join(line + [""] * (width - len(line))) + " |" for line in lines)]


def _no_rule(row: list[str]) -> list[str]:
    """A row of dashes alone would be read as the rule below the head."""
    if not re.fullmatch("[-:=+ ]+", "".join(row)):
        return row
    first = next(index for index, cell in enumerate(row) if cell)
    return [*row[:first], f"\\{row[first]}", *row[first + 1 :]]


def _cell(cell: Tag, writer: _Writer) -> str:
    """A cell on one line: the words of its blocks."""
    return re.sub(r"(?<!\\)\|", r"\\|", writer.words.one_line(_flat(cell, writer)))


def _flat(element: Tag, writer: _Writer) -> list[Piece]:
    """What is in an element, blocks as if they stood in a line."""
    pieces: list[Piece] = []
    number = start_of(element)
    for child in element.children:
        if isinstance(child, Tag) and (child.name in BLOCKS or holds_block(child)) and child.name not in SILENT:
            is_code = child.name == "pre"
            inner = writer.words.piece(child, frozenset(), as_code=True) if is_code else _flat(child, writer)
            if child.name == "li" and writer.words.one_line(inner):
                inner.insert(0, Piece(_marker(element, number)))
                number += 1
            pieces += [Piece(" "), *inner, Piece(" ")]
        elif isinstance(child, Tag):
            pieces += writer.words.piece(child, frozenset())
        elif isinstance(child, NavigableString) and not isinstance(child, UNSEEN):
            pieces += writer.words.of_string(str(child))
    return pieces


def _definitions(tag: Tag, writer: _Writer) -> list[str]:
    """A block for each term with its meanings; what is no paragraph stands below it."""
    blocks: list[str] = []
    open_term = False
    for child in tag.find_all(("dt", "dd")):
        holds_others = any(inner.name in BLOCKS and inner.name != "p" for inner in child.find_all(True))
        parts = [part for part in child.children if isinstance(part, Tag) or str(part).strip()]
        paragraphs = [part for part in parts if isinstance(part, Tag) and part.name == "p"]
        paragraphs = paragraphs if len(paragraphs) == len(parts) else [child]
        lines = [writer.words.one_line(_flat(paragraph, writer), at_start=True) for paragraph in paragraphs]
        for block in _blocks(child, writer) if holds_others else filter(None, lines):
            is_paragraph = _OTHER.match(block) is None
            if child.name == "dt":
                blocks.append(block.replace("  \n", " ") if is_paragraph else block)
                open_term = is_paragraph
            elif open_term and is_paragraph:
                blocks[-1] += "\n:   " + block.replace("  \n", " ")
            else:
                blocks.append(block)
                open_term = False
    return blocks


def _footnotes(soup: BeautifulSoup, writer: _Writer) -> list[str]:
    """Take the footnotes out, number them in the order in which they are referred to, and write them."""
    container = soup.find("div", class_="footnote")
    if not isinstance(container, Tag):
        return []
    container.extract()
    for back in container.find_all("a", class_="footnote-backref"):
        back.decompose()
    for reference in container.find_all("sup"):
        if str(reference.get("id", "")).startswith("fnref"):
            reference.decompose()
    items = [item for item in container.find_all("li") if str(item.get("id", "")).startswith("fn")]
    by_address = {f"#{item['id']}": item for item in items} if writer.rules.keep_footnotes else {}
    order: list[str] = []
    for link in soup.find_all("a", class_="footnote-ref"):
        address = str(link.get("href", ""))
        if address not in by_address:
            (link.parent if link.parent is not None and link.parent.name == "sup" else link).decompose()
        elif address not in order:
            order.append(address)
    order += [address for address in by_address if address not in order]
    notes = []
    for number, address in enumerate(order, start=1):
        words = writer.words.one_line(_flat(by_address[address], writer), at_start=True)
        notes.append(f"[^{number}]: {words}")
        writer.words.notes[address] = number
    return notes


def _safe_start(text: str) -> str:
    """The text, its first line such that it is not taken for front matter."""
    if split(text).body == text:
        return text
    word: Callable[[re.Match[str]], str] = lambda found: f"{found[1]}\\:" if found[1] else f"\\{found[0]}"  # noqa: E731
    return re.sub(r"^([A-Za-z][\w-]*):|^.", word, text, count=1)

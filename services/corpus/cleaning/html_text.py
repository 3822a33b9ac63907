"""HTML text: an HTML page or fragment -> the text that a reader of the page sees.

Blocks stand apart by a blank line; list items and table rows each on a line of their own; links are their
words, images their alternative text; code keeps its lines. Scripts, styles and comments are no text.
Walks the tree of page_tree.py; knows nothing of Markdown, but that footnotes look as Python-Markdown
writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bs4.element import Tag as SoupTag

from services.corpus.cleaning.page import flattened, parse, take_maths
from services.corpus.cleaning.page_tree import Tag, tree_of
from services.corpus.rules import Rules


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SILENT = _names(
    "script style template noscript iframe object embed video audio canvas svg math head nav button select "
    "form input textarea map source track link meta rp"
)
BLOCKS = _names(
    "address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption "
    "figure footer h1 h2 h3 h4 h5 h6 header hgroup hr html li main ol p pre section summary table tbody td "
    "tfoot th thead tr ul"
)
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
# Pelican's own ways to say where: a file of the site, a list of its pages.
_SOURCE = re.compile(r"^(?:\{(?:filename|static|attach)\}|\|(?:filename|static|attach)\|)")
_LISTING = re.compile(r"^[{|](?:author|tag|category|archives|index)[}|]")
_RAISED = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_LOWERED = str.maketrans("0123456789+-", "₀₁₂₃₄₅₆₇₈₉₊₋")
_LINE_BREAK = "\ufdd2"  # no character, so that no text holds it
_BREAK = re.compile(f" ?{_LINE_BREAK} ?")
_SPACES = re.compile("[ \t\n\r\f\xa0]{2,}|[\t\n\r\f\xa0]")  # all that are more than one plain space
# Chinese and Japanese are written without blanks, Korean with them.
_IDEOGRAPH = "[\u2e80-\u30ff\u31c0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff60\U00020000-\U0003ffff]"
# Quotation marks, dashes and dots belong to either script; one neighbour tells.
BETWEEN_IDEOGRAPHS = re.compile(
    f"(?<={_IDEOGRAPH})[ \t]*\n[ \t]*(?=[“‘—…]|{_IDEOGRAPH})|(?<=[”’—…])[ \t]*\n[ \t]*(?={_IDEOGRAPH})"
)
CODE = re.compile("\ufdd0(\\d+)\ufdd1")


@dataclass(frozen=True, slots=True)
class PageText:
    """What a reader sees.

    Args:
        text: the text, its blocks parted by a blank line.
        heading: the first heading of level 1; "" if there is none.
        heading_line: how that heading stands in the text.
    """

    text: str
    heading: str = ""
    heading_line: str = ""


@dataclass(frozen=True, slots=True)
class _Walk:
    """What the walk needs to know everywhere."""

    code: Mapping[int, str]
    rules: Rules


def page_text(page: str | Tag, rules: Rules, *, code: Mapping[int, str] | None = None) -> PageText:
    """Turn HTML into text.

    Args:
        page: a page or a fragment as HTML, however broken, or as a tree, which is changed.
        rules: which blocks to keep; code within a sentence always stays.
        code: blocks of code by the number in the placeholder that stands for them in the page.

    Elements that are nested more than some eighty deep lose their tags.
    """
    walk = _Walk(code or {}, rules)
    if isinstance(page, Tag):
        return _page_text(page, walk)
    soup = parse(page)
    if not rules.keep_maths:
        take_maths(soup, None)
    try:
        return _page_text(tree_of(soup), walk)
    except RecursionError:
        return _page_text(tree_of(flattened(soup)), walk)


def _page_text(page: Tag, walk: _Walk) -> PageText:
    _place_footnotes(page, walk)
    blocks = _blocks(page.find("body") or page, walk)
    heading = page.find("h1")
    words = _words(heading, walk).replace("\n", " ") if heading is not None else ""
    words = _fill(words, walk)
    return PageText(_fill("\n\n".join(blocks), walk).strip("\n"), words, words)


def _blocks(element: Tag, walk: _Walk) -> list[str]:
    """The blocks of text inside an element, in reading order."""
    blocks: list[str] = []
    line: list[str] = []

    def end_line() -> None:
        text = _tidy("".join(line))
        line.clear()
        if text:
            blocks.extend(_with_code(text, walk))

    for child in element.children:
        if isinstance(child, Tag):
            if child.name in BLOCKS or (child.name not in SILENT and holds_block(child)):
                end_line()
                blocks.extend(_block(child, walk))
            else:
                line.append(_inline(child, walk))
        else:
            line.append(child)
    end_line()
    return blocks


def holds_block(tag: Tag | SoupTag) -> bool:
    """Whether an element that is no block has one in it."""
    return any(getattr(inner, "name", None) in BLOCKS for inner in tag.descendants)


def _block(tag: Tag, walk: _Walk) -> list[str]:
    """The blocks that one block element makes."""
    if tag.name == "pre":
        code = tag.get_text().strip("\n").rstrip()
        return [code] if code and walk.rules.keep_code else []
    if tag.name in ("ul", "ol"):
        return _list(tag, walk)
    if tag.name == "blockquote" and not walk.rules.keep_quotations:
        return []
    if tag.name == "table":
        return _table(tag, walk) if walk.rules.keep_tables else []
    if tag.name == "dl":
        return _definitions(tag, walk)
    if tag.name in HEADINGS and not walk.rules.keep_headings:
        return []
    if tag.name in HEADINGS:
        words = _words(tag, walk).replace("\n", " ")
        return [words] if words else []
    return _blocks(tag, walk)


def _list(tag: Tag, walk: _Walk) -> list[str]:
    """One block: an item a line, what is inside an item indented below it."""
    items: list[str] = []
    number = start_of(tag)
    loose = False
    for child in tag.children:
        if isinstance(child, Tag) and child.name in ("ul", "ol"):  # a list directly inside a list
            items += ["  " + inner.replace("\n", "\n  ") for inner in _list(child, walk)]
            continue
        if not isinstance(child, Tag) or child.name in SILENT:
            continue
        marker = f"{number}. " if tag.name == "ol" else "- "
        blocks = _blocks(child, walk)
        if not blocks:
            continue
        number += 1
        blocks[0] = re.sub(r"^\[[ xX/<>?!*-]\] ", "", blocks[0])  # the box of a task
        inner_lists = child.find_all("ul", "ol", recursive=False)
        loose = loose or len(blocks) > 1 + len(inner_lists)
        separator = "\n\n" if len(blocks) > 1 + len(inner_lists) else "\n"
        items.append(marker + separator.join(blocks).replace("\n", "\n" + " " * len(marker)))
    text = ("\n\n" if loose else "\n").join(items)
    return [re.sub(r"(?m)^ +$", "", text)] if items else []


def start_of(tag: Tag | SoupTag) -> int:
    """The number of a list's first item."""
    start = str(tag.get("start", "1"))
    return int(start) if re.fullmatch(r"\d{1,9}", start) else 1


def _table(tag: Tag, walk: _Walk) -> list[str]:
    """One block: a row a line, its cells parted by ` | `."""
    rows = []
    for row in tag.find_all("tr"):
        if row.find_parent("table") is not tag:
            continue  # of a table in a cell, whose words are the cell's
        cells = [" ".join(" ".join(_blocks(cell, walk)).split()) for cell in row.find_all("td", "th", recursive=False)]
        if any(cells):
            rows.append(" | ".join(cells).rstrip())
    caption = tag.find("caption")
    before = _blocks(caption, walk) if caption is not None else []
    return [*before, "\n".join(rows)] if rows else before


def _definitions(tag: Tag, walk: _Walk) -> list[str]:
    """A block for each term, its definitions indented below it."""
    entries: list[str] = []
    for child in tag.find_all("dt", "dd"):
        text = "\n".join(_blocks(child, walk))
        if child.name == "dd" and entries:
            entries[-1] += "\n  " + text.replace("\n", "\n  ")
        elif text:
            entries.append(text)
    return entries


def _inline(tag: Tag, walk: _Walk) -> str:
    """The words of an element that stands in a line."""
    if tag.name in SILENT:
        return ""
    if tag.name == "br":
        return _LINE_BREAK
    if tag.name == "img":
        return tag.get("alt") if walk.rules.keep_image_alt else ""
    parts: list[str] = []
    for child in tag.children:
        parts.append(_inline(child, walk) if isinstance(child, Tag) else child)
    if walk.rules.keeps_addresses and tag.name == "a":
        parts.append(_behind(link_target(tag), "".join(parts)))
    return set_apart(tag.name, "".join(parts))


def set_apart(name: str, words: str) -> str:
    """What stands above or below the line, so that 10<sup>6</sup> is not 106, nor a reading part of its word."""
    if name == "rt":
        return f"({words.strip()})" if words.strip() else ""
    if name in ("sup", "sub") and words.isascii() and words.strip("+-").isdigit():
        return words.translate(_RAISED if name == "sup" else _LOWERED)
    return words


def link_target(tag: Tag | SoupTag) -> str:
    """Where a link or an image leads; "" if nowhere that a reader could go from the text."""
    target = re.sub("[\t\n\r\f]+", "", str(tag.get("src" if tag.name == "img" else "href", ""))).strip()
    if target.startswith("#/"):
        return target[1:]  # a template tag stood for the site's address
    target = "" if _LISTING.match(target) else _SOURCE.sub("", target)
    return "" if re.match(r"#|(?:javascript|data|vbscript|about):", target, re.IGNORECASE) else target


def _behind(target: str, words: str) -> str:
    """An address in parentheses, unless the words say it already."""
    said = target.removeprefix("mailto:")
    return f" ({target})" if target and words.strip() and said != words.strip() else ""


def _words(tag: Tag, walk: _Walk) -> str:
    return _tidy(_inline(tag, walk))


def _tidy(text: str) -> str:
    """White space as a browser shows it; a line break ends its line, and one between ideographs is none."""
    if "\n" in text and not text.isascii():
        text = BETWEEN_IDEOGRAPHS.sub("", text)
    text = _SPACES.sub(" ", text)
    return (_BREAK.sub("\n", text) if _LINE_BREAK in text else text).strip()


def _with_code(text: str, walk: _Walk) -> list[str]:
    """Put blocks of code back where their placeholders stand."""
    if "\ufdd0" not in text:
        return [text]
    blocks: list[str] = []
    for index, part in enumerate(CODE.split(text)):
        if index % 2 == 0:
            blocks.append(part.strip())
        elif walk.rules.keep_code:
            blocks.append(walk.code.get(int(part), "").strip("\n").rstrip())
    return [block for block in blocks if block]


def _fill(text: str, walk: _Walk) -> str:
    """Put code in for placeholders that ended up inside other text, as in HTML that is not closed."""
    return CODE.sub(lambda found: walk.code.get(int(found[1]), "") if walk.rules.keep_code else "", text)


def _place_footnotes(page: Tag, walk: _Walk) -> None:
    """Move each footnote to where it is first referred to, in parentheses; the others to the end."""
    container = next((tag for tag in page.find_all("div") if tag.has_class("footnote")), None)
    if container is None:
        return
    notes: dict[str, str] = {}
    container.extract()
    for back in container.find_all("a"):
        if back.has_class("footnote-backref"):
            back.extract()
    for reference in container.find_all("sup"):
        if reference.get("id").startswith("fnref"):
            reference.extract()
    for item in container.find_all("li"):
        if item.get("id").startswith("fn") and walk.rules.keep_footnotes:
            notes[f"#{item.get('id')}"] = " ".join(" ".join(_blocks(item, walk)).split())
    for link in page.find_all("a"):
        if link.has_class("footnote-ref"):
            note = notes.pop(link.get("href"), "")
            target = link.parent if link.parent is not None and link.parent.name == "sup" else link
            target.replace_with(f" ({note})" if note else "")
    for note in notes.values():
        if note:
            paragraph = Tag("p", {})
            paragraph.append(note)
            (page.find("body") or page).append(paragraph)

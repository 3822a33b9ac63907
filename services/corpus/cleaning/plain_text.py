"""Plain text: a post's Markdown -> prose as a reader sees it, for a model to learn from.

Paragraphs, headings, lists and blocks of code stand apart; links are their words, images their alternative
text, tables rows, footnotes in parentheses where they are referred to; no markup and no HTML remains.
Rendered by Python-Markdown, read by BeautifulSoup. Takes the body only: front matter is taken off before.
Slow or deep input is not bounded here; that is what cleaners.py is for.
"""

from __future__ import annotations

import re

from services.corpus.cleaning.bounds import bounded
from services.corpus.cleaning.dialect import NOTHING, to_python_markdown
from services.corpus.cleaning.emoji_names import draw_emoji
from services.corpus.cleaning.html_text import PageText, page_text
from services.corpus.cleaning.markdown_parser import MarkdownParser
from services.corpus.cleaning.maths import drop_maths, keep_maths, restore_maths
from services.corpus.cleaning.mdx import drop_mdx
from services.corpus.cleaning.obsidian import drop_notes
from services.corpus.cleaning.raw_html import read_raw_html
from services.corpus.cleaning.references import inline_references
from services.corpus.cleaning.taken_out import Source
from services.corpus.cleaning.template_tags import drop_tags, protect_raw, restore_raw
from services.corpus.rules import Rules

# Attribute lists ({: .note}, {#anchor}) are for a site's style sheet. Python-Markdown's own extension for
# them would also take the end of a heading such as "Using {braces}", so only the unmistakable are taken.
_ATTRIBUTE_LINE = re.compile(r"^[ \t>]*\{(?::[^}\n]*|[ ]?(?:[.#][\w-]|[\w:-]+=[\"'])[^{}\n]*)\}[ \t]*$", re.MULTILINE)
_TABLE_OF_CONTENTS = re.compile(r"^[ \t]*(?:[-*+]|1\.)[ \t][^\n]*\n[ \t]*\{:[ \t]*toc\b[^}\n]*\}[ \t]*$", re.MULTILINE)
_KRAMDOWN = re.compile(
    r"\{::comment\}(?:[^{]|\{(?!:))*\{:/(?:comment)?\}|\{::?/?(?:nomarkdown|options|comment)?[^{}\n]*/?\}(?<=/\})|\{::nomarkdown[^{}\n]*\}|\{:/\w*\}"
)
_ATTRIBUTE_OF_HEADING = re.compile(r"^([ \t>]*#{1,6} [^\n]*?)[ \t]*\{:?[ \t]*[#.][^}\n]*\}[ \t]*$", re.MULTILINE)
_HEADING = re.compile(r"^(?P<level>[ \t>]*#{1,6})[ \t](?P<words>[^\n]*#)[ \t]*$", re.MULTILINE)
_CLOSING = re.compile(r"(?:^|[ \t]+)#+$")
_ATTRIBUTE_INLINE = re.compile(r"(?<=[)*_`\]])\{(?::[^}\n]*|[ ]?(?:[.#][\w-]|[\w:-]+=)[^{}\n]*)\}")
_HTML_PARAGRAPH = re.compile("(?:<p>)?\ufdd3(\\d+)\ufdd4(?:</p>)?")
_parser = MarkdownParser()


def markdown_text(text: str, rules: Rules, *, mdx: bool = False) -> PageText:
    """Turn Markdown into text.

    Args:
        text: a post's body.
        rules: what its author chose.
        mdx: it is MDX; what cannot be anything else is known as MDX without.

    Raises:
        RecursionError: it is nested too deeply.
    """
    body, source = _prepared(text, rules, mdx=mdx)
    # What holds neither blocks of HTML nor what must be taken out of it need not become HTML.
    needs_html = source.html or NOTHING in body or not rules.keep_maths
    page = _html(body, source, rules) if needs_html else _parser.page(body)
    read = page_text(page, rules, code=dict(enumerate(source.code)))
    text, heading = (restore_maths(restore_raw(words), source.maths) for words in (read.text, read.heading))
    return PageText(text, heading, heading)


def to_html(text: str, rules: Rules, *, mdx: bool = False) -> tuple[str, Source]:
    """Render Markdown to HTML in which placeholders stand for the blocks of code and the formulas of the source."""
    body, source = _prepared(text, rules, mdx=mdx)
    return _html(body, source, rules), source


def _prepared(text: str, rules: Rules, *, mdx: bool) -> tuple[str, Source]:
    """Markdown as Python-Markdown reads it, and what was taken out of it."""
    source = to_python_markdown(
        drop_mdx(protect_raw(text, liquid=not mdx), sure=mdx),
        indented_code=not mdx,
        quoted_boxes=rules.keep_quotations,
    )
    body = keep_maths(drop_tags(source.text), source.maths)
    body = draw_emoji(inline_references(drop_notes(body), keep_addresses=rules.keeps_addresses))
    if "{:" in body:
        body = _KRAMDOWN.sub("", _TABLE_OF_CONTENTS.sub("", body))
    if "{" in body:
        body = _ATTRIBUTE_LINE.sub("", body)
        body = _ATTRIBUTE_OF_HEADING.sub(r"\1", body)
        body = _ATTRIBUTE_INLINE.sub("", body)
    if "#" in body:
        body = _HEADING.sub(_heading, body)
    return bounded(body), source


def _html(body: str, source: Source, rules: Rules) -> str:
    html = _parser.html(body).replace(NOTHING, "")
    html = _HTML_PARAGRAPH.sub(lambda found: read_raw_html(drop_tags(source.html[int(found[1])])), html)
    return html if rules.keep_maths else drop_maths(html)


def _heading(found: re.Match[str]) -> str:
    """Only signs apart from the words close a heading: `# C#` is about C#."""
    words = _CLOSING.sub("", found["words"])
    kept = words.rstrip("#")
    signs = words[len(kept) :]
    return f"{found['level']} {kept}" + (signs if kept.endswith("\\") else "\\#" * len(signs))

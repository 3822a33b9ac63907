"""Plain text: a post's Markdown -> prose as a reader sees it, for a model to learn from.

Paragraphs, headings, lists and blocks of code stand apart; links are their words, images their alternative
text, tables rows, footnotes in parentheses where they are referred to; no markup and no HTML remains.
Rendered by Python-Markdown, read by BeautifulSoup. Takes the body only: front matter is taken off before.
Slow or deep input is not bounded here; that is what converters.py is for.
"""

from __future__ import annotations

import re

import markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import SimpleTagInlineProcessor

from services.corpus.dialect import to_python_markdown
from services.corpus.html_text import PageText, page_text
from services.corpus.rules import Rules

# Attribute lists ({: .note}, {#anchor}) are for a site's style sheet. Python-Markdown's own extension for them
# would also take the end of a heading such as "Using {braces}", so only their unmistakable forms are taken.
_ATTRIBUTE_LINE = re.compile(r"^[ \t>]*\{:[^}\n]*\}[ \t]*$", re.MULTILINE)
_ATTRIBUTE_OF_HEADING = re.compile(r"^([ \t>]*#{1,6} [^\n]*?)[ \t]*\{:?[ \t]*[#.][^}\n]*\}[ \t]*$", re.MULTILINE)
_ATTRIBUTE_INLINE = re.compile(r"(?<=[)*_`\]])\{:[^}\n]*\}")
# An HTML block that stands open before a blank line holds Markdown, says CommonMark.
_OPEN_BLOCK = re.compile(
    r"^( {0,3}<(?:div|details|section|article|aside|figure|center|blockquote)\b(?![^>]*markdown=)[^<>\n]*)>(?=[ \t]*\n[ \t]*\n)",
    re.MULTILINE | re.IGNORECASE,
)


class _Strikethrough(Extension):
    """`~~words~~`, which GitHub and many sites know and Python-Markdown does not."""

    def extendMarkdown(self, md: markdown.Markdown) -> None:  # noqa: N802 (Python-Markdown's name)
        md.inlinePatterns.register(SimpleTagInlineProcessor(r"(~~)(?=\S)(.+?)(?<=\S)~~", "del"), "strike", 65)


_EXTENSIONS = ["tables", "footnotes", "def_list", "abbr", "md_in_html", "sane_lists"]


def markdown_text(text: str, rules: Rules) -> PageText:
    """Turn Markdown into text.

    Raises:
        RecursionError: it is nested too deeply.
    """
    source = to_python_markdown(text)
    body = _ATTRIBUTE_LINE.sub("", source.text)
    body = _ATTRIBUTE_OF_HEADING.sub(r"\1", body)
    body = _ATTRIBUTE_INLINE.sub("", body)
    body = _OPEN_BLOCK.sub(r'\1 markdown="1">', body)
    html = markdown.markdown(body, extensions=[*_EXTENSIONS, _Strikethrough()])
    return page_text(
        html,
        code=dict(enumerate(source.code)),
        keep_code=rules.keep_code,
        keep_image_alt=rules.keep_image_alt,
    )

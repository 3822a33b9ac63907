"""reStructuredText: a post as Pelican, Nikola and Sphinx blogs hold them -> its fields, and HTML of its body.

docutils reads it, without reading any file and without messages about what it does not know: an unknown directive is
what it encloses, an unknown role its words. Footnotes come out as Python-Markdown writes them, so that html_text.py
finds them. Slow, and docutils is large: import this only where a post is reStructuredText.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from docutils import nodes
from docutils.core import publish_doctree, publish_from_doctree
from docutils.parsers.rst import directives, roles
from docutils.parsers.rst.languages import en

from services.corpus.cleaning.rst_directives import directive_for, role_for_words

_DIRECTIVE = re.compile(r"^[ \t]*\.\.[ \t]+(?:\|[^|\n]+\|[ \t]+)?([\w.:+-]+?)[ \t]?::", re.MULTILINE)
_ROLE = re.compile(r":([A-Za-z][\w.:+-]*):(?=`)|(?<=`):([A-Za-z][\w.:+-]*):")
# Nikola's and other generators' way to write fields: comments or directives before anything else.
_COMMENT_FIELD = re.compile(r"^\.\.[ \t]+([A-Za-z][\w-]*)::?[ \t]+(\S.*)$")
_UNIMPLEMENTED = ("index", "i", "anonymous-reference", "uri-reference", "uri", "url", "named-reference", "target")
_LINE_LENGTH = 100_000

_SETTINGS = {
    "file_insertion_enabled": False,
    "raw_enabled": True,  # raw HTML is a post's HTML as any other; its options that name files are taken off
    "report_level": 2,
    "halt_level": 5,
    "traceback": True,  # errors are raised; docutils would end the process otherwise
    "warning_stream": False,
    "_disable_config": True,  # no settings from files of whoever runs the service
    "docinfo_xform": True,
    "doctitle_xform": True,
    "sectsubtitle_xform": False,
    "smart_quotes": False,
    "syntax_highlight": "none",
    "math_output": "LaTeX",
    "embed_stylesheet": False,
    "stylesheet_path": "",
    "initial_header_level": 2,
    "line_length_limit": _LINE_LENGTH,
    "input_encoding": "unicode",
    "output_encoding": "unicode",
    "toc_backlinks": False,
    "footnote_references": "brackets",
}


@dataclass(frozen=True, slots=True)
class Rst:
    """A post.

    Args:
        fields: its title and what stands in the list of fields below, as front matter has them.
        html: its body.
    """

    fields: dict[str, Any]
    html: str


def read_rst(text: str, *, keep_maths: bool = True) -> Rst:
    """Read a post; what docutils finds wrong in it stays as it was typed.

    Args:
        keep_maths: formulas that are marked as such stay; those between dollars are for whoever reads the HTML.

    Raises:
        RecursionError: it is nested too deeply.
    """
    fields, body = _comment_fields(text)
    body = "\n".join(line[:_LINE_LENGTH] for line in body.split("\n"))
    with _vocabulary(body):
        document = publish_doctree(body, settings_overrides=_SETTINGS)
    fields |= _take_fields(document, is_titled="title" in {name.lower() for name in fields})
    if not keep_maths:
        for formula in [*document.findall(nodes.math_block), *document.findall(nodes.math)]:
            formula.parent.remove(formula)
    _tidy(document)
    _move_footnotes(document)
    document.parse_messages = document.transform_messages = []
    page: str = publish_from_doctree(document, writer="html5", settings_overrides=_SETTINGS | {"report_level": 5})
    return Rst(fields, page.partition("<body")[2].partition(">")[2].partition("</body>")[0])


@contextmanager
def _vocabulary(text: str) -> Iterator[None]:
    """While it is entered, docutils knows every directive and every role that a text uses."""
    known_directives: dict[str, Any] = directives._directives  # type: ignore[attr-defined]
    known_roles: dict[str, Any] = roles._roles  # type: ignore[attr-defined]
    before = dict(known_directives), dict(known_roles)
    try:
        for name in {name.lower() for name in _DIRECTIVE.findall(text)}:
            known = directive_for(name, is_standard=name in en.directives)
            if known is not None:
                directives.register_directive(name, known)
        for name in {(first or second).lower() for first, second in _ROLE.findall(text)}:
            if name not in en.roles or name in _UNIMPLEMENTED:
                known_roles[name] = role_for_words
        yield
    finally:
        for registry, kept in zip((known_directives, known_roles), before, strict=True):
            registry.clear()
            registry.update(kept)


def _comment_fields(text: str) -> tuple[dict[str, Any], str]:
    """Fields above the text that are comments to docutils, and the text without them."""
    fields: dict[str, Any] = {}
    lines = text.lstrip("\n").split("\n")
    for index, line in enumerate(lines):
        found = _COMMENT_FIELD.match(line)
        has_options = index + 1 < len(lines) and lines[index + 1][:1] in (" ", "\t") and lines[index + 1].strip()
        if found and (found[1].lower() == "post" or ("::" in line[: found.start(2)] and has_options)):
            return fields, "\n".join(lines[index:])  # a directive that tells more than one field
        if found:
            fields[found[1]] = found[2].strip()
        elif line.strip():
            return fields, "\n".join(lines[index:])
    return fields, ""


def _take_fields(document: nodes.document, *, is_titled: bool) -> dict[str, Any]:
    """The title and the list of fields below it, which are taken out.

    A heading above everything else is the title, as in Sphinx, though others of its rank follow; docutils itself
    takes one that stands alone.

    Args:
        is_titled: fields above the text hold a title.
    """
    fields: dict[str, Any] = {}
    title = document.next_node(nodes.title)
    if title is not None and title.parent is document:
        fields["title"] = title.astext()
        document.remove(title)
    for info in list(document.findall(nodes.docinfo)):
        children: list[Any] = list(info.children)
        for node in children:
            if isinstance(node, nodes.field):
                fields[node[0].astext()] = " ".join(node[1].astext().split())
            else:
                fields[node.tagname] = " ".join(node.astext().split())
        info.parent.remove(info)
    shown = (node for node in document.children if not isinstance(node, (nodes.Invisible, nodes.system_message)))
    first = next(shown, None)
    if not is_titled and "title" not in fields and isinstance(first, nodes.section):
        fields["title"] = first[0].astext()
        document.replace(first, first.children[1:])
    return fields


def _tidy(document: nodes.document) -> None:
    """Take out docutils' own messages, and put what they are about back as words."""
    for node in list(document.findall(nodes.problematic)):
        typed = node.astext()
        if typed[:1] in "`|:":
            typed = re.sub(r"^:[\w.:+-]+:|`__?$|^`|\|_{0,2}$|^\||`(?::[\w.:+-]+:)?$", "", typed)
        node.parent.replace(node, nodes.Text(typed))
    for message in list(document.findall(nodes.system_message)):
        quoted = message.next_node(nodes.literal_block)
        words = [] if quoted is None or message.get("level", 0) < 3 else _words_of(quoted.astext())
        message.parent.replace(message, [nodes.paragraph("", line) for line in words])
    for section in list(document.findall(nodes.section)):
        if "system-messages" in section["classes"]:
            section.parent.remove(section)
    for block in list(document.findall(nodes.math_block)):
        block.parent.replace(block, nodes.paragraph("", block.astext()))
    for formula in list(document.findall(nodes.math)):
        formula.parent.replace(formula, nodes.Text(formula.astext()))


def _words_of(source: str) -> list[str]:
    """What a reader would read of lines that docutils could not make sense of."""
    words = []
    for line in source.split("\n"):
        line = re.sub(r"^\s*\.\.\s+[\w:+.-]+::|^\s*:[\w-]+:.*$", "", line)
        line = " ".join(re.sub(r"[+|=~^*#\"-]{3,}|[+|]", " ", line).split())
        if line:
            words.append(line)
    return words


def _move_footnotes(document: nodes.document) -> None:
    """Footnotes and citations in the form that html_text.py knows: a list at the end, and links to its entries."""
    notes: list[Any] = [*document.findall(nodes.footnote), *document.findall(nodes.citation)]
    numbers: dict[str, int] = {}
    for number, note in enumerate(notes, 1):
        numbers.update(dict.fromkeys(note["ids"], number))
    references: list[Any] = [*document.findall(nodes.footnote_reference), *document.findall(nodes.citation_reference)]
    for reference in references:
        number = numbers.get(reference.get("refid", ""), 0)
        link = f'<sup id="fnref:{number}"><a class="footnote-ref" href="#fn:{number}">{number}</a></sup>'
        reference.parent.replace(reference, nodes.raw("", link, format="html") if number else nodes.Text(""))
    if not notes:
        return
    document.append(_html('<div class="footnote"><ol>'))
    for number, note in enumerate(notes, 1):
        note.parent.remove(note)
        body = [child for child in note.children if not isinstance(child, nodes.label)]
        document.extend([_html(f'<li id="fn:{number}">'), *body, _html("</li>")])
    document.append(_html("</ol></div>"))


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")

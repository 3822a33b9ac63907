"""Directives and roles of reStructuredText as a reader of the page meets them, whoever defines them.

Lenient where docutils is strict: any option is allowed and none counts. Nothing reads a file.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive

# What a reader does not read, or what the post's file does not hold.
_SILENT = frozenset(
    (
        *(
            "include",
            "literalinclude",
            "toctree",
            "contents",
            "sectnum",
            "section-numbering",
            "meta",
            "index",
            "youtube",
            "vimeo",
            "gist",
        ),
        *("soundcloud", "slides", "slideshow", "chart", "listing", "tags", "categories", "author", "video"),
        *("audio", "postlist", "post-list", "highlight", "currentmodule", "module", "teaser_end", "more", "graphviz"),
        *("header", "footer", "target-notes", "title", "plot", "automodule", "autoclass", "autofunction", "disqus"),
        *("bibliography", "youku", "testsetup", "testcleanup", "restructuredtext-test-directive", "comments"),
    )
)
_CODE = frozenset(
    ("code", "code-block", "sourcecode", "code-cell", "prompt", "doctest", "testcode", "testoutput", "highlight-block")
)
# Their names are printed above them on some pages; what the author wrote begins on the first line.
_BOXES = frozenset(
    (
        *("attention", "caution", "danger", "error", "hint", "important", "note", "tip", "warning", "seealso", "todo"),
        *("epigraph", "highlights", "pull-quote", "compound", "aside", "margin", "centered"),
    )
)
_OTHER_WRITERS = frozenset(("latex", "man", "texinfo", "text", "epub", "pdf", "not html"))
_NEVER_WORDS = re.compile(r"^\S*[/\\=:.]\S*$|^[\w.-]+$|^[<{]")


class _AnyOption(dict[str, Any]):
    """Allows every option. Not empty, since docutils takes no options at all otherwise."""

    def __init__(self) -> None:
        super().__init__({"class": str})

    def __missing__(self, name: str) -> Any:
        return str


class _Lenient(Directive):
    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[Any] = _AnyOption()

    def parsed(self, lines: Any = None) -> list[nodes.Node]:
        """The content, read as any other text."""
        holder = nodes.Element()
        self.state.nested_parse(self.content if lines is None else lines, self.content_offset, holder)
        return list(holder.children)

    def argument(self) -> str:
        """What stands behind the two colons, on one line."""
        return " ".join(self.arguments[0].split()) if self.arguments else ""


class _Silent(_Lenient):
    def run(self) -> list[nodes.Node]:
        return []


class _Today(_Lenient):
    """The day on which a site is built is not the author's, and would make another document every day."""

    def run(self) -> list[nodes.Node]:
        return [nodes.Text("")]  # nothing at all would be no substitution to docutils


class _Code(_Lenient):
    def run(self) -> list[nodes.Node]:
        code = "\n".join(self.content)
        return [nodes.literal_block(code, code)] if code.strip() else []


class _Raw(_Lenient):
    """HTML in the post; what is meant for other writers is no text."""

    def run(self) -> list[nodes.Node]:
        is_html = "html" in self.argument().lower().split()
        return [nodes.raw("", "\n".join(self.content), format="html")] if is_html else []


class _Box(_Lenient):
    optional_arguments = 0

    def run(self) -> list[nodes.Node]:
        return self.parsed()


class _Only(_Lenient):
    """Sphinx's words for some writers: a page shows what is meant for it, and what depends on the author's own tags."""

    def run(self) -> list[nodes.Node]:
        return [] if self.argument().lower() in _OTHER_WRITERS else self.parsed()


class _Post(_Lenient):
    """ABlog's head of a post, wherever it stands: the date, or that there is none yet, and options such as `:tags:`."""

    def run(self) -> list[nodes.Node]:
        date = self.argument()
        fields = {"date": date} if date else {"status": "draft"}
        fields |= {name: str(self.options[name] or "") for name in ("tags", "category") if name in self.options}
        info = nodes.docinfo()
        for name, value in fields.items():
            info += nodes.field("", nodes.field_name("", name), nodes.field_body("", nodes.paragraph("", value)))
        return [info, *self.parsed()]


class _Unknown(_Lenient):
    """What it encloses; and its argument where that is words, not the name of a file or a number."""

    def run(self) -> list[nodes.Node]:
        argument = self.argument()
        title = [] if not argument or _NEVER_WORDS.match(argument) else self._inline(argument)
        return [*title, *self.parsed()]

    def _inline(self, text: str) -> list[nodes.Node]:
        words, messages = self.state.inline_text(text, self.lineno)
        return [nodes.paragraph(text, "", *words), *messages]


class _Image(_Lenient):
    def run(self) -> list[nodes.Node]:
        return [self.image()]

    def image(self) -> nodes.image:
        return nodes.image("", uri="".join(self.argument().split()), alt=str(self.options.get("alt", "")))


class _Figure(_Image):
    def run(self) -> list[nodes.Node]:
        figure = nodes.container("", self.image())
        figure.extend(self.parsed())
        return [figure]


def directive_for(name: str, *, is_standard: bool) -> type[Directive] | None:
    """The directive of a name in lower case; None where docutils' own is to be taken."""
    if name in _SILENT:
        return _Silent
    if name == "date":
        return _Today
    if name in _CODE:
        return _Code
    if name in _BOXES:
        return _Box
    if name == "only":
        return _Only
    if name == "post":
        return _Post
    if name in ("figure", "thumbnail"):
        return _Figure
    if name == "image":
        return _Image
    if name == "raw":
        return _Raw
    return None if is_standard else _Unknown


def role_for_words(
    name: str,
    rawtext: str,
    text: str,
    lineno: int,
    inliner: Any,
    options: dict[str, Any] | None = None,
    content: list[str] | None = None,
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Any role: the words of `words <target>`, the last part of `~a.b.c`, else the text as it is."""
    words = nodes.unescape(text)
    titled = re.fullmatch(r"(.+?)\s*<[^<>]*>", words, re.DOTALL)
    if titled:
        words = titled[1]
    elif words.startswith("~"):
        words = words.rpartition(".")[2].lstrip("~")
    return [nodes.inline(rawtext, words.removeprefix("!"))], []

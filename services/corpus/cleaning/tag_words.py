"""Tag words: what a reader of the site sees of a template tag itself.

The caption of a figure, the title of a box or tab, the author of a quotation, the words of a link; of most tags
nothing. Takes one tag at a time, from Liquid, Nunjucks, Hexo, Hugo or Zola; template_tags.py finds them.
"""

from __future__ import annotations

import html
import re

_NAME = re.compile(r"[{<%\s-]*(?P<name>/?\s*[\w./-]+)(?P<arguments>.*?)[-%>}\s]*\Z", re.DOTALL)
_KEYED = re.compile(
    r"""\b(?P<key>caption|title|alt|text|summary|label|attr|header|name|body|author|source|cite)\s*=\s*"""
    r"""(?:"(?P<a>(?:[^"\\]|\\.)*)"|'(?P<b>[^']*)')"""
)
_ANY_KEYED = re.compile(r"""[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s,"')]+)""")
_QUOTED = re.compile(r""""((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'""")
# A path, an address, a size or a condition on the screen: no words.
_NO_WORDS = re.compile(r"^\(|^\S*[/.]\S*$|^[^A-Za-z\u0080-\U0010ffff]*$|^\d+(?:px|vw|em|rem)$")
# What stands behind a picture's file and size without quotation marks.
_BARE_WORDS = re.compile(r"(?:^|\s)[^\s\"']+\.\w{2,5}(?:\s+\d+(?:%|px)?)*\s+(?P<words>[^\d\s\"'][^\"']*)$")

_QUOTES = ("blockquote", "quote")
_PICTURES = ("asset_img", "img", "image", "figure", "picture")
# What follows their name is their title.
_FOLDS = ("details", "expand", "collapse", "spoiler", "fold", "accordion", "toggle")
_TABS = ("tab", "tabitem")
# The same, but the first word may be a kind, such as `warning`.
_BOXES = ("notice", "callout", "alert", "admonition", "hint", "note", "panel", "card", "box")
_FORMULAS = ("katex", "latex", "math", "mathjax")
# What they show comes from elsewhere; their titles are for programs.
_ELSEWHERE = (
    *("youtube", "vimeo", "video", "audio", "iframe", "gist", "tweet", "twitter", "x", "instagram", "jsfiddle"),
    *("codepen", "asciinema", "spotify", "bilibili", "param", "ref", "relref", "toc", "icon", "highlight", "code"),
)
_CONTROL = re.compile(r"/|end|if|for|els|elif|assign|set|unless|case|when|import|from|macro|block|extends|with|call")


class Open:
    """What the tags that are open will show where they close."""

    def __init__(self) -> None:
        self.quotes: list[str] = []
        self.calls: list[str] = []


def words_of_tag(tag: str, opened: Open) -> str:
    """Markdown and HTML for what a reader sees of a tag.

    Args:
        tag: with its braces.
        opened: is kept from tag to tag of one post.
    """
    named = _NAME.match(tag)
    if named is None:
        return ""
    name, arguments = named["name"].lower().replace(" ", ""), named["arguments"].strip()
    is_liquid = tag.startswith("{%") and not tag.endswith("%}}")
    is_call = arguments.startswith("(")
    base = name.removeprefix("end").removeprefix("/")
    if is_liquid and name == "end":
        return _source(opened.calls)
    if base in _QUOTES and base != name:
        return _source(opened.quotes)
    if is_liquid and is_call:
        author = _keyed(arguments).get("author", "") if name in _QUOTES else ""
        opened.calls.append(author)
    elif name in _QUOTES:
        keyed = _keyed(arguments)
        author = " ".join(keyed[key] for key in ("author", "source", "cite") if key in keyed)
        if is_liquid and "=" not in arguments.partition("://")[0]:
            author = " ".join(word for word in arguments.split() if "://" not in word)
        opened.quotes.append(author)
        return ""
    if name in _ELSEWHERE or _CONTROL.match(name):
        return ""
    if is_liquid and not is_call and (shown := _of_hexo(name, arguments)) is not None:
        return shown
    return _captions(name, arguments, is_liquid)


def _of_hexo(name: str, arguments: str) -> str | None:
    """What tags of Hexo and Eleventy show, whose arguments have no names; None if it is no such tag."""
    if name == "link" or (name == "url" and "://" in arguments):
        if "://" in arguments and not arguments.startswith(('"', "'")):
            return arguments[: arguments.index("://")].rpartition(" ")[0]
        return next((words for words in _quoted(arguments) if "/" not in words), "")
    if name == "post_link":
        return arguments.partition(" ")[2].strip("\"' ").removesuffix(" false").removesuffix(" true").strip("\"' ")
    if name == "label":
        return arguments.partition("@")[2].strip()
    if name in ("button", "btn") and "," in arguments:
        return arguments.split(",")[1].strip()
    if name in _PICTURES and "=" not in arguments:
        words = [words for words in _quoted(arguments) if not _NO_WORDS.match(words)]
        if not words:
            bare = _BARE_WORDS.search(arguments)
            return _image(bare["words"].strip()) if bare else ""
        shown = _image(words[0] if "," in _QUOTED.sub("", arguments) else words[-1])
        return f"\n\n{shown}\n\n" if name == "figure" else shown
    if name in _FOLDS and not set("=\"'") & set(arguments):
        return f"\n\n{arguments}\n\n" if arguments else ""
    return None


def _captions(name: str, arguments: str, is_liquid: bool) -> str:
    found = _keyed(arguments)
    inline = [found.pop(key) for key in ("body",) if key in found]
    for key in ("author", "source", "cite", *(() if name in _TABS else ("header", "name"))):
        found.pop(key, None)
    alternative = found.pop("alt", "")
    if not found and name in (*_FOLDS, *_TABS, *_BOXES):
        words = [words for words in _quoted(_ANY_KEYED.sub("", arguments)) if re.search(r"\w", words)]
        if name in _BOXES:
            words = [part for part in words if " " in part or part.lower() != part]
        if words:
            found["title"] = words[0]
    if found:
        return "".join(
            f"\n\n{words}\n\n" if key in ("caption", "title", "summary", "header", "name", "attr") else f" {words} "
            for key, words in found.items()
        )
    if inline and name in _FORMULAS:
        return inline[0]
    return _image(alternative) if alternative else ""


def _keyed(arguments: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _KEYED.finditer(arguments):
        words = (match["a"] or match["b"] or "").replace('\\"', '"').strip()
        if words and words not in found.values() and "{{" not in words:
            found.setdefault(match["key"], words)
    return found


def _quoted(arguments: str) -> list[str]:
    """Strings, also those inside a string, as Octopress has them."""
    found = [a or b for a, b in _QUOTED.findall(arguments)]
    inner = [a for words in found if words.startswith('"') for a, _ in _QUOTED.findall(words)]
    return inner or [words.replace('\\"', '"') for words in found]


def _source(sources: list[str]) -> str:
    source = sources.pop() if sources else ""
    return f"\n\n{html.escape(source, quote=False)}\n\n" if source else ""


def _image(words: str) -> str:
    return f'<img alt="{html.escape(words)}">'

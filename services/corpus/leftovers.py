"""Left-overs: markup that cleaning failed to turn into text, as far as it can be told from the text.

A passage of a document counts when it looks like markup, stands in the post's source letter for letter, and is
not what the author shows as code or has escaped: of each passage, as many as the source's code has are taken
for shown. So `Vec<T>` in a sentence, a block of HTML in a post about HTML and `\\*starred\\*` do not count; a tag,
a shortcode or a link that nobody took out does. What was changed on its way here is not found.
In: the document's text and the source. Out: kinds with an example each. Knows nothing of how cleaning works.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from html.entities import html5
from itertools import islice
from typing import NamedTuple

from services.corpus import shown_code

LONGEST_EXAMPLE = 80
MOST_PER_SIGN = 200  # in one document: enough to count the document, in bounded time
LONGEST_SOURCE = 1 << 20  # characters; of a longer post only the head is looked at

_ELEMENTS = (
    "a|abbr|article|aside|audio|b|blockquote|body|br|button|canvas|center|cite|code|dd|del|details|div|dl|dt|em|embed|"
    "figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|kbd|label|li|link|main|mark|"
    "meta|nav|object|ol|p|picture|pre|q|s|samp|script|section|small|source|span|strike|strong|style|sub|summary|sup|"
    "svg|table|tbody|td|tfoot|th|thead|time|tr|tt|u|ul|var|video"
)


class _Sign(NamedTuple):
    """What to look for.

    Args:
        kind: what it is called in the report.
        need: a text without it holds none; looked for first, because that is fast.
        letter: of `need`, one that prose seldom has; looked for even before, because that is faster still.
        pattern: a group `key` is what the source must hold, where what is around it may have been changed.
        in_markdown: it is a left-over in the form `markdown` too.
    """

    kind: str
    need: str
    letter: str
    pattern: re.Pattern[str]
    in_markdown: bool


_SELDOM = "<>{}[]`*_&%~#|=:!?\n"  # the last are not so seldom


def _sign(kind: str, need: str, pattern: str, in_markdown: bool = True) -> _Sign:
    letter = next(letter for letter in _SELDOM if letter in need)
    return _Sign(kind, need, letter, re.compile(pattern), in_markdown)


# Every pattern begins with a letter of its own, which `re` leaps to, and every repetition is bounded: what an author
# typed must not be able to make the search slow. A line begins with the newline before it.
_NAME = r"[A-Za-z][\w-]{0,30}"
_VALUE = r"(?:\"[^\"\n]{0,200}\"|'[^'\n]{0,200}'|[^\s\]\"'][^\s\]]{0,199})"  # one way to read each, lest it take time
_ADDRESS = r"(?=[^()\s]{0,200}[/.#:@])[^()\n]{1,500}"
_SIGNS = (
    _sign("HTML comment", "<!--", r"<!--[^\n]{0,80}"),
    _sign("HTML comment", "-->", r"-->"),
    _sign("HTML tag", "<", rf"<(?<![\w<]<)/?(?i:{_ELEMENTS})(?:\s[^<>]{{0,500}})?/?>"),
    _sign("JSX", "<", r"<(?<![\w<:]<)[A-Z][\w.]{0,60}(?:\s[\w-]{1,40}=[^<>]{0,400}|\s?/)>|</[A-Z][\w.]{0,60}>"),
    _sign("JSX", "className=", r"className="),
    _sign("JSX", "\nimport ", r"\nimport\s[^\n;]{1,200}\sfrom\s+[\"'][^\"'\n]{1,100}[\"']"),
    _sign("JSX", "\nexport ", r"\nexport (?:const|default|function)\b[^\n]{0,80}"),
    _sign("template tag", "{%", r"\{%[^%\n]{0,200}%?\}?"),
    _sign("template tag", "%}", r"%\}"),
    _sign("template tag", "{{", r"\{\{[^{}\n]{0,200}\}{0,2}"),
    _sign("template tag", "{#", r"\{#\s[^#\n]{0,80}#\}"),
    _sign("attribute list", "{:", r"\{:[^{}\n]{1,100}\}"),
    _sign("attribute list", "{", r"\{[.#][A-Za-z][\w-]{0,60}(?:\s[^{}\n]{0,80})?\}"),
    _sign("container", ":::", r"\n[ \t]{0,40}:::+[^\n]{0,60}"),
    _sign("container", "!!! ", r"\n[ \t]{0,40}!!! \w[^\n]{0,60}"),
    _sign("container", "??? ", r"\n[ \t]{0,40}\?\?\? \w[^\n]{0,60}"),
    _sign("shortcode", "[/", rf"\[/{_NAME}\](?!\()"),
    _sign("shortcode", "[", r"\[(?<![\w#!\]]\[)(?i:url|img|quote|code|color|size|font)=[^\]\n]{1,200}\]"),
    _sign("shortcode", "=", rf"\[(?<![\w#!\]]\[){_NAME}(?: [\w-]{{1,30}}={_VALUE}){{1,20}} ?/?\]"),
    _sign("wiki link", "[[", r"\[\[[^\[\]\n]{1,200}\]\]"),
    _sign("Obsidian mark", "%%", r"%%[^%\n]{1,80}"),
    _sign("Obsidian mark", "[!", r"\[![\w-]{2,20}\][+-]?"),
    _sign("reStructuredText", "::", r"\n\.\. [\w-]{2,40}::[^\n]{0,80}"),
    _sign("reStructuredText", ":`", r":(?<![\w:]:)[a-z][\w+.-]{1,30}:`[^`\n]{1,100}`"),
    _sign("emoji code", ":", r":(?<![\w:/]:)[a-z][a-z0-9_+-]{1,30}:(?![\w:/`])"),
    _sign("HTML entity", "&", r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#\d{2,6}|#[xX][0-9A-Fa-f]{2,5});"),
    _sign("Markdown image", "![", r"!\[[^\[\]\n]{0,300}(?P<key>\](?:\([^()\n]{0,500}\)|\[[^\[\]\n]{0,100}\]))", False),
    _sign("Markdown link", "](", rf"\[(?<!!\[)[^\[\]\n]{{1,300}}(?P<key>\]\({_ADDRESS}\))", False),
    _sign("Markdown link", "][", r"\[(?<![\w!/)\]]\[)[^\[\]\n]{1,300}(?P<key>\]\[[^\[\]\n]{0,100}\])", False),
    _sign("Markdown link", "]: ", r"\n {0,3}\[[^\[\]\n]{1,100}\]: \S{1,200}", False),
    _sign("footnote mark", "[^", r"\[\^[^\[\]\s]{1,40}\]", False),
    _sign("Markdown emphasis", "**", r"\*\*[^\s*][^*\n]{0,200}\*\*", False),
    _sign("Markdown emphasis", "*", r"\*(?<![\w*\\/]\*)[^\s*/][^*\n]{0,100}(?<=[^\s/])\*(?![\w*/])", False),
    _sign("Markdown emphasis", "_", r"_(?<![\w\\/]_)_?[^\W_][^_\n]{0,100}(?<=\S)_{1,2}(?![\w/])", False),
    _sign("Markdown emphasis", "~~", r"~~[^\s~][^~\n]{0,200}~~", False),
    _sign("Markdown heading", "\n#", r"\n#{1,6} [^\n]{1,80}", False),
    _sign("Markdown fence", "```", r"\n[ \t]{0,40}```+[^\n`]{0,40}", False),
    _sign("Markdown fence", "~~~", r"\n[ \t]{0,40}~~~+[^\n`]{0,40}", False),
    _sign("Markdown code", "`", r"`(?<![`\\]`)[^`\n]{1,200}`(?!`)", False),
    _sign("Markdown quotation", "\n>", r"\n>{1,3} [^\n]{1,80}", False),
    _sign("Markdown table", "-|", r"\n\|?[ \t]{0,20}:?-{2,}:?[ \t]{0,20}\|[-|: \t]{2,200}\n", False),
)  # fmt: skip
_BY_LETTER = [(letter, [sign for sign in _SIGNS if sign.letter == letter]) for letter in _SELDOM]
_FRONT_MATTER = re.compile(
    r"\A\s{0,10}(?:(?:---|\+\+\+)[ \t]*\n|\{\s*\"(?:title|date|tags)\"|"
    r"(?:[A-Za-z][\w-]{1,20}[ \t]?[:=][^\n]{0,200}\n){2})"
)


@dataclass(frozen=True, slots=True)
class Leftover:
    """A kind of markup that a document holds, with an instance of at most LONGEST_EXAMPLE characters."""

    kind: str
    example: str


@dataclass(slots=True)
class Suspect:
    """Something that looks like markup: an instance on one line, what of it the source must hold, and how often."""

    kind: str
    passage: str
    key: str
    count: int = 0


def suspects(text: str, *, markdown: bool = False) -> list[Suspect]:
    """What looks like markup in a document's text.

    Args:
        markdown: the text is Markdown on purpose.
    """
    lines = f"\n{text}\n"
    found: dict[tuple[str, str], Suspect] = {}
    head = _FRONT_MATTER.match(text)
    if head:
        passage = _one_line(head[0])
        found["front matter", passage] = Suspect("front matter", passage, passage, 1)
    likely = [sign for letter, signs in _BY_LETTER if letter in lines for sign in signs]
    for sign in likely:
        if sign.need in lines and (sign.in_markdown or not markdown):
            for match in islice(sign.pattern.finditer(lines), MOST_PER_SIGN):
                passage = _one_line(match[0])
                if sign.need == "&" and passage[1] != "#" and passage[1:] not in html5:
                    continue
                key = _one_line(match["key"]) if "key" in sign.pattern.groupindex else passage
                found.setdefault((sign.kind, key), Suspect(sign.kind, passage, key)).count += 1
    return list(found.values())


def leftovers(suspected: list[Suspect], source: str) -> list[Leftover]:
    """The first of each kind that is left over: it stands in the source, outside what is shown as code.

    Args:
        suspected: what `suspects` found in the document.
        source: the post as its author wrote it.
    """
    source = source[:LONGEST_SOURCE]
    parts = shown_code.part(source)
    code, rest = _one_line(parts.code), _one_line(parts.rest)
    unescaped = _one_line(html.unescape(parts.rest)) if "&" in parts.rest else rest
    found: dict[str, Leftover] = {}
    for suspect in suspected:
        if suspect.kind not in found:
            typed, shown = rest.count(suspect.key), code.count(suspect.key)
            escaped = max(0, unescaped.count(suspect.key) - typed)
            if "`" in suspect.key:  # the sign of code itself, which is in neither part
                typed = _one_line(source).count(suspect.key) - shown
            if typed and suspect.count > shown + escaped:
                found[suspect.kind] = Leftover(suspect.kind, _shortened(suspect.passage))
    return list(found.values())


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_EXAMPLE else text[: LONGEST_EXAMPLE - 2] + " …"

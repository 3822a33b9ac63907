"""Obsidian: what its notes have beside Markdown, and what other note-takers and MkDocs share with it.

`[[links]]` and `[[links|words]]` become their words, `![[embeds]]`, `%%comments%%` and `^block-ids` go,
`==highlights==` and `++keys++` lose their signs. Works on Markdown whose blocks of code are out already;
spans of code stay as they are. Callouts are quotations (dialect.py). Takes linear time.
"""

from __future__ import annotations

import re

_CODE_SPAN = r"(?P<code>(?P<ticks>(?<!`)`+(?!`))[^`\n]*(?:(?!(?P=ticks))`+[^`\n]*)*(?P=ticks)(?!`))"
_NOTES = re.compile(
    _CODE_SPAN + r"|(?P<link>(?P<embed>!?)(?:(?<![A-Za-z0-9_\])])|(?=\[\[[^\]|]{2}))"
    r"\[\[(?P<target>[^\s\[\]|\n\\`,](?:[^\[\]|\n\\`])*)"
    r"(?:\\?\|(?P<words>[^\[\]\n]*))?\]\](?![(\[]))"
    r"|(?<![\w=<>!{])==(?=[^\s=])(?P<highlight>[^=\n]{1,1000})(?<=\S)==(?![\w=])"
    r"|(?<![\w+{])\+\+(?P<keys>[a-z0-9-]+(?:\+[a-z0-9-]+)*|\"[^\"+\n]{1,40}\")\+\+(?![\w+])"
    r"|(?P<comment>(?<![\w%])%%(?=[^%\n])[^%\n]{1,2000}%%(?!%)"
    r"|^[ >]*%%[ \t]*\n(?:[^%]|%(?!%))*%%)"
    r"|(?P<icon>:(?:material|octicons|fontawesome|simple)-[\w-]+:(?:\{[^{}\n]{0,100}\})?)",
    re.M,
)
# Changes that a critic marked (CriticMarkup), and signs that few generators read, so they need a word on one side.
_MARKS = re.compile(
    _CODE_SPAN + r"|\{(?P<edit>--|\+\+|==|>>)(?P<edited>[^{}\n]{1,1000}?)(?:--|\+\+|==|<<)\}"
    r"|\{~~(?P<old>[^{}\n~]{0,500})~>(?P<new>[^{}\n~]{0,500})~~\}"
    r"|(?<!\^)\^\^(?=[^\s^])(?P<inserted>[^^\n]{1,500})(?<=\S)\^\^(?!\^)"
    r"|(?<=\w)(?P<sign>[~^])(?P<small>\w{1,10})(?P=sign)(?![~^])"
)
_ANY_MARK = re.compile(r"[{~^](?:(?<=\{)(?:--|\+\+|==|>>|~~)|(?<=\^)\^|(?<=\w[~^])\w)")  # the sign first: quicker
_INLINE_NOTE = re.compile(_CODE_SPAN + r"|\^\[(?P<note>(?:[^\[\]\n]|\[[^\[\]\n]*\])+)\](?!\()")
_FIELD = re.compile(
    _CODE_SPAN + r"|\[(?P<key>[A-Za-z][\w -]{0,40}):: (?P<value>[^\[\]\n]{1,300})\](?!\()"
    r"|\([A-Za-z][\w -]{0,40}:: (?P<alone>[^()\n]{1,300})\)"
    r"|^(?P<line>[A-Za-z][\w -]{0,40})::(?=[ ]\S)",
    re.M,
)
_LEADING_COMMENT = re.compile(r"^%%(?=\S|[ \t]+\S)[^%]*(?:%(?!%)[^%]*)*%%[ \t]*$", re.M)
_BLOCK_ID = re.compile(
    r"\^(?:(?<=\s\^)|(?<=^\^))(?=[\w-]*[A-Za-z])[A-Za-z0-9-]{3,60}[ \t]*$(?=\n[ \t]*(?:\n|\Z|[-*+] |\d+\. )|\Z)", re.M
)
_CONTENTS = re.compile(r"^[ \t]*(?:\[TOC\]|\[\[_?toc_?\]\]|\$\{toc\})[ \t]*$", re.M | re.I)


def drop_notes(text: str) -> str:
    """Take the notation off, and keep the words."""
    lower = text.lower()
    if "toc]" in lower or "toc_]" in lower or "{toc}" in lower:
        text = _CONTENTS.sub("", text)
    if any(mark in text for mark in ("[[", "==", "++", "%%", ":material-", ":octicons-", ":fontawesome-", ":simple-")):
        text = _NOTES.sub(_replace, text)
    if ("^" in text or "~" in text or "{" in text) and _ANY_MARK.search(text):
        text = _MARKS.sub(_unmarked, text)
    if "^[" in text:
        text = _INLINE_NOTE.sub(_in_parentheses, text)
    if ":: " in text:
        text = _FIELD.sub(_field, text)
    if "%%" in text:
        text = _LEADING_COMMENT.sub("", text)
    return _BLOCK_ID.sub("", text) if "^" in text else text


def _replace(found: re.Match[str]) -> str:
    if found["code"] is not None:
        return found[0]
    if found["link"] is not None:
        return _link(found["embed"], found["target"], found["words"])
    return drop_notes(found["highlight"]) if found["highlight"] else (found["keys"] or "").strip('"')


def _unmarked(found: re.Match[str]) -> str:
    if found["code"] is not None:
        return found[0]
    if found["small"]:
        return (
            f"<{'sub' if found['sign'] == '~' else 'sup'}>{found['small']}</{'sub' if found['sign'] == '~' else 'sup'}>"
        )
    return found["edited"] or found["inserted"] or " ".join(part for part in (found["old"], found["new"]) if part)


def _in_parentheses(found: re.Match[str]) -> str:
    return f" ({found['note']})" if found["code"] is None and " " in found["note"] else found[0]


def _field(found: re.Match[str]) -> str:
    if found["code"] is not None:
        return found[0]
    if found["line"]:
        return f"{found['line']}:"
    return found["alone"] or f"{found['key']}: {found['value']}"


def _link(embed: str, target: str, words: str | None) -> str:
    words = (words or "").strip()
    if embed:
        parts = [part.strip() for part in words.split("|") if not re.fullmatch(r"\s*\d+(?:x\d+)?\s*", part)]
        shown = " ".join(part for part in parts if part)
        return f"![{shown}](#)" if shown else ""
    if words:
        return words
    page, _, heading = target.partition("#")
    heading = heading.lstrip("^")
    return f"{page} > {heading}" if page and heading and "#^" not in target else page or heading

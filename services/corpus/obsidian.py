"""Obsidian: what its notes have beside Markdown, and what other note-takers and MkDocs share with it.

`[[links]]` and `[[links|words]]` become their words, `![[embeds]]`, `%%comments%%` and `^block-ids` go,
`==highlights==` and `++keys++` lose their signs. Works on Markdown whose blocks of code are out already;
spans of code stay as they are. Callouts are quotations (dialect.py). Takes linear time.
"""

from __future__ import annotations

import re

_CODE_SPAN = r"(?P<code>(?P<ticks>(?<!`)`+(?!`))[^`\n]*(?:(?!(?P=ticks))`+[^`\n]*)*(?P=ticks)(?!`))"
_NOTES = re.compile(
    _CODE_SPAN + r"|(?P<link>(?P<embed>!?)\[\[(?P<target>[^\s\[\]|\n\\`,](?:[^\[\]|\n\\`])*)"
    r"(?:\\?\|(?P<words>[^\[\]\n]*))?\]\](?![(\[]))"
    r"|(?<![\w=<>!])==(?=[^\s=])(?P<highlight>[^=\n]{1,1000})(?<=\S)==(?![\w=])"
    r"|(?<![\w+])\+\+(?P<keys>[a-z0-9-]+(?:\+[a-z0-9-]+)*)\+\+(?![\w+])"
    r"|(?P<comment>(?<![\w%])%%(?=[^%\n])[^%\n]{1,2000}%%(?![\w%])"
    r"|^[ >]*%%[ \t]*\n(?:[^%]|%(?!%))*%%)"
    r"|(?P<icon>:(?:material|octicons|fontawesome|simple)-[\w-]+:)",
    re.M,
)
_LEADING_COMMENT = re.compile(r"^%%(?=\S|[ \t]+\S)[^%]*(?:%(?!%)[^%]*)*%%[ \t]*$", re.M)
_BLOCK_ID = re.compile(
    r"(?:(?<=\s)|^)\^(?=[\w-]*[A-Za-z])[A-Za-z0-9-]{3,60}[ \t]*$(?=\n[ \t]*(?:\n|[-*+] |\d+\. )|\Z)", re.M
)
_CONTENTS = re.compile(r"^[ \t]*(?:\[TOC\]|\[\[_?toc_?\]\]|\$\{toc\})[ \t]*$", re.M | re.I)


def drop_notes(text: str) -> str:
    """Take the notation off, and keep the words."""
    if "[" in text or "{toc}" in text:
        text = _CONTENTS.sub("", text)
    if any(mark in text for mark in ("[[", "==", "++", "%%", ":material-", ":octicons-", ":fontawesome-", ":simple-")):
        text = _NOTES.sub(_replace, text)
    if "%%" in text:
        text = _LEADING_COMMENT.sub("", text)
    return _BLOCK_ID.sub("", text) if "^" in text else text


def _replace(found: re.Match[str]) -> str:
    if found["code"] is not None:
        return found[0]
    if found["link"] is not None:
        return _link(found["embed"], found["target"], found["words"])
    return found["highlight"] or found["keys"] or ""


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

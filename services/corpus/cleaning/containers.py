"""Containers: lines that put what follows into a box, a tab or a listing of a site generator.

Admonitions (`:::note Title`, `!!! note "Title"`, `??? tip`), tabs (`=== "Title"`), callouts (`[!tip] Title` in a
quotation), paired tags that hold code, and tags over several lines. Knows single lines and how they are
indented; dialect.py decides where they count.
"""

from __future__ import annotations

import re

MAX_TAG_LINES = 40  # of one tag; longer ones are not tags

_COLONS = re.compile(r"^ *:{3,}\s*(?:\{(?P<braces>[^}\n]*)\}|(?P<kind>[A-Za-z][\w-]*))?(?P<rest>[^\n]*)$")
_MARKS = re.compile(r"^ *(?:!!!|\?\?\?\+?)\s+(?P<kinds>[\w -]*?)\s*(?:\"(?P<title>[^\n]*)\")?\s*$")
_TAB = re.compile(r"^ *===[!+]?\s+\"(?P<title>[^\n]*)\"\s*$")
_CALLOUT = re.compile(r"^\s*\[!\w[\w -]*(?:\|[^\]\n]*)?\][+-]?[ \t]*(?P<title>[^\n]*)$")
_CODE_TAG = re.compile(
    r"^ *(?:\{%-?\s*(?P<liquid>highlight|codeblock|code|prism|mermaid)\b(?:[^%\n]|%(?!\}))*%\}"
    r"|\{\{(?P<mark>[<%])\s*(?P<hugo>highlight|code|mermaid|prism)\b(?:[^{\n]|\{(?!\{))*?[>%]\}\})(?P<rest>[^\n]*)$"
)
_OPENING = re.compile(r"^ *(?:\{\{[<%]\s*(?P<hugo>[\w./-]+)|\{%-?\s*(?P<liquid>\w+))")
_OPENINGS = {"{%": "%}", "{{<": ">}}", "{{%": "%}}", "{{ ": "}}"}
_SNIPPET = re.compile(r"^ *;?-+8<-+(?:\s+\S.*)?$")
_SNIPPETS = re.compile(r"^ *-+8<-+\s*$")
_FROM_CODE = re.compile(r"^ *::: +(?:[\w-]+\.)+[\w-]+ *$")
_END_OF_BLOCK = re.compile(r"^ *(?:\^|<-{2,}>|\{::(?:nomarkdown|options)[^{}\n]*\}|\{:/nomarkdown\}) *$")
_MAX_SNIPPETS = 50
# Queries that a note-taker's plugin answers on the page, and settings.
_QUERIES = frozenset({"dataview", "dataviewjs", "query", "tasks", "datacore", "datacorejs"})


def title_of_box(line: str) -> str | None:
    """The title of a box that opens or closes with this line ("" if it has none); None if none does."""
    if found := _MARKS.match(line) or _TAB.match(line):
        return found["title"] or ""
    stripped = line.lstrip()
    if not stripped.startswith(":::"):
        return None
    found = _COLONS.match(line)
    if found is None:
        return None
    if _FROM_CODE.match(line):
        return ""
    rest = re.sub(r"\{[^{}]*\}", "", found["rest"]).strip()
    return rest[1:-1] if rest.startswith("[") and rest.endswith("]") else rest.strip(':"')


def holds_indented(line: str) -> bool:
    """Whether the box that opens here ends where its indentation does."""
    return _MARKS.match(line) is not None or _TAB.match(line) is not None


def title_of_callout(line: str) -> str | None:
    """The title of a quotation that is a callout; None if it is none."""
    found = _CALLOUT.match(line)
    return found["title"] if found else None


def code_tag(line: str) -> tuple[re.Pattern[str], str] | None:
    """How a block of code ends that a tag opens, and what stands behind the tag on its line."""
    found = _CODE_TAG.match(line)
    if found is None:
        return None
    if found["liquid"]:
        return re.compile(rf"\{{%-?\s*end(?:{found['liquid']})?\s*-?%\}}"), found["rest"]
    return re.compile(rf"\{{\{{[<%]\s*/\s*{found['hugo']}\s*[>%]\}}\}}"), found["rest"]


def end_of_call(lines: list[str], index: int) -> int:
    """Where the lines end that ask for what lies elsewhere, in MkDocs' notation; `index` if none do."""
    line = lines[index]
    if "8<-" in line and _SNIPPET.match(line):
        if _SNIPPETS.match(line):
            for end in range(index + 1, min(len(lines), index + _MAX_SNIPPETS)):
                if _SNIPPETS.match(lines[end]):
                    return end + 1
        return index + 1
    if line.lstrip().startswith(":::") and _FROM_CODE.match(line):
        index += 1
        while index < len(lines) and lines[index].startswith("    "):
            index += 1
    return index


def is_query(info: str) -> bool:
    """Whether a fence holds a query, by the words behind its first marks."""
    return info.strip().partition(" ")[0].strip("{}.").lower() in _QUERIES


def ends_block(line: str) -> bool:
    """Whether a line only parts two blocks: kramdown's `^` and `{:/}`, Hugo Book's `<--->`."""
    return line.lstrip()[:1] in ("^", "<", "{") and _END_OF_BLOCK.match(line) is not None


def language_of_tag(tag: str) -> str:
    """The language that a tag gives its block of code; "" if none."""
    found = re.search(r"\blang(?:uage)?[:=]\s*[\"']?([\w+#.-]+)", tag) or re.search(
        r"(?:highlight|code|prism)\s+[\"']?([\w+#.-]+)(?![\w:=])", tag
    )
    return found[1] if found else ""


def opens_tag(line: str) -> bool:
    """Whether a line begins with a template tag."""
    return _OPENING.match(line) is not None


def join_tag(lines: list[str], index: int) -> None:
    """Make one line of a tag that goes on over several, in place."""
    line = lines[index]
    start, opening = max((line.rfind(mark), mark) for mark in _OPENINGS)
    closing = _OPENINGS[opening]
    if start < 0 or line.find(closing, start) >= 0:
        return
    for end in range(index + 1, min(len(lines), index + MAX_TAG_LINES)):
        if opening in lines[end] and lines[end].find(opening) < lines[end].find(closing) % (1 << 30):
            return
        if closing in lines[end]:
            lines[index : end + 1] = [" ".join([lines[index], *(line.strip() for line in lines[index + 1 : end + 1])])]
            return


def dedent(lines: list[str], index: int, *, at_least: int = 1) -> None:
    """Take off the indentation of the lines from `index` on that are indented as the first is, in place."""
    start = index
    while start < len(lines) and not lines[start].strip():
        start += 1
    if start == len(lines):
        return
    width = len(lines[start]) - len(lines[start].lstrip(" "))
    if width < at_least:
        return
    for number in range(start, len(lines)):
        line = lines[number]
        if line.strip() and len(line) - len(line.lstrip(" ")) < width:
            return
        lines[number] = line[width:]

"""MDX: Markdown with JavaScript in it -> Markdown with plain HTML in it.

Statements (`import`, `export`) and `{expressions}` go, but for those that are a string; components lose their
tags and keep what is between them and their captions; HTML keeps its tags without attributes. Fences and spans
of code stay as they are. One pass from left to right; every scan ahead is bounded, so time is linear.
"""

from __future__ import annotations

import html
import re

_MAX_AHEAD = 20_000  # characters of one statement, expression or tag
_SURE = re.compile(
    r"^import\s+(?:[\w$*{][^\n;'\"]{0,300}\s+from\s+)?['\"][^'\"\n]+['\"];?\s*$|^export\s+(?:const|default|function)\s"
    r"|<[A-Z][\w.]*\s[^<>\n]{0,300}=\{",
    re.MULTILINE,
)
_FENCED = re.compile(r"^ *(`{3,}|~{3,})[^\n]*\n(?:(?! *\1)[^\n]*\n)*(?: *\1[^\n]*)?", re.MULTILINE)
_STATEMENT = re.compile(
    r"import\s+(?:type\s+)?(?:[\w$*{][^;'\"`.]{0,600}?\bfrom\s+)?['\"][^'\"\n]+['\"]"
    r"|export\s+(?:(?:const|let|var|function|async|class)\s+[\w${\[]|default\s+[\w({\[]|\{|\*)"
)
_PIECE = re.compile(
    r"^ *(?P<fence>`{3,}|~{3,})|(?P<ticks>`+)|\\.|(?P<tag></?[A-Za-z](?!\w*://)[\w.:-]*(?=[\s/>])|</?>)|(?P<brace>\{)"
    r"|^(?P<statement>(?:im|ex)port\s)",
    re.MULTILINE,
)
_IN_CODE = re.compile(r"['\"`{}]|//|/\*")
_ATTRIBUTE = re.compile(
    r"\b(title|caption|label|alt|summary|value)=(?:\"([^\"]*)\"|'([^']*)'|\{\s*[\"'`]([^\"'`{}]*)[\"'`]\s*\})"
)
_INNER = re.compile(r">\s*([^<>{}=;]*\w[^<>{}=;]*)<")
_STRING = re.compile(r"\{\s*(?:\"((?:[^\"\\\n]|\\.)*)\"|'((?:[^'\\\n]|\\.)*)'|`((?:[^`\\]|\\.)*)`)\s*\}")
_VALUE = re.compile(r"\$\{[^{}]*\}")
_COMMENTS = re.compile(r"/\*.*?\*/", re.DOTALL)
# Tags that only part blocks: in MDX, Markdown goes on inside them.
_PARTING = frozenset(
    {"p", "div", "section", "article", "aside", "header", "footer", "main", "nav", "center"}
    | {"figure", "figcaption", "details", "summary"}
)
_LISTINGS = frozenset({"CodeBlock", "Code", "Prism", "Highlight", "Snippet", "pre"})
_LABELLED = re.compile(r"label:\s*['\"]([^'\"\n]+)['\"],\s*value:\s*['\"]([^'\"\n]+)['\"]")
_IN_LINE = re.compile(r"^ *(?:[-*+>|#]|\d+[.)])")
_GONE = "\ufde2"  # where a value stood
_BEFORE_GONE = re.compile(f"[ \\t]*{_GONE}(?=[,.;:!?)])|{_GONE}")


def drop_mdx(text: str, *, sure: bool) -> str:
    """Take JavaScript out of a post.

    Args:
        text: its body.
        sure: it is MDX; else only what imports a component or gives one a `{value}` is taken for it.
    """
    if not sure:
        if "import" not in text and "={" not in text and "export" not in text:
            return text
        if not _SURE.search(_FENCED.sub("", text)):
            return text
    result: list[str] = []
    position = 0
    scan = 0
    failures = statements = 0
    ahead = _MAX_AHEAD
    labels: dict[str, str] = {}  # of the tabs, by their values
    name = ""  # of the last tag
    while found := _PIECE.search(text, scan):
        start, end = found.span()
        replacement: str | None = None
        if found["fence"]:
            closing = re.compile(rf"^ *{found['fence'][0]}{{{len(found['fence'])},}}[ \t]*$", re.M).search(text, end)
            if closing and text.startswith("mdx-code-block\n", end):  # Docusaurus reads what is in it as MDX
                result.append(text[position:start])
                position = scan = end + len("mdx-code-block")
                text = text[: closing.start()] + text[closing.end() :]
                continue
            scan = closing.end() if closing else len(text)
            continue
        if found["ticks"]:
            ticks = found["ticks"]
            closing = re.compile(rf"(?<!`){ticks}(?!`)").search(text, end, end + 2000)
            scan = closing.end() if closing and "\n\n" not in text[end : closing.start()] else end
            continue
        if found["statement"]:
            if statement := _STATEMENT.match(text, start):
                statements += 1
                end = _statement_end(text, start, statement.end(), _MAX_AHEAD if statements < 100 else 300)
                replacement = ""
        elif found["brace"]:
            end = _balanced(text, start, ahead)
            replacement = _expression(text[start:end], name) if end > start else None
        elif found["tag"]:
            end = _tag_end(text, start, ahead)
            if end > start:
                name = found["tag"].strip("</>")
                labels |= {value: label for label, value in _LABELLED.findall(text[start:end])}
                before = text[text.rfind("\n", 0, start) + 1 : start] if name in _PARTING else ""
                replacement = _tag(text[start:end], before, labels)
        if replacement is None:
            if found["brace"] or found["tag"]:
                failures += 1  # a post of nothing but openings must not cost the square of its length
                ahead = _MAX_AHEAD if failures < 20 else 300 if failures < 1000 else 0
            scan = found.end()
            continue
        result += [text[position:start], replacement]
        position = scan = end
    result.append(text[position:])
    text = "".join(result)
    return _BEFORE_GONE.sub("", text) if _GONE in text else text


def _balanced(text: str, start: int, ahead: int) -> int:
    """Where the brace that opens at `start` is closed, beyond it; `start` if it is not."""
    depth = 0
    position = start
    limit = min(len(text), start + ahead)
    while found := _IN_CODE.search(text, position, limit):
        mark = found[0]
        position = found.end()
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0:
                return position
        elif mark == "//":
            if text[found.start() - 1] != ":":
                position = max(position, text.find("\n", position, limit))
        elif mark == "/*":
            position = max(position, text.find("*/", position, limit) + 2)
        else:
            closing = text.find(mark, position, limit)
            if closing >= 0 and (mark == "`" or "\n" not in text[position:closing]):
                position = closing + 1
    return start


def _statement_end(text: str, start: int, least: int, ahead: int) -> int:
    """Statements go to a line's end with no bracket open."""
    depth = 0
    position = start
    while position < min(len(text), start + ahead):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        line = text[position:end]
        if not line.strip() and depth <= 0:
            return position
        if line.count("`") % 2 and (closing := text.find("`", end, start + ahead)) >= 0:
            position = closing + 1  # a text over several lines, such as a query
            continue
        depth += sum(line.count(mark) for mark in "{[(") - sum(line.count(mark) for mark in "}])")
        position = end + 1
        if depth <= 0 and end >= least and not line.rstrip().endswith(("=", "=>", ",", "+", "(")):
            return end
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _tag_end(text: str, start: int, ahead: int) -> int:
    position = start + 1
    limit = min(len(text), start + ahead)
    while position < limit:
        character = text[position]
        if character == ">":
            return position + 1
        if character in "\"'":
            closing = text.find(character, position + 1, limit)
            if closing < 0:
                return start
            position = closing + 1
        elif character == "{":
            closing = _balanced(text, position, ahead)
            if closing == position:
                return start
            position = closing
        elif character == "<":
            return start
        else:
            position += 1
    return start


def _expression(source: str, tag: str) -> str:
    """What a reader sees of an expression; `tag` is the name of the tag before it."""
    if found := _STRING.fullmatch(source):
        words = found[1] or found[2] or _VALUE.sub("", found[3] or "")
        words = re.sub(r"\\(.)", r"\1", words) if "\\" in words else words
        if tag in _LISTINGS and "\n" in words:
            words = words.strip("\n")
            return f"\n\n~~~~~~\n{words}\n~~~~~~\n\n"
        return html.escape(words, quote=False)
    if not _COMMENTS.sub("", source).strip("{} \n"):
        return ""
    shown = " ".join(words.strip() for words in _INNER.findall(source) if " " in words.strip())
    return shown or _GONE


def _tag(source: str, before: str, labels: dict[str, str]) -> str:
    """What is left of a tag; `before` is what its line has before it."""
    name = source.strip("</>").split(None, 1)[0].rstrip("/>") if source.strip("</> ") else ""
    found = {key: a or b or c for key, a, b, c in _ATTRIBUTE.findall(source)}
    if name in _PARTING:
        return " " if before and _IN_LINE.match(before) else f"\n\n{'' if before.strip() else before}"
    value = found.pop("value", "")
    if name == "TabItem" and not found and value:
        found["label"] = labels.get(value, value)
    if not name or name[0].isupper() or "." in name:
        shown = " ".join(html.escape(words, quote=False) for key, words in found.items() if key != "alt" and words)
        if shown:
            return f"\n\n{shown}\n\n"
        return f'<img alt="{html.escape(found["alt"])}">' if found.get("alt") else ""
    if source.startswith("</"):
        return f"</{name}>"
    if name == "img":
        return f'<img alt="{html.escape(found.get("alt", ""))}">'
    return f"<{name}>" if not source.endswith("/>") or name in ("br", "hr") else ""

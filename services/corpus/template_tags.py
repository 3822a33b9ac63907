"""Template tags: what a site generator would replace before it reads the Markdown.

Liquid, Jinja, Nunjucks and Tera (`{% … %}`, `{{ … }}`, `{# … #}`) and Hugo's shortcodes (`{{< … >}}`, `{{% … %}}`)
are no words of the author's, so they go; what stands between a pair of them stays, and so do captions. Inside
code they stay, as they do between `{% raw %}` and `{% endraw %}` or in Hugo's escape `{{</* … */>}}`.
`{% highlight %}` and its like are blocks of code, handled with the fences (dialect.py).

No expression here scans past the next opening of its kind, so each takes linear time.
"""

from __future__ import annotations

import html
import re

# Stand-ins for braces that must outlive the removal; code points that are no characters.
_KEEP = str.maketrans({"{": "\ufde0", "}": "\ufde1"})
_RESTORE = str.maketrans({"\ufde0": "{", "\ufde1": "}"})

_LIQUID = re.compile(
    r"(?P<span>`)?\{%-?\s*(?P<name>raw|comment)\s*-?%\}(?(span)(?P<alone>`)?)|^ *(?P<fence>`{3,}|~{3,})", re.M
)
_ENDS = {name: re.compile(rf"\{{%-?\s*end{name}\s*-?%\}}") for name in ("raw", "comment")}
_ESCAPED = re.compile(r"\{(?P<open>\{[<%]?|%)/\*(?P<inner>[^\n{}]{0,500})\*/(?P<close>[>%]?\}|%)\}")
_STYLES = re.compile(
    r"\{%-?\s*(?P<name>css|js|javascript|style|schema)\b[^%\n]{0,200}%\}"
    r"(?:[^{]|\{(?!%))*\{%-?\s*end(?P=name)\s*-?%\}"
)

_CODE_SPAN = r"(?P<ticks>(?<!`)`+(?!`))[^`\n]*(?:(?!(?P=ticks))`+[^`\n]*)*(?P=ticks)(?!`)"
_CODE_ELEMENT = r"<(?P<element>pre|code)\b(?:[^<]|<(?!/?(?:pre|code)\b))*</(?P=element)>"
_TAG = (
    r"(?P<liquid>\{%(?:[^%{\n]|%(?!\})|\{(?!%))*%\})"
    r"|(?P<hugo>\{\{<(?:[^{\n]|\{(?!\{<))*?>\}\}|\{\{%(?:[^{\n]|\{(?!\{%))*?%\}\})"
    r"|\{\{-?\s(?:[^{}\n]|\{(?!\{)|\}(?!\}))*\}\}"
    # Without a space inside, a lone word in braces may be the author's; a path, filter or call is not.
    r"|\{\{-?(?:[a-z_]\w*(?:\.[\w-]+)*\([^{}\n]*\)|[a-z_]\w*\.[a-z_][^{}\n]*|[a-z_]\w* *\|[^{}\n]+|[\"'][^{}\n]*)-?\}\}"
    r"|(?P<comment>\{\#-?(?:\s(?:[^{\#]|\#(?!\})|\{(?!\#))*|-)\#\})"
)
_IN_PROSE = re.compile(f"(?P<code>{_CODE_SPAN}|{_CODE_ELEMENT})|{_TAG}")
_NAME = re.compile(r"[{<%\s-]*(?P<name>/?\s*[\w./-]+)(?P<arguments>[^\n]*?)[-%>}\s]*\Z")
_WORDS = re.compile(
    r"""\b(?P<key>caption|title|alt|text|summary|label|attr)\s*=\s*(?:"(?P<a>(?:[^"\\]|\\.)*)"|'(?P<b>[^']*)')"""
)
_QUOTED = re.compile(r""""([^"\n]*)"|'([^'\n]*)'""")


def protect_raw(text: str) -> str:
    """Take off `raw` tags and comments; what raw held is safe from `drop_tags` until `restore_raw`."""
    if "/*" in text:
        text = _ESCAPED.sub(_literal, text)
    if "{%" not in text:
        return text
    text = _STYLES.sub("", text) if "{% end" in text or "{%- end" in text else text
    result: list[str] = []
    position = 0
    fence = ""  # of the block of code that the scan is in
    unclosed: set[str] = set()
    while found := _LIQUID.search(text, position):
        name = found["name"]
        if name is None:
            mark = found["fence"]
            if not fence:
                fence = mark
            elif mark.startswith(fence):
                fence = ""
        if name is None or found["alone"] or name in unclosed or (fence and name == "comment"):
            result.append(
                text[position : found.end()].translate(_KEEP) if found["alone"] else text[position : found.end()]
            )
            position = found.end()
            continue
        end = _ENDS[name].search(text, found.end())
        result.append(text[position : found.start()] + (found["span"] or ""))
        if end is None and name == "comment":
            unclosed.add(name)
            position = found.end()
            continue
        stop = end.start() if end else len(text)
        if name == "raw":
            result.append(text[found.end() : stop].translate(_KEEP))
        position = end.end() if end else len(text)
    result.append(text[position:])
    return "".join(result)


def drop_tags(text: str) -> str:
    """Take tags out of Markdown whose blocks of code are out already; spans of code keep theirs."""
    if "{%" not in text and "{{" not in text and "{#" not in text:
        return text
    sources: list[str] = []  # what the quotations that are open say of their authors

    def replace(found: re.Match[str]) -> str:
        if found["code"] is not None:
            return found[0]
        # A target that is empty would make the whole link plain text.
        before = text[max(0, found.start() - 3) : found.start()].rstrip()
        if before.endswith(("](", "]:", "](<")):
            return "#"
        if found["liquid"] is None and found["hugo"] is None:
            return ""
        return _words(found[0], sources)

    return _IN_PROSE.sub(replace, text)


def restore_raw(text: str) -> str:
    """Give the braces that `protect_raw` hid back."""
    return text.translate(_RESTORE) if "\ufde0" in text or "\ufde1" in text else text


def _literal(found: re.Match[str]) -> str:
    return "{{{open}{inner}{close}}}".format(**found.groupdict()).translate(_KEEP)


def _words(tag: str, sources: list[str]) -> str:
    """What a reader sees of a tag: the caption of a figure, the author of a quotation, the words of a link."""
    named = _NAME.match(tag)
    if named is None:
        return ""
    name, arguments = named["name"].lower(), named["arguments"].strip()
    if name in ("blockquote", "quote", "pullquote") and tag.startswith("{%") and "(" not in arguments:
        sources.append(" ".join(word for word in arguments.split() if "://" not in word))
    elif name in ("endblockquote", "endquote", "endpullquote"):
        source = sources.pop() if sources else ""
        return f"\n\n{html.escape(source, quote=False)}\n\n" if source else ""
    elif name == "link" and "://" in arguments:
        return arguments[: arguments.index("://")].rpartition(" ")[0]
    elif name == "post_link":
        return arguments.partition(" ")[2].strip("\"' ").removesuffix(" false").removesuffix(" true").strip("\"' ")
    elif name in ("asset_img", "img") and tag.startswith("{%"):
        quoted = [a or b for a, b in _QUOTED.findall(arguments)]
        return _image(quoted[-1]) if quoted and "=" not in arguments else _captions(arguments)
    elif not name.startswith(("/", "end", "if", "for", "elsif", "elif", "assign", "set", "unless", "case", "when")):
        return _captions(arguments)
    return ""


def _captions(arguments: str) -> str:
    found: dict[str, str] = {}
    for match in _WORDS.finditer(arguments):
        words = (match["a"] or match["b"] or "").replace('\\"', '"').strip()
        if words and words not in found.values() and "{{" not in words:
            found.setdefault(match["key"], words)
    alternative = found.pop("alt", "")
    if found:
        return "".join(
            f"\n\n{words}\n\n" if key in ("caption", "title", "summary") else f" {words} "
            for key, words in found.items()
        )
    return _image(alternative) if alternative else ""


def _image(words: str) -> str:
    return f'<img alt="{html.escape(words)}">'

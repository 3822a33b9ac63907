"""Template tags: what a site generator would replace before it reads the Markdown.

Liquid, Jinja, Nunjucks and Tera (`{% … %}`, `{{ … }}`, `{# … #}`) and Hugo's shortcodes (`{{< … >}}`, `{{% … %}}`)
are no words of the author's, so they go; what stands between a pair of them stays, and so do captions and an
address that a filter completes. Inside code they stay, as they do between `{% raw %}` and `{% endraw %}` or in
Hugo's escape `{{</* … */>}}`.
`{% highlight %}` and its like are blocks of code, handled with the fences (dialect.py).

No expression here scans past the next opening of its kind, so each takes linear time.
"""

from __future__ import annotations

import re

from services.corpus.cleaning.tag_words import Open, words_of_tag

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
# A string that is written out, as authors do to show braces.
_BRACES = r"(?:\{[{%\#]|[%}]\})"
_WRITTEN = re.compile(
    rf"""\{{\{{-?\s*(?:"(?P<a>[^"\n]*?{_BRACES}[^"\n]*?)"|'(?P<b>[^'\n]*?{_BRACES}[^'\n]*?)')\s*-?\}}\}}"""
)
# An address of the site's own, which a filter puts the site's before.
_OWN_ADDRESS = re.compile(
    r"\{\{-?\s*(?:\"(?P<a>[^\"\s<>()]+)\"|'(?P<b>[^'\s<>()]+)')"
    r"\s*\|\s*(?:relative_url|absolute_url|url|prepend:\s*site\.(?:base)?url)\s*-?\}\}"
)
_MARKER = re.compile(r"( *)(?:[-*+]|\d+\.) +$")
_CALL = re.compile(r"\{\{-?\s*[a-z_]\w*\([^|]*\)\s*-?\}\}")
_HUGO = re.compile(r"\{\{[<%]")
_GONE = "\ufde2"  # where a value stood
_BEFORE_GONE = re.compile(f"[ \t]*{_GONE}(?=[ \t]*{_GONE}|[,.;:!?)])|{_GONE}")


def protect_raw(text: str, *, liquid: bool = True) -> str:
    """Take off `raw` tags and comments; what raw held is safe from `drop_tags` until `restore_raw`.

    Args:
        text: a post's body.
        liquid: its site may run Liquid over it; if not, a block of code keeps the tags that it shows.
    """
    if "/*" in text:
        text = _ESCAPED.sub(_literal, text)
    if "{{" in text:
        liquid = liquid and not _HUGO.search(text)
        if liquid:
            text = _WRITTEN.sub(lambda found: (found["a"] or found["b"]).translate(_KEEP), text)
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
        if name is None or found["alone"] or name in unclosed or (fence and (name == "comment" or not liquid)):
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
    opened = Open()

    def replace(found: re.Match[str]) -> str:
        if found["code"] is not None:
            return found[0]
        if own := _OWN_ADDRESS.fullmatch(found[0]):
            return own["a"] or own["b"]
        # A target that is empty would make the whole link plain text.
        before = text[max(0, found.start() - 3) : found.start()].rstrip()
        if before.endswith(("](", "]:", "](<")):
            return "#"
        if found["comment"] is not None:
            return ""
        if found["liquid"] is None and found["hugo"] is None and not _CALL.match(found[0]):
            return _GONE
        words = words_of_tag(found[0], opened)
        return _indented(words, text[text.rfind("\n", 0, found.start()) + 1 : found.start()]) if words else ""

    text = _IN_PROSE.sub(replace, text)
    return _BEFORE_GONE.sub("", text) if _GONE in text else text


def _indented(words: str, before: str) -> str:
    """Words that stand alone, as far in as their tag; `before` is what its line has before it."""
    if not words.startswith("\n\n") or not before:
        return words
    if found := _MARKER.match(before):
        return words.lstrip("\n").replace("\n\n", "\n\n" + " " * (len(found[1]) + 4))
    lead = before[: len(before) - len(before.lstrip(" >"))]
    return words.replace("\n\n", f"\n{lead.rstrip()}\n{lead}") if lead else words


def restore_raw(text: str) -> str:
    """Give the braces that `protect_raw` hid back."""
    return text.translate(_RESTORE) if "\ufde0" in text or "\ufde1" in text else text


def _literal(found: re.Match[str]) -> str:
    return "{{{open}{inner}{close}}}".format(**found.groupdict()).translate(_KEEP)

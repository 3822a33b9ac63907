"""Template tags: what a site generator would replace before it reads the Markdown.

Liquid and Jinja (`{% … %}`, `{{ … }}`) and Hugo's shortcodes (`{{< … >}}`, `{{% … %}}`) are no words of the
author's, so they go; what stands between a pair of them stays. Inside code they stay, as they do between
`{% raw %}` and `{% endraw %}`. `{% highlight %}` is a block of code, handled with the fences (dialect.py).
"""

from __future__ import annotations

import re

_RAW = re.compile(r"\{%-?\s*raw\s*-?%\}(.*?)(?:\{%-?\s*endraw\s*-?%\}|\Z)", re.DOTALL)
_COMMENT = re.compile(r"\{%-?\s*comment\s*-?%\}.*?\{%-?\s*endcomment\s*-?%\}", re.DOTALL)
# Stand-ins for braces that must outlive the removal; code points that are no characters.
_KEEP = str.maketrans({"{": "\ufde0", "}": "\ufde1"})
_RESTORE = str.maketrans({"\ufde0": "{", "\ufde1": "}"})

_CODE_SPAN = r"(?P<code>(?<!`)(?P<ticks>`+)(?!`)[^`\n]*(?:(?!(?P=ticks))`+[^`\n]*)*(?P=ticks)(?!`))"
_TAG = r"(?P<tag>\{%[^%\n]*%\}|\{\{<[^\n]*?>\}\}|\{\{%[^\n]*?%\}\}|\{\{-?\s[^{}\n]*\s-?\}\})"
_IN_PROSE = re.compile(f"{_CODE_SPAN}|{_TAG}")
_IN_TARGET = re.compile(r"(?<=\]\()[^()\n]*\{[{%][^()\n]*(?=\))|(?<=\]:)[ \t]*[^\n]*\{[{%][^\n]*")
_TAG_ALONE = re.compile(r"\{[{%][^\n]*?[}%]\}")


def protect_raw(text: str) -> str:
    """Take off `raw` tags and comments; what raw held is safe from `drop_tags` until `restore_raw`."""
    if "{%" not in text:
        return text
    text = _COMMENT.sub("", text)
    return _RAW.sub(lambda found: found[1].translate(_KEEP), text)


def drop_tags(text: str) -> str:
    """Take tags out of Markdown whose blocks of code are out already; spans of code keep theirs."""
    if "{%" not in text and "{{" not in text:
        return text
    # A target with spaces in it would make the whole link plain text.
    text = _IN_TARGET.sub(lambda found: _TAG_ALONE.sub("-", found[0]), text)
    return _IN_PROSE.sub(lambda found: found["code"] or "", text)


def restore_raw(text: str) -> str:
    """Give the braces that `protect_raw` hid back."""
    return text.translate(_RESTORE)

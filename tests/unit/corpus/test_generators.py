# ruff: noqa: E501  (patterns and inputs read best on one line)
"""A post per site generator, nasty in its ways, with the document that it must become."""

from __future__ import annotations

import html
import re
import time
from pathlib import Path

import markdown
import pytest

from services.corpus.dialect import to_python_markdown
from services.corpus.documents import make_document
from services.corpus.frontmatter import split
from services.corpus.maths import keep_maths
from services.corpus.mdx import drop_mdx
from services.corpus.obsidian import drop_notes
from services.corpus.reasons import LeftOut
from services.corpus.rules import Rules
from services.corpus.template_tags import drop_tags, protect_raw

GENERATORS = Path(__file__).parent / "generators"
POSTS = sorted(path for path in GENERATORS.glob("*/*.*") if path.suffix != ".txt")
BLOGS = Path(__file__).parents[3].parent / "shared" / "blogs"
_LEFTOVER = re.compile(
    r"\{%|%\}|\{\{[<%]|[>%]\}\}|\{\{ ?[a-z]|\{#|<!--|-->|^:::|^(?:!!!|\?\?\?) |\{:|%%\w|\[\[\w|\[!\w+\]|8<-"
    r"|^import .* from|^export |className|</?[A-Za-z][\w-]*(?: [\w-]+=[^>]*)?/?>",
    re.MULTILINE,
)


def document(path: Path, **rules: bool) -> str:
    return make_document(path.name, path.read_bytes(), Rules(include_drafts=True, **rules)).text


@pytest.mark.parametrize("path", POSTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_post_becomes_the_document_that_a_reader_would_expect(path: Path):
    expected = path.parent / ("expected.txt" if path.stem == "post" else f"{path.stem}.txt")
    assert document(path) + "\n" == expected.read_text()


def all_posts() -> list[Path]:
    return [*POSTS, *sorted(path for path in BLOGS.glob("*/*.m*d*") if path.parent.name in ("jekyll", "rust"))]


def literal(source: str) -> list[str]:
    """What an author quotes of a template language: spans of code, raw passages and escapes."""
    spans = re.findall(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", source, re.DOTALL)
    raw = re.findall(r"\{% raw %\}(.*?)\{% endraw %\}", source, re.DOTALL)
    code = re.findall(r"<code[^>]*>(.*?)</code>", source, re.DOTALL)
    escaped = re.findall(r"(?<=\\)<[^>\n]*>|&lt;.*?(?:&gt;|>)", source)
    shown = [" ".join(html.unescape(text).replace("\\", "").split()) for _, text in spans]
    shown += [html.unescape(text) for text in (*raw, *code, *escaped)]
    shown += re.findall(r"(?<=\{\{)<? ?\w[^{}]*(?=\*/)", source)
    return sorted({part.strip("` ") for part in shown if part.strip("` ")}, key=len, reverse=True)


def test_nothing_of_a_generator_is_left_outside_code():
    found = []
    for path in all_posts():
        try:
            text = document(path, keep_code=False)
        except LeftOut:
            continue
        source = path.read_text()
        text = text.replace("{{< gist a b >}}", "").replace("{{ gallery() }}", "")
        if path not in POSTS:
            text = re.sub(r"^<\w+> ", "", text, flags=re.MULTILINE)  # who speaks, in the log of a chat
        for part in literal(source):
            text = text.replace(part, "")
        found += [
            f"{path.parent.name}/{path.name}: {text[m.start() - 30 : m.end() + 30]!r}" for m in _LEFTOVER.finditer(text)
        ]

    assert not found, "\n".join(found)


def test_no_word_that_an_independent_rendering_shows_is_lost():
    """Rendered by Python-Markdown with its own extensions; tags and statements are removed as lines."""
    lost = []
    for path in all_posts():
        try:
            ours = document(path)
        except LeftOut:
            continue
        body = split(path.read_text()).body
        if path.suffix == ".mdx":
            body = re.sub(r"(?ms)^(?:import [^\n]*(?:from|\.css)|import \{|export const ).*?\n\n", "", body)
        if path in POSTS:
            body = re.sub(
                r"!\[\[.*?\]\]|\[!\w+\]|(?<=\s)\^[\w-]+$|(?s:^```.*?^```)|^ +items=.*$", "", body, flags=re.MULTILINE
            )
        body = re.sub(
            r"<!--.*?-->|%%.*?%%|\{#\s.*?#\}|\{% (?:css|comment).*?%\}.*?\{% end\w+ %\}", "", body, flags=re.DOTALL
        )
        body = (
            re.sub(
                r"\{::comment.*?/comment\}|\{\{?[^{}]*\}\}?|\{%.*?%\}|^--8<.*$|^\*\[.*$|^:::.*$|^(?:!!!|\?\?\?|\* TOC|\[+toc).*$",
                "",
                body,
                flags=re.DOTALL | re.MULTILINE | re.IGNORECASE,
            )
            if path in POSTS
            else re.sub(r"\{[%{].*?[%}]\}", "", body)
        )
        body = re.sub(
            r"(?<=\])\([^()\n]*\)|(?<=\])\[[^\]\n]*\]|^ *\[[^\]\n^]+\]:.*$|https?://\S+", "", body, flags=re.MULTILINE
        )
        rendered = markdown.markdown(body, extensions=["extra"])
        rendered = re.sub(
            r"(?s)<(script|style|svg|pre|button|iframe|video)\b.*?</\1>|<(?:[^<>\"]|\"[^\"]*\")*>", " ", rendered
        )
        words = set(re.findall(r"[a-z]{4,}", html.unescape(html.unescape(rendered)).lower()))
        missing = words - set(re.findall(r"[a-z]{4,}", ours.lower()))
        heading = set(
            re.findall(
                r"[a-z]{4,}", make_document(path.name, path.read_bytes(), Rules(include_drafts=True)).title.lower()
            )
        )
        # Python-Markdown reads some lists and HTML of real posts otherwise than CommonMark does.
        if len(missing - heading) > (0 if path in POSTS else 4 + len(words) // 100):
            lost.append(f"{path.parent.name}/{path.name}: {sorted(missing - heading)}")

    assert not lost, "\n".join(lost)


@pytest.mark.parametrize(
    "piece",
    ["{", "{%", "{{<", "{{ ", "{#", "<A ", "<A b={", "$", "$$ ", "[[", "==a", "%%a", "![[a|", "{% raw %}", "{% comment %}\n",
     "{% highlight x %}\n", "{{< highlight >}}\n", "::: x\n", "!!! n\n    ", "> [!x]\n", "import a\n", "export const a = {\n", "\\(", "{:", "{/*", "<code>", "`{%`` ", "'{\"", "{{< a\n"],
)  # fmt: skip
def test_openings_without_end_are_read_in_bounded_time(piece: str):
    nasty = piece * (200_000 // len(piece))
    started = time.process_time()
    source = to_python_markdown(drop_mdx(protect_raw(nasty), sure=True))
    drop_notes(keep_maths(drop_tags(source.text), source.maths))
    assert time.process_time() - started < 10

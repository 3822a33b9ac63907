# ruff: noqa: E501  (patterns and inputs read best on one line)
"""Posts of each site generator, nasty in its ways, with the documents that they must become.

Beside a post stand the document, written by hand, and `.unseen`: the words of the post that no reader of the
site sees (names of tags, options, comments), as `word*2` if there are two.
"""

from __future__ import annotations

import html
import re
import time
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from services.corpus.cleaning.dialect import to_python_markdown
from services.corpus.cleaning.documents import Document, make_document
from services.corpus.cleaning.emoji_names import draw_emoji
from services.corpus.cleaning.frontmatter import split
from services.corpus.cleaning.maths import keep_maths
from services.corpus.cleaning.mdx import drop_mdx
from services.corpus.cleaning.obsidian import drop_notes
from services.corpus.cleaning.template_tags import drop_tags, protect_raw
from services.corpus.reasons import LeftOut
from services.corpus.rules import Rules
from tests.unit.corpus.rendered import shown, words

GENERATORS = Path(__file__).parent / "generators"
NAMES = (
    *("astro", "docusaurus", "eleventy", "gatsby", "hexo", "hugo", "jekyll", "mkdocs", "obsidian", "pelican"),
    *("plain", "zola"),
)
POSTS = sorted(path for name in NAMES for path in (GENERATORS / name).glob("*.m*"))
BLOGS = Path(__file__).parents[3].parent / "shared" / "blogs"
_LEFTOVER = re.compile(
    r"\{%|%\}|\{\{[<%]|[>%]\}\}|\{\{ ?[a-z]|\{#|<!--|-->|^:::|^(?:!!!|\?\?\?\+?) |^=== \"|\{:|\{\.\w|%%\w|\[\[\w|\[!\w+\]|8<-"
    r"|^import .* from|^export |className|</?[A-Za-z][\w-]*(?: [\w-]+=[^>]*)?/?>|^---|^\+\+\+|^```|^~~~|^#{1,6} |^\|"
    r"|\|---|!\[|\]\(|\]\[\]|\*\*\w|\w\*\*|__\w|==\w|\+\+\w|\{\+\+|\{--|\{~~|~~\w|\[\^|:material-|:octicons-|:[a-z]{3,}:|&[a-z]+;"
    r"|^\[[ xX/-]\]|\[TOC\]|[\ufdd0-\ufdef]",
    re.MULTILINE,
)


def made(path: Path, **rules: bool) -> Document:
    return make_document(path.name, path.read_bytes(), Rules(include_drafts=True, **rules))


def real_posts() -> list[Path]:
    return sorted(path for path in BLOGS.glob("*/*.m*d*") if path.parent.name in ("jekyll", "rust"))


def name(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def test_each_generator_has_an_easy_post_and_a_hard_one():
    assert [name(path) for path in POSTS] == [f"{each}-{kind}" for each in NAMES for kind in ("nasty", "post")]


@pytest.mark.parametrize("path", POSTS, ids=name)
def test_a_post_becomes_the_document_that_a_reader_would_expect(path: Path):
    expected = path.parent / ("expected.txt" if path.stem == "post" else f"{path.stem}.txt")
    assert made(path).text + "\n" == expected.read_text()


@pytest.mark.parametrize(
    ("post", "title", "tags", "date"),
    [
        ("astro/nasty.mdx", "Astro: islands", ("astro", "mdx"), "2022-07-08"),
        ("docusaurus/nasty.mdx", "Hard: MDX", ("Bees", "hives"), "2024-02-03"),
        ("eleventy/nasty.md", 'Eleventy "hard"', ("post", "bees"), "2023-03-04"),
        ("gatsby/nasty.mdx", 'Gatsby: "hard" mode', ("bees", "graph QL"), "2021-11-12"),
        ("hexo/nasty.md", "蜜蜂日记", ("蜜蜂", "冬天", "生活", "自然"), "2019-10-10"),
        ("hugo/nasty.md", "Nested: shortcodes", ("a b", "c"), "2021-02-03"),
        ("jekyll/nasty.md", 'Bees & wax: a "field" guide', ("bees", "honey & wax", "nature"), "2020-11-05"),
        ("mkdocs/nasty.md", "MkDocs, the hard way", ("Material", "Hello"), "2023-12-31"),
        ("obsidian/nasty.md", "Hard note", ("zettel/bees", "winter"), "2023-11-12"),
        ("pelican/nasty.md", 'Pelican -- "hard": mode', ("sea birds", "Python", "migration", "Bird watching"), "2016-02-29"),
        ("plain/nasty.md", "Setext heading with stress", (), ""),
        ("zola/nasty.md", "Zola, the hard way", ("x y", "z", "c"), "2022-05-06"),
    ],
)  # fmt: skip
def test_title_tags_and_date_are_those_of_the_front_matter(post: str, title: str, tags: tuple[str, ...], date: str):
    document = made(GENERATORS / post)

    assert (document.title, document.tags, document.date) == (title, tags, date)


def literal(source: str) -> list[str]:
    """What an author quotes of a template language: spans of code, raw passages, strings and escapes."""
    spans = re.findall(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", source, re.DOTALL)
    raw = re.findall(r"\{% raw %\}(.*?)\{% endraw %\}", source, re.DOTALL)
    code = re.findall(r"<code[^>]*>(.*?)</code>", source, re.DOTALL)
    escaped = re.findall(r"(?<=\\)<[^>\n]*>|&lt;.*?(?:&gt;|>)|Vec<T: Debug>|\[\[ \]\]|a\[\[0\]\]", source)
    written = re.findall(r"\{\{ ?\"([^\"\n]*[{%][^\"\n]*)\" ?\}\}", source)
    shown = [" ".join(html.unescape(text).replace("\\", "").split()) for _, text in spans]
    shown += [html.unescape(text).replace("\\|", "|") for text in (*raw, *code, *escaped, *written)]
    shown += [re.sub(r"/\*|\*/", "", text) for text in re.findall(r"\{(?:\{[<%]?|%)/\*.*?\*/[>%]?\}{1,2}", source)]
    shown += re.findall(r"\{\"(<.*?)\"\}", source)  # a string in MDX
    shown += [re.sub(r"<[^>]*>", "", text).strip() for text in raw]
    parts = {part.strip("` ") for part in shown}
    return sorted((part for part in parts if re.search(r"\W", part)), key=len, reverse=True)


def leftovers(text: str, source: str) -> list[str]:
    """What looks like markup in a text without blocks of code, but for what its author quotes."""
    for part in literal(source):
        text = text.replace(part, "")
    text = re.sub(r"\{\{[<%]? *[>%]?\}\}|\{% *%\}|\{\{ page\.title \}\}", "", text)  # what was around the quoted
    text = re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL)
    return [text[max(0, m.start() - 30) : m.end() + 30] for m in _LEFTOVER.finditer(text)]


@pytest.mark.parametrize("path", POSTS, ids=name)
def test_nothing_of_a_generator_is_left_outside_code(path: Path):
    assert leftovers(made(path, keep_code=False).text, path.read_text()) == []


def seen(part: str, page: str) -> bool:
    """Whether markdown-it shows the signs of a left-over too; it knows no template tags."""
    signs = next(_LEFTOVER.finditer(part), None)
    return signs is not None and not re.search(r"[{}%<]", signs[0]) and signs[0] in page


def test_nothing_is_left_in_posts_of_real_blogs():
    """But for what readers of the site see as well: `[words](address)` inside HTML, C++14, __int128."""
    found = []
    for path in real_posts():
        try:
            text = made(path, keep_code=False).text
        except LeftOut:
            continue
        text = re.sub(r"^<\w+> ", "", text, flags=re.MULTILINE)  # who speaks, in the log of a chat
        page = shown(split(path.read_text()).body)
        found += [f"{name(path)}: {part!r}" for part in leftovers(text, path.read_text()) if not seen(part, page)]

    assert not found, "\n".join(found)


def lost(path: Path, text: str, unseen: Counter[str]) -> Counter[str]:
    """Words that another reading of a post shows and a text has not, or not as often."""
    return words(shown(split(path.read_text()).body)) - words(text) - unseen


def unseen_in(path: Path) -> Counter[str]:
    found = (part.partition("*") for part in path.with_suffix(".unseen").read_text().split())
    return Counter({word: int(times or 1) for word, _, times in found})


@pytest.mark.parametrize("path", POSTS, ids=name)
def test_no_word_that_another_reading_shows_is_lost(path: Path):
    document = made(path)

    assert lost(path, f"{document.title}\n{document.text}", unseen_in(path)) == Counter()


@pytest.mark.parametrize("path", POSTS, ids=name)
def test_a_paragraph_that_went_missing_would_be_noticed(path: Path):
    document = made(path)
    paragraphs = document.text.split("\n\n")
    unnoticed = []
    for index, paragraph in enumerate(paragraphs):
        rest = "\n\n".join([document.title, *paragraphs[:index], *paragraphs[index + 1 :]])
        if words(paragraph) and paragraph != document.title and not lost(path, rest, unseen_in(path)):
            unnoticed.append(paragraph)

    assert unnoticed == [] or path.suffix == ".mdx"  # as Markdown, a block of JSX shows nothing
    assert len(unnoticed) < len(paragraphs)


@pytest.mark.parametrize("path", POSTS, ids=name)
def test_no_word_is_said_that_the_author_did_not_write(path: Path):
    source = path.read_text()
    written = re.sub(r"[\W_]", "", html.unescape(source).lower())
    said = words(unicodedata.normalize("NFKC", made(path).text))

    assert [word for word in said if word not in written] == []


def test_no_word_of_real_blogs_is_lost():
    """Emoji become signs, labels of footnotes and tags go; else every word is there as often."""
    found = []
    for path in real_posts():
        try:
            document = made(path)
        except LeftOut:
            continue
        body = draw_emoji(unicodedata.normalize("NFC", split(path.read_text()).body))
        body = re.sub(
            r"\{%(?:.|\n)*?%\}|\{\{(?:.|\n)*?\}\}|(?<=\])\[[^\]\n]*\]|^ {0,3}\[\^[^\]\n]+\]:|\[\^[^\]\n]+\]",
            "",
            body,
            flags=re.MULTILINE,
        )
        page = re.sub(r"\]\(https?://[^)\s]*\)", "]", shown(body))  # typed as Markdown into HTML: words alone stay
        missing = words(page) - words(f"{document.title}\n{document.text}")
        missing -= words(" ".join(re.findall(r"<https?://[^>\n]*>|^\[.*?\]:.*$", body, re.MULTILINE)))
        if missing:
            found.append(f"{name(path)}: {dict(missing)}")

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "piece",
    ["{", "{%", "{{<", "{{ ", "{#", "<A ", "<A b={", "$", "$$ ", "[[", "==a", "%%a", "![[a|", "{% raw %}", "{% comment %}\n",
     "{% highlight x %}\n", "{{< highlight >}}\n", "::: x\n", "!!! n\n    ", "> [!x]\n", "import a\n", "export const a = {\n", "\\(", "{:", "{/*", "<code>", "`{%`` ", "'{\"", "{{< a\n",
     ":a", "^[a", "a^b", "{++a", "{~~a", "[a:: b", "{{ \"{", "| a\n", "|-\n", "a\n=\n", "--8<--\n", "\\begin{a}\n", "<p>\n", "::: a.b\n", "```dataview\n", "title: a\n", "(a:: b", "^^a", "a~b"],
)  # fmt: skip
def test_openings_without_end_are_read_in_bounded_time(piece: str):
    nasty = piece * (200_000 // len(piece))
    started = time.process_time()
    source = to_python_markdown(drop_mdx(protect_raw(split(nasty).body), sure=True))
    draw_emoji(drop_notes(keep_maths(drop_tags(source.text), source.maths)))
    assert time.process_time() - started < 60

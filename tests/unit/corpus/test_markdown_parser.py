"""What saves time must change nothing: the library as it is, and BeautifulSoup, are the measure."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.corpus.cleaning.html_text import PageText, page_text
from services.corpus.cleaning.markdown_parser import MarkdownParser, plain_parser
from services.corpus.cleaning.page_tree import Tag
from services.corpus.cleaning.reading import read
from services.corpus.rules import Rules

ROOT = Path(__file__).parents[3]
FOLDERS = [Path(__file__).parent / "generators", ROOT / "deploy" / "sample_blog", ROOT.parent / "shared" / "blogs"]
# One after another through one parser, so that nothing of one text reaches the next.
PARSER = MarkdownParser()

PIECES = [
    *(
        "a",
        "two words",
        "B",
        "é",
        "\xa0",
        "\u3000",
        "\n",
        "\n\n",
        "  \n",
        "    ",
        "\t",
        "  ",
        "snake_case_word",
        "a*b*c",
    ),
    *(
        "*",
        "**",
        "_",
        "__",
        "`",
        "``",
        "~~",
        "[",
        "]",
        "(",
        ")",
        "](x)",
        "![",
        "!",
        "<",
        ">",
        "&",
        ";",
        "#",
        "\\",
        "\\*",
    ),
    *("[^1]", "\n[^1]: note\n", "\n[r]: http://x\n", "[r]", "\n*[AB]: x\n", "AB", "<http://a.b>", "<a@b.c>", "\\#"),
    *("<b>", "</b>", "<br>", "<!-- c -->", "<div>", "</div>", "<p>", "&amp;", "&lt;", "&copy;", "&#39;", "&#150;"),
    *("- ", "* ", "1. ", "3. ", "> ", "# ", "\n## ", "\n- ", "\n1. ", "\n> ", "\n    ", "\n---\n", "\n===\n", "***"),
    *(
        "\n| a | b |\n|---|---|\n| c | d |\n",
        "|",
        "\n: ",
        "Term\n: Meaning",
        "///Footnotes Go Here///",
        "'",
        '"',
        "{",
        "}",
    ),
    *("\ufdd01\ufdd1", "\n```\ncode & <x>\n```\n", "`a<b &amp;`", "![a &copy; b](c)", '[a](b "t")'),
]
MARKDOWN = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


def through_html(text: str) -> PageText:
    return page_text(plain_parser().convert(text), Rules())


def assert_nothing_changed(text: str) -> None:
    assert PARSER.html(text) == plain_parser().convert(text)
    assert page_text(PARSER.page(text), Rules()) == through_html(text)


@given(MARKDOWN)
@settings(max_examples=600)
@example("[a [b](c) <http://d> e](f)")
@example("x  \n\u3000  \ny")  # a line of nothing but a wide space
@example("&#xfdd0; &#150; &#0; &nosuch; &amp;lt;")
@example("2. a\n\n1. b\n\n- c")
@example("a[^1]\n\n[^1]: note\n\n    - more\n\nb[^1]")
@example("*****@**&lt;****T")  # a placeholder within what another one stands for
@example("> " * 40 + "deep")
def test_quick_markdown_is_the_librarys_markdown(text: str):
    assert_nothing_changed(text)


def test_every_post_at_hand_reads_the_same_by_the_quick_way():
    posts = [path for folder in FOLDERS for path in sorted(folder.rglob("*.m*d*"))]  # blogs are not at hand everywhere
    assert posts
    for path in [*posts, ROOT / "README.md"]:
        assert_nothing_changed(read(path.read_bytes()).text)


@pytest.mark.parametrize(
    "text", ["a\n\n- *b* [c](d)\n\n| x | y |\n|---|---|\n| 1 | 2 |", "it[^1]\n\n[^1]: note", "a &amp; b"]
)
def test_plain_posts_take_the_quick_way(text: str):
    assert isinstance(PARSER.page(text), Tag)


def test_a_parser_is_as_new_after_a_text_that_was_too_deep():
    parser = MarkdownParser()
    deep = "".join(f"{'    ' * level}- x\n" for level in range(400))
    with pytest.raises(RecursionError):
        parser.html(deep)
    assert parser.html("- a\n\nb") == plain_parser().convert("- a\n\nb")

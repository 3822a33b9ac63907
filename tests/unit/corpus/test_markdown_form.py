# ruff: noqa: E501  (inputs read best on one line)
"""The Markdown form: one way to write each thing, nothing read as markup that is none, the same when read again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.corpus.cleaning.documents import make_document
from services.corpus.cleaning.frontmatter import split
from services.corpus.cleaning.markdown_form import markdown_of_html, markdown_of_markdown, markdown_of_text
from services.corpus.cleaning.plain_text import markdown_text
from services.corpus.cleaning.reading import read
from services.corpus.rules import Rules

POSTS = sorted((Path(__file__).parent / "generators").glob("*/*.m*"))
BLOGS = Path(__file__).parents[3].parent / "shared" / "blogs"
MARKDOWN = Rules(form="markdown", include_drafts=True)


def name(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def written(markdown: str, **rules: bool) -> str:
    return markdown_of_markdown(markdown, Rules(form="markdown", **rules)).text


def words(markdown: str, *, mdx: bool = False) -> list[str]:
    """What a reader sees, as the text form has it."""
    return markdown_text(markdown, Rules(), mdx=mdx).text.split()


@pytest.mark.parametrize("path", POSTS, ids=name)
def test_a_post_becomes_the_markdown_that_a_reader_would_expect(path: Path):
    assert make_document(path.name, path.read_bytes(), MARKDOWN).text + "\n" == path.with_suffix(".written").read_text()


@pytest.mark.parametrize("path", [*POSTS, *sorted(BLOGS.glob("*/*.m*"))[::20]], ids=name)
def test_the_markdown_of_a_post_reads_as_its_text_and_is_written_the_same_again(path: Path):
    body = split(read(path.read_bytes()).text).body
    once = markdown_of_markdown(body, MARKDOWN, mdx=path.suffix == ".mdx").text

    assert written(once) == once
    assert words(once) == words(body, mdx=path.suffix == ".mdx")


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        pytest.param("One\nline.\n\nTwo.", "One line.\n\nTwo.", id="paragraphs"),
        pytest.param("Head\n====\n\nNext\n----\n### Third ###", "# Head\n\n## Next\n\n### Third", id="headings"),
        pytest.param("# C#\n\n## 1. #tag", "# C\\#\n\n## 1. #tag", id="number signs in headings"),
        pytest.param("_a_ __b__ ~~c~~ ***d*** *a __b__*", "*a* **b** ~~c~~ ***d*** *a **b***", id="emphasis"),
        pytest.param("<i>a</i> <b>b</b> <s>c</s> <code>d</code> <kbd>e</kbd> x<sup>2</sup>", "*a* **b** ~~c~~ `d` e x²", id="inline html"),
        pytest.param("`` a`b `` and ` c `", "``a`b`` and `c`", id="spans of code"),
        pytest.param("[a *b*](http://x.y \"t\") <http://u.v> [m](mailto:a@b.c)", "[a *b*](http://x.y) <http://u.v> [m](mailto:a@b.c)", id="links"),
        pytest.param("[a][1], [b] and [c][]\n\n[1]: http://x.y\n[B]: <u v>\n[c]: /z 'T'", "[a](http://x.y), [b](u%20v) and [c](/z)", id="references"),
        pytest.param("[a]({{ site.url }}/x) [b](#) [c](#d)", "[a](/x) b c", id="addresses that lead nowhere"),
        pytest.param("![A bee](b.png 't')\n<img src=\"c.png\">", "![A bee](b.png) ![](c.png)", id="images"),
        pytest.param("line  \nbreak<br>again\nand on", "line  \nbreak  \nagain and on", id="line breaks"),
        pytest.param("<p>a<br><br>b</p>", "a\n\nb", id="two line breaks"),
        pytest.param("* a\n* b\n    + c\n\n1) d\n2) e", "- a\n- b\n  - c\n\n1. d\n2. e", id="lists"),
        pytest.param("- [ ] a\n- [x] b", "- [ ] a\n- [x] b", id="tasks"),
        pytest.param("3. a\n\n   b\n4. c", "3. a\n\n   b\n\n4. c", id="loose list"),
        pytest.param("> a\nb\n> > c", "> a b\n>\n> > c", id="quotations"),
        pytest.param("a\n\n***\n\n* * *\n\nb\n\n___", "a\n\n---\n\nb", id="rules"),
        pytest.param("~~~ {.python .x}\na\n~~~\n\n    b", "```python\na\n```\n\n```\nb\n```", id="code"),
        pytest.param("````md\n```\na\n```\n````", "````md\n```\na\n```\n````", id="code with a fence"),
        pytest.param("{% highlight ruby linenos %}\nputs 1\n{% endhighlight %}", "```ruby\nputs 1\n```", id="code in tags"),
        pytest.param("<pre class='x'><code class='language-js'>a &lt; b</code></pre>", "```js\na < b\n```", id="code in html"),
        pytest.param("a|b\n-|:-:\n`c|d`|e\n\\|f|", "| a | b |\n| --- | --- |\n| `c\\|d` | e |\n| \\|f |  |", id="table"),
        pytest.param("<table><tr><td>a<td><p>b<p>c</table>", "|  |  |\n| --- | --- |\n| a | b c |", id="table without a head"),
        pytest.param("a[^x] b[^1]\n\n[^1]: One\n\n    two\n[^x]: *Three*", "a[^1] b[^2]\n\n[^1]: *Three*\n[^2]: One two", id="footnotes"),
        pytest.param("Term\n: Meaning\n: Other", "Term\n:   Meaning\n:   Other", id="definitions"),
        pytest.param("Euler: $e_i$\n\n$$\nx_1 * y_2\n$$", "Euler: $e_i$\n\n$$\nx_1 * y_2\n$$", id="formulas"),
        pytest.param("a {: .b}\n{: .c}\n\n## H {#i}\n\n<!-- x -->\n{{< y >}}z", "a {\\: .b}\n\n## H\n\nz", id="what is a site's goes"),
        pytest.param("<div class='x'><h2>A</h2><ul><li>b<li>c</ul><hr><blockquote>d</blockquote></div>", "## A\n\n- b\n- c\n\n---\n\n> d", id="html blocks"),
        pytest.param("&copy; &lt;b&gt; &amp;amp; \\*a\\* 2 * 3 a_b \\_c\\_", "© &lt;b> &amp;amp; \\*a\\* 2 * 3 a_b \\_c\\_", id="escapes"),
        pytest.param("1\\. a\n\n\\- b\n\n\\# c\n\n\\> d\n\n\\+ e", "1\\. a\n\n\\- b\n\n\\# c\n\n\\> d\n\n\\+ e", id="no blocks"),
        pytest.param("{% raw %}{{ a }} {% b %}{% endraw %}", "{\\{ a }} {\\% b %}", id="template tags of the author's"),
    ],
)  # fmt: skip
def test_each_thing_is_written_in_one_way(markdown: str, expected: str):
    assert written(markdown) == expected
    assert written(expected) == expected


def test_switches_hold_in_markdown_too():
    post = "# H\n\na [b](c) ![d](e)[^1]\n\n> q\n\n```\nf\n```\n\n| g |\n|---|\n| h |\n\n$i_1$ j\n\n[^1]: k"

    assert (
        written(post)
        == "# H\n\na [b](c) ![d](e)[^1]\n\n> q\n\n```\nf\n```\n\n| g |\n| --- |\n| h |\n\n$i_1$ j\n\n[^1]: k"
    )
    assert written(post, keep_link_targets=False).startswith("# H\n\na b ![d]()[^1]")
    assert written(post, keep_image_alt=False).startswith("# H\n\na [b](c) [^1]")
    assert "[^1]" not in written(post, keep_footnotes=False)
    assert "> q" not in written(post, keep_quotations=False)
    assert "f\n" not in written(post, keep_code=False)
    assert "| h |" not in written(post, keep_tables=False)
    assert "\n\nj\n\n" in written(post, keep_maths=False)
    assert "H" not in written(post, keep_headings=False)


def test_a_heading_that_says_the_title_is_not_said_twice():
    document = make_document("a.md", b"---\ntitle: The head\n---\n# The *head*\n\nText", MARKDOWN)

    assert (document.title, document.text) == ("The head", "Text")


def test_html_posts_and_plain_text_are_written_as_markdown():
    page = "<h1>H</h1><p>a <em>b</em> 1*2*3 \\(x_1\\)</p><pre>c</pre>"

    assert markdown_of_html(page, MARKDOWN).text == "# H\n\na *b* 1\\*2\\*3 \\(x_1\\)\n\n```\nc\n```"
    assert markdown_of_text("A *b*\n# c\n\n<d>").text == "A \\*b\\*  \n\\# c\n\n&lt;d>"


def test_lines_of_text_that_were_broken_for_want_of_width_are_joined():
    prose = "It was a bright cold day in April, and the clocks were striking\nthirteen. Winston Smith slipped quickly through the glass doors,\nand out.\nShort line.\n"

    assert markdown_of_text(prose).text == (
        "It was a bright cold day in April, and the clocks were striking thirteen. "
        "Winston Smith slipped quickly through the glass doors, and out.  \nShort line."
    )


@pytest.mark.parametrize("start", ["---", "+++", "Title: x\nDate: y", '{"title": "x"}', "...\n---"])
def test_the_first_line_is_never_taken_for_front_matter(start: str):
    text = make_document("a.txt", f"{start}\nfoo: bar\n{start}\n\nrest".encode(), MARKDOWN).text

    assert split(text).body == text
    assert "rest" in words(text)


_PARTS = [
    *("bee", "a_b", "2019.", "__init__", "C#", "- ", "1. ", "#", "é", "it's", "a*b", "**", "*", "_", "`", "`c`", "``d`e``"),
    *("[", "]", "(", "![", "<b>i</b>", "<br>", "&amp;", "&lt;", "&", "<", "\\", "\\*", "[l](http://x.y/a_b)", "![i](s.png)"),
    *("~~s~~", "**s**", "*e*", "***se***", "[^1]", " $x_1$ ", "$", "{{ t }}", "{%", "|", " ==h== ", "[[w]]", "<http://u.v>"),
    *("[r][l]", "[l]", "http://x/_y_", "  \n", "\n", ":", "=", "+", "!", "~", "^", "%%", '"', "'", "{.c}", "{: .c}", "{", "}"),
    *("+++", "---", "===", ">", "import a from 'b'", "&copy;", "<em>", "</em>", "<code>q</code>", "@a", ": "),
]  # fmt: skip
_line = st.lists(st.tuples(st.sampled_from(_PARTS), st.sampled_from(["", " ", " "])), min_size=1, max_size=8).map(
    lambda parts: "".join(part + space for part, space in parts)
)
_lines = st.lists(_line, min_size=1, max_size=3)
_block = st.one_of(
    *(_line.map(lambda line, mark=mark: mark.format(line)) for mark in (
        "{}", "{}", "{}", "# {}", "### {}", "{}\n---", "```py\n{}\n```", "    {}", "- a\n\n  ```\n  {}\n  ```", "[^1]: {}",
        "[l]: http://t.u 'x'\n\n{}", "Term\n: {}", "<div>\n\n{}\n\n</div>", "<p>{}</p>", "<blockquote>{}</blockquote>",
        "$$\n{}\n$$", "> - {}\n>\n> b", "***\n\n{}\n\n---", "- {}\n\n  > {0}", "> [!note] {}\n> b", "<table><tr><td>{}</table>",
    ) if "{0}" not in mark),
    _lines.map(lambda lines: "\n".join(f"- {line}" for line in lines)),
    _lines.map(lambda lines: "\n".join(f"{number + 3}. {line}" for number, line in enumerate(lines))),
    _lines.map(lambda lines: "\n".join("  " * depth + f"- {line}" for depth, line in enumerate(lines))),
    _lines.map(lambda lines: "- " + "\n\n  ".join(lines)),
    _lines.map(lambda lines: "\n".join(f"> {line}" for line in lines)),
    _lines.map(lambda lines: f"| {lines[0]} | b |\n|---|:-:|\n" + "\n".join(f"| {line} | x |" for line in lines[1:])),
)  # fmt: skip


@settings(max_examples=400, derandomize=True)
@given(st.lists(_block, min_size=1, max_size=3).map("\n\n".join))
def test_whatever_was_typed_reads_as_its_text_and_is_written_the_same_again(source: str):
    once = written(source)

    assert written(once) == once
    assert words(once) == words(source)
    assert not re.search("[\ufdd0-\ufdef\x02\x03]", once)


def test_a_markdown_link_typed_in_html_is_one_link():
    post = '<p>[<a href="http://a.b">Ann</a>](http://a.b) and [Bo](http://c.d)</p>'

    assert written(post) == "[Ann](http://a.b) and [Bo](http://c.d)"


def test_an_address_that_a_filter_completes_is_kept():
    post = """[a]({{ "/b#c" | relative_url }}), ![d]({{ '/e.png' | prepend: site.baseurl }}), [f]({{ page.next | url }})

<a href="{{ '/g' | url }}">h</a>"""

    assert written(post) == "[a](/b#c), ![d](/e.png), f\n\n[h](/g)"

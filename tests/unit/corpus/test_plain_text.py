from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.corpus.cleaning.html_text import page_text
from services.corpus.cleaning.plain_text import markdown_text
from services.corpus.rules import Rules


def text(markdown: str, **rules: bool) -> str:
    return markdown_text(markdown, Rules(**rules)).text


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        pytest.param("One\nline.\n\nTwo.", "One line.\n\nTwo.", id="paragraphs"),
        pytest.param("# Head\nText\n## Next\nMore", "Head\n\nText\n\nNext\n\nMore", id="headings"),
        pytest.param("a *b* **c** ~~d~~ `e*f`", "a b c d e*f", id="emphasis"),
        pytest.param('see [the *words*](http://x.y "t").', "see the words.", id="link"),
        pytest.param("see [a `b[0]`][`r[]`].\n\n[`r[]`]: http://x.y", "see a b[0].", id="reference with code"),
        pytest.param("see [FnBox] and [x][].\n\n[fnbox]: <http://x>\n  'title'", "see FnBox and x.", id="shortcut"),
        pytest.param("arr [not] a [1][2] link", "arr [not] a [1][2] link", id="no reference"),
        pytest.param("![A bee](b.png) on it", "A bee on it", id="image"),
        pytest.param("line  \nbreak<br>again", "line\nbreak\nagain", id="line break"),
        pytest.param("> said\nhe\n>\n> twice\n\nI", "said he\n\ntwice\n\nI", id="quotation"),
        pytest.param("a\n\n***\n\nb", "a\n\nb", id="rule"),
        pytest.param("x <b>y</b> <!-- z --> &amp; &lt;tag&gt;", "x y & <tag>", id="inline html"),
        pytest.param("<!-- a\n\n# b -->\n\nc", "c", id="comment over a blank line"),
        pytest.param("a \\<b\\> \\~c \\# d", "a <b> ~c # d", id="escapes"),
        pytest.param("x {: .note}\n{: .note}\n## H {#id}\n## U {x}", "x {: .note}\n\nH\n\nU {x}", id="attributes"),
        pytest.param("Term\n: Meaning", "Term\n  Meaning", id="definition"),
        pytest.param("a&nbsp;b\u00a0c", "a b c", id="hard spaces"),
        pytest.param("# Only *a* head", "Only a head", id="only a heading"),
        pytest.param("<|endoftext|>", "<|endoftext|>", id="marker typed by an author"),
        pytest.param("1 < 2 and 3 > 2, <3", "1 < 2 and 3 > 2, <3", id="comparisons"),
        pytest.param("use\n#tag and\n\n#tag", "use #tag and\n\n#tag", id="a tag is no heading"),
        pytest.param("  # On C# ##\nText", "On C#\n\nText", id="heading, indented and closed"),
        pytest.param("Two\nlines\n---\nText", "Two lines\n\nText", id="heading of two lines"),
        pytest.param("[x]: http://y\n---\n[x] here", "x here", id="a rule below targets"),
        pytest.param("one\\\ntwo  \nthree\\", "one\ntwo\nthree\\", id="breaks by backslash and by blanks"),
        pytest.param("a token` foo` and `` b`c ``", "a token foo and b`c", id="blanks at the edge of code"),
        pytest.param("Vec<T: Debug> <b>x</b> <foo.bar>", "Vec<T: Debug> x <foo.bar>", id="what is no HTML stays"),
        pytest.param("<git+ssh://x.org> <a@b.org>", "git+ssh://x.org a@b.org", id="addresses of any scheme"),
        pytest.param("![a *b* `c` [d](e)](f)", "a b c d", id="words for an image"),
        pytest.param("\\&amp; &amp; &#8212;", "&amp; & —", id="ampersands"),
        pytest.param(":tada: `:tada:` a:tada:b :unknown_one:", "🎉 :tada: a:tada:b :unknown_one:", id="emoji"),
        pytest.param("中文\n中文\nab\ncd", "中文中文 ab cd", id="ideographs join"),
        pytest.param("<ruby>漢<rt>kan</rt></ruby> 10<sup>6</sup> 1<sup>st</sup>", "漢(kan) 10⁶ 1st", id="set apart"),
    ],
)
def test_inline_and_block_markup_reads_as_prose(markdown: str, expected: str):
    assert text(markdown) == expected


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        pytest.param("Text:\n- a\n- b\nEnd", "Text:\n\n- a\n- b End", id="list below a paragraph"),
        pytest.param("- a\n  - b\n    - c\n- d", "- a\n  - b\n    - c\n- d", id="two spaces a level"),
        pytest.param("* a\n    * b\n* c", "- a\n  - b\n- c", id="four spaces a level"),
        pytest.param("* a\n\t* b\n* c", "- a\n  - b\n- c", id="tabs"),
        pytest.param("1. a\n2. b\n   more\n10. c", "1. a\n2. b more\n3. c", id="numbers"),
        pytest.param("3) a\n4) b", "3. a\n4. b", id="numbers with brackets"),
        pytest.param("- a\n  1. x\n  2. y\n- b", "- a\n  1. x\n  2. y\n- b", id="numbers inside bullets"),
        pytest.param("- a\n\n  second\n\n- b", "- a\n\n  second\n\n- b", id="paragraphs inside an item"),
        pytest.param("- [ ] todo\n- [x] done", "- todo\n- done", id="tasks"),
        pytest.param("> q\n> - a\n>   - b", "q\n\n- a\n  - b", id="list in a quotation"),
        pytest.param("- since\n  2016. That year\n- b", "- since 2016. That year\n- b", id="a year in an item"),
        pytest.param("- a\n-\n- b", "- a\n- b", id="an empty item"),
        pytest.param("1. a\n- b", "1. a\n\n- b", id="another kind of list"),
        pytest.param("- a  \n  b", "- a\n  b", id="a break in an item"),
        pytest.param("In 2019\n2019. was a year", "In 2019 2019. was a year", id="a year is no list"),
    ],
)
def test_lists_are_read_as_authors_write_them(markdown: str, expected: str):
    assert text(markdown) == expected


@pytest.mark.parametrize(
    "markdown",
    [
        "Look:\n```rust\nfn a() {\n    [x][y] **z** <b>\n}\n```\nEnd",
        "Look:\n\n    fn a() {\n        [x][y] **z** <b>\n    }\n\nEnd",
        "Look:\n{% highlight rust %}\nfn a() {\n    [x][y] **z** <b>\n}\n{% endhighlight %}\nEnd",
        "Look:\n~~~~\nfn a() {\n    [x][y] **z** <b>\n}\n~~~~\nEnd",
        "Look:\n<pre><code>fn a() {\n    [x][y] **z** &lt;b&gt;\n}</code></pre>\n\nEnd",
    ],
)
def test_code_keeps_its_lines_and_is_not_read_as_markup(markdown: str):
    assert text(markdown) == "Look:\n\nfn a() {\n    [x][y] **z** <b>\n}\n\nEnd"
    assert text(markdown, keep_code=False) == "Look:\n\nEnd"


def test_code_inside_an_item_is_indented_with_it():
    assert text("- do:\n\n  ```\n  a\n    b\n  ```\n- end") == "- do:\n\n  a\n    b\n\n- end"


def test_a_table_is_rows():
    table = "Before\n| a | b |\n|---|:-:|\n| `1` | |\n| [3](x) | 4 |\n\nAfter"

    assert text(table) == "Before\n\na | b\n1 |\n3 | 4\n\nAfter"


def test_a_footnote_stands_where_it_is_referred_to():
    notes = "One.[^1] Two[^n] one[^1].\n\n[^1]: First\n    on.\n[^n]: A [link](x).\n[^unused]: Left."

    assert text(notes) == "One. (First on.) Two (A link.) one.\n\nLeft."


def test_html_blocks_hold_markdown_after_a_blank_line():
    page = (
        "<details>\n<summary>More</summary>\n\n- **a**\n  - b\n\n</details>\n\n<div class='x'>\n  <p>c</p>\n</div>\n\nd"
    )

    assert text(page) == "More\n\n- a\n  - b\n\nc\n\nd"


def test_scripts_and_styles_are_no_text():
    assert text("a\n\n<script>\nvar x = 1;\n\nvar y;\n</script>\n\n<style>p {}</style>\n\nb") == "a\n\nb"


def test_image_texts_can_be_left_out():
    assert text("a ![bee](x) b <img src=y alt='fly'>", keep_image_alt=False) == "a b"


def test_template_tags_go_except_in_code_and_raw():
    post = (
        "{% include a.html %}Hello {{ page.name }} `{{ code }}`.\n\n"
        "{{< figure src=x >}}Kept{{< /figure >}}\n\n{% raw %}{{ shown }}{% endraw %}\n\n"
        "[words]({{ site.url }}/x) and [more][1]{% comment %} no {% endcomment %}\n\n"
        "[1]: {{ site.repo }}/issues/1"
    )

    assert text(post) == "Hello {{ code }}.\n\nKept\n\n{{ shown }}\n\nwords and more"


def test_the_first_heading_is_told():
    assert markdown_text("Intro\n\n# The *head*\n\n# Other", Rules()).heading == "The head"


def test_a_page_of_html_is_read():
    page = page_text(
        "<html><head><title>t</title></head><body><nav>x</nav><h1>H</h1><p>a<br>b</p></body></html>", Rules()
    )

    assert (page.text, page.heading) == ("H\n\na\nb", "H")


def test_deep_lists_are_flattened_not_lost():
    deep = text("\n".join("  " * level + f"- item{level}" for level in range(300)))

    assert [int(number) for number in re.findall(r"item(\d+)", deep)] == list(range(300))


@given(st.lists(st.sampled_from(["word", "- ", "  ", "\n", "\n\n", "> ", "```", "    ", "1. ", "x", "<div>", "| a |"])))
def test_no_word_outside_code_info_is_lost_and_nothing_of_ours_shows(parts: list[str]):
    markdown = "".join(part if part != "word" else f"word{index} " for index, part in enumerate(parts))
    result = markdown_text(markdown, Rules())

    expected = set(re.findall(r"word\d+", re.sub(r"(?m)```.*$", "", markdown)))
    assert expected <= set(re.findall(r"word\d+", result.text))
    assert not re.search("[\ufdd0-\ufdef\x02\x03]", result.text)


def test_code_inside_html_that_is_not_closed_is_still_code():
    assert text("<div><pre>\n```\na < b\n```") == "a < b"


def test_emoji_are_drawn_in_html_too_but_not_in_its_code():
    assert text("<p>a :bee: <code>:bee:</code> b</p>") == "a 🐝 :bee: b"


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("  2.  One\n\n    - two\n    - __three__", "2. One\n   - two\n   - three"),
        ("*    One\n\n    two\n\n*    three", "- One\n\n  two\n\n- three"),
        ("10. One\n\n        code\n", "10. One\n\n    code"),
    ],
)
def test_an_item_holds_what_stands_four_in_however_far_in_its_words_are(markdown: str, expected: str):
    assert text(markdown) == expected


def test_a_label_may_stand_on_the_line_below_its_words():
    assert text("See [`a`]\n[b] and [c]\n[d].\n\n[b]: https://x.org") == "See a and [c] [d]."


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("他说。\n“好”\n然后", "他说。“好”然后"),
        ("他说：\n——好", "他说：——好"),
        ("He said\n“yes”\nagain", "He said “yes” again"),
    ],
)
def test_quotation_marks_between_ideographs_bring_no_blank(markdown: str, expected: str):
    assert text(markdown) == expected


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ('{% url "this page" https://x.org/a %}', "this page"),
        ("{% url 'name-of-a-route' %}", ""),
        ("{% asset_img a.png A bee at work %}", "A bee at work"),
        ("{% img left /b/a@2x.png 256 256 bee%}", "bee"),
        ("{% asset_img 2022-07-06-21.png %}", ""),
    ],
)
def test_words_in_tags_without_names_are_kept(tag: str, expected: str):
    assert text(f"See {tag}") == f"See {expected}".strip()


def test_a_line_break_in_shown_code_ends_its_line():
    assert text("<pre>a = 1<br>b = 2<br/>c</pre>") == "a = 1\nb = 2\nc"
    assert page_text("<p>x</p><pre>a = 1<br>b = 2</pre>", Rules()).text == "x\n\na = 1\nb = 2"


def test_a_markdown_link_typed_in_html_is_its_words():
    post = """<table><tr><td>[<a href="http://a.b">Ann</a>](http://a.b), [Bo](/bo "B") and [x](y)</td></tr></table>

<p>since [<b>Ann</b>'s comment](https://a.b/c?d=1&amp;e#f_(g)) ![a fox](/fox.png) [<code>a[0]</code>](/q)</p>

<div>[one <p>two](http://a.b)</p></div>"""

    assert text(post) == "Ann, Bo and [x](y)\n\nsince Ann's comment a fox a[0]\n\n[one\n\ntwo](http://a.b)"
    assert "since Ann's comment (https://a.b/c?d=1&e#f_(g)) a fox a[0] (/q)" in text(post, keep_link_targets=True)


def test_a_markdown_link_that_html_shows_or_hides_stays():
    post = '<p title="[a](http://b.c)"><code>[a](http://b.c)</code> &#91;a](http://b.c) <a href="/x[y](/z)">q</a></p>'

    assert text(post) == "[a](http://b.c) [a](http://b.c) q"


def test_what_follows_the_end_of_a_page_is_kept():
    assert page_text("<html><body><p>one</p></body></html>\n<p>two</p>", Rules()).text == "one\n\ntwo"
    assert text("one\n\n<div>two</div></body></html>\n\nthree") == "one\n\ntwo\n\nthree"

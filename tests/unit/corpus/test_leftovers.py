"""What counts as markup left over in a document, and what does not."""

import time

import pytest

from services.corpus.leftovers import LONGEST_EXAMPLE, leftovers, suspects
from services.corpus.shown_code import part

LEFT_OVER = {
    "HTML tag": ["a <div class='x'> b", "c </span> d", "<br/>"],
    "HTML comment": ["a <!-- more --> b"],
    "JSX": ["<Card title='x' />", "</Card>", "\nimport Card from '../Card'\n", "\nexport const x = 1\n"],
    "template tag": ["{% include a.html %}", "{{ site.title }}", '{{< figure src="a.png" >}}', "{{% notice %}}"],
    "attribute list": ["words {: .note}", "Heading {#anchor}"],
    "container": [":::note\nwords\n:::", "!!! warning\n    words"],
    "shortcode": ["[caption id=\"a\" width='3']x[/caption]", "[url=http://a.b]x[/url]"],
    "wiki link": ["see [[Another note]]", "![[picture.png]]"],
    "Obsidian mark": ["%%a comment%%", "> [!note] words"],
    "reStructuredText": [".. image:: a.png", "see :ref:`that`"],
    "emoji code": ["well :sweat_smile: then", ":tada:"],
    "HTML entity": ["a&nbsp;b", "&#8217;", "&#x27;"],
    "Markdown image": ["![a cat](cat.png)", "![a cat][cat]"],
    "Markdown link": ["[words](https://a.b/c)", "[words][ref]", "[ref]: https://a.b"],
    "footnote mark": ["words[^1]"],
    "Markdown emphasis": ["**loud**", "so *soft* a", "so _soft_ a", "~~gone~~"],
    "Markdown heading": ["## Heading"],
    "Markdown fence": ["```python\nx\n"],
    "Markdown code": ["the `word` here"],
    "Markdown quotation": ["> said"],
    "Markdown table": ["a | b\n|---|---|\n1 | 2"],
    "front matter": ["---\ntitle: x\n", "title: x\ndate: 2019-01-01\nwords"],
}
HARMLESS = [
    "Vec<T> and HashMap<String, Vec<u8>>, a < b > c",
    "2 * 3 * 4, and snake_case_name or __ or a_b_c",
    "items[0][1], f(x)[i], [sic], [1], an array [a, b]",
    "AT&T, R&D, this & that; me&you;",
    "50% of 20%, a {brace} and {another}",
    "who? me! C#, #1, #hashtag",
    "- an item\n- another\n\n1. one\n2. two",
    "a | b\n1 | 2",
    "10:30: the ferry::came",
    "<your name> and <3 and >_<",
]


def found(document: str, source: str, **how) -> list[str]:
    return [leftover.kind for leftover in leftovers(suspects(document, **how), source)]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in LEFT_OVER.items() for text in texts])
def test_markup_that_stands_in_text_and_source_is_left_over(kind, text):
    if kind != "front matter":
        text = f"Before.\n\n{text}\n\nAfter."

    assert kind in found(text, text)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_resembles_markup_is_not_left_over(text):
    assert found(text, text) == []


@pytest.mark.parametrize(
    ("document", "source"),
    [
        ("Write <div> here.", "Write `<div>` here."),
        ("Write <div> here.", "Write <code>&lt;div&gt;</code> here."),
        ("Write <div> here.", "Write &lt;div&gt; here."),
        ("Write *this* here.", r"Write \*this\* here."),
        ("Write {{ page.title }} here.", "Write {% raw %}{{ page.title }}{% endraw %} here."),
        ("So:\n\n<div>\n</div>", "So:\n\n    <div>\n    </div>"),
        ("So:\n\n<div>\n\n</div>", "<div>So:</div>\n\n```html\n<div>\n\n</div>\n```"),
        ("So:\n\n# not a heading\n[a](b)", "~~~sh\n# not a heading\n[a](b)\n~~~"),
        ("So:\n\n{% if x %}", "{% highlight liquid %}\n{% if x %}\n{% endhighlight %}"),
        ("- a\n\n  <b>x</b>", "- a\n\n        <b>x</b>"),
        ("Two `ticks` here.", "Two `` `ticks` `` here."),
        ("Two `ticks` here, ticks.", "Two &#x60;ticks&#x60; here, `ticks`."),
    ],
)
def test_what_an_author_shows_as_code_or_escapes_is_not_left_over(document, source):
    assert suspects(document)
    assert found(document, source) == []


def test_a_tag_is_left_over_even_where_the_post_shows_the_same_tag_as_code():
    assert found("Write <div> here. <div>", "Write `<div>` here. <div>") == ["HTML tag"]


def test_a_paragraph_indented_within_a_list_is_no_code():
    assert found("- a\n\n  <b>x</b>", "- a\n\n    <b>x</b>") == ["HTML tag"]


def test_a_link_counts_by_its_address_because_its_words_may_have_been_changed():
    assert found("[loud words](https://a.b)", "[**loud** words](https://a.b)") == ["Markdown link"]


def test_markdown_is_no_left_over_where_the_form_is_markdown():
    text = "## Heading\n\n[words](https://a.b) and **loud**\n\n<div>"

    assert found(text, text, markdown=True) == ["HTML tag"]


def test_an_example_is_one_line_of_bounded_length():
    text = f"[words](https://a.b/{'c' * 400})"

    (leftover,) = leftovers(suspects(text), text)

    assert len(leftover.example) == LONGEST_EXAMPLE
    assert leftover.example.startswith("[words](https://a.b/ccc")


def test_a_source_is_parted_into_shown_code_and_the_rest():
    parts = part("one `two`\n\n    three\n\n```\nfour\n```\n\nfive <pre>six</pre>")

    assert parts.code.split() == ["three", "four", "six", "two"]
    assert parts.rest.split() == ["one", "five"]


@pytest.mark.parametrize(
    "piece",
    ["<div ", "<!--", "{{", "{%", "[", "[a](", "![", "**", "*a ", "_a ", "`", "``` ", "&amp", "\n> ", "<pre>", "<A b=",
     "[a b=", "{% raw %}", "%%", "|---|", ":a", "[[", "\n    a", "~~"],
)  # fmt: skip
def test_the_search_takes_bounded_time(piece):
    nasty = piece * (1_000_000 // len(piece))
    started = time.process_time()
    leftovers(suspects(nasty), nasty)

    assert time.process_time() - started < 30


def test_values_without_their_last_quote_take_no_time():
    start = time.process_time()
    suspects(("[x" + ' a="b c="' * 40) * 1500)
    assert time.process_time() - start < 30


def test_a_literal_block_of_restructuredtext_is_code():
    parts = part("Like this::\n\n  .. note:: shown\n\nMore.\n\n.. code:: rst\n\n   *shown*\n\n*left*")

    assert "note" in parts.code and "*shown*" in parts.code
    assert "More." in parts.rest and "*left*" in parts.rest and "shown" not in parts.rest

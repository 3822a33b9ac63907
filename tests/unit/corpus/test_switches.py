"""Each switch of cleaning, on a Markdown post and on an HTML post."""

from __future__ import annotations

import pytest

from services.corpus.cleaning.documents import make_document
from services.corpus.cleaning.effects import RULES, difference, values
from services.corpus.rules import Rules

MARKDOWN = """\
## Head

Words with `code` and [a link](https://x.org/a "t"), see <https://y.org>.[^1]

```python
block = 1
```

![A bee](bee.png)

| a | b |
|---|---|
| 1 | 2 |

> Said another.

> [!note] Mind
> My own box.

Euler: $e^{i\\pi}$ is here.

$$
x^2
$$

[^1]: A note.
"""
PAGE = """\
<h2>Head</h2>
<p>Words with <code>code</code> and <a href="https://x.org/a">a link</a>, see <a href="https://y.org">https://y.org</a>.</p>
<pre><code>block = 1</code></pre>
<p><img src="bee.png" alt="A bee"></p>
<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
<blockquote><p>Said another.</p></blockquote>
<p>Euler: \\(e^{i\\pi}\\) is here.</p>
"""
LINES = {
    "keep_code": "block = 1",
    "keep_image_alt": "A bee",
    "keep_headings": "Head",
    "keep_tables": "a | b\n1 | 2",
    "keep_quotations": "Said another.",
}


def text(post: str, suffix: str = "md", **rules: bool | str | None) -> str:
    return make_document(f"post.{suffix}", post.encode(), Rules(**rules)).text


@pytest.mark.parametrize("suffix", ["md", "html"])
@pytest.mark.parametrize("rule", LINES)
def test_a_switch_takes_away_its_blocks_and_nothing_else(rule: str, suffix: str):
    post = MARKDOWN if suffix == "md" else PAGE
    kept = text(post, suffix)

    assert f"{LINES[rule]}\n\n" in kept
    assert text(post, suffix, **{rule: False}) == kept.replace(f"{LINES[rule]}\n\n", "", 1)


def test_code_within_a_sentence_always_stays():
    assert "Words with code and" in text(MARKDOWN, keep_code=False)


def test_boxes_of_the_author_are_no_quotations():
    assert "Mind\n\nMy own box." in text(MARKDOWN, keep_quotations=False)


def test_footnotes_can_be_dropped():
    assert "https://y.org. (A note.)" in text(MARKDOWN)
    assert "note." not in text(MARKDOWN, keep_footnotes=False)
    assert "https://y.org.\n" in text(MARKDOWN, keep_footnotes=False)


@pytest.mark.parametrize(("suffix", "formula"), [("md", "$e^{i\\pi}$"), ("html", "\\(e^{i\\pi}\\)")])
def test_formulas_can_be_dropped(suffix: str, formula: str):
    post = MARKDOWN if suffix == "md" else PAGE

    assert f"Euler: {formula} is here." in text(post, suffix)
    assert "Euler: is here." in text(post, suffix, keep_maths=False)
    assert "x^2" not in text(post, suffix, keep_maths=False)


@pytest.mark.parametrize("suffix", ["md", "html"])
def test_addresses_of_links_can_be_written_behind_their_words(suffix: str):
    post = MARKDOWN if suffix == "md" else PAGE

    assert "and a link, see https://y.org." in text(post, suffix)
    assert "and a link (https://x.org/a), see https://y.org." in text(post, suffix, keep_link_targets=True)


def test_addresses_of_references_are_known_too():
    post = "See [one][A b], [two] and [three][].\n\n[a B]: <http://x.org/1> 'T'\n[two]: /2\n[three]: {{ site }}/3\n"

    assert text(post) == "See one, two and three."
    assert text(post, keep_link_targets=True) == "See one (http://x.org/1), two (/2) and three (/3)."


@pytest.mark.parametrize("target", ["#", "#top", "javascript:alert(1)", "data:text/html,x", ""])
def test_an_address_that_leads_nowhere_is_not_written(target: str):
    assert text(f'<p>a <a href="{target}">b</a></p>', "html", keep_link_targets=True) == "a b"


def test_garbled_words_can_be_left_alone():
    assert text("cafÃ© noir") == "café noir"
    assert text("cafÃ© noir", mend_text=False) == "cafÃ© noir"
    assert not make_document("a.md", "cafÃ© noir".encode(), Rules(mend_text=False)).notes


def test_the_effect_of_a_rule_is_the_difference_that_its_other_value_would_make():
    post = b"# T\n\nOne\n\n```\ncode\n```\n\nTwo"

    assert difference("a.md", post, Rules(), "keep_code") == "@@ -1,3 +1,5 @@\n One\n \n+code\n+\n Two"
    assert difference("a.md", post, Rules(keep_code=False), "keep_code") == "@@ -1,5 +1,3 @@\n One\n \n-code\n-\n Two"
    assert difference("a.md", post, Rules(), "keep_tables") == ""


def test_a_post_that_a_rule_leaves_empty_is_compared_with_nothing():
    assert difference("a.md", b"> All", Rules(), "keep_quotations") == "@@ -0,0 +1 @@\n+All"


def test_every_rule_of_cleaning_has_a_value_and_another_one():
    told = {rule: values(Rules(), rule) for rule in RULES}

    assert told["form"] == ("text", "markdown")
    assert told["keep_code"] == ("true", "false")
    assert told["keep_link_targets"] == ("false", "true")
    assert told["secrets"] == ("mask", "keep")
    assert values(Rules(form="markdown"), "keep_link_targets") == ("true", "false")
    assert values(Rules(secrets="keep"), "secrets") == ("keep", "mask")
    assert values(Rules(secrets="leave_out"), "secrets") == ("leave_out", "keep")

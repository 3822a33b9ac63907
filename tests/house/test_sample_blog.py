"""The sample blog has what real blogs have, and enough of it."""

import re
from pathlib import Path

BLOG = Path(__file__).parents[2] / "deploy" / "sample_blog"
POSTS = {path.name: path.read_bytes().decode("utf-8") for path in sorted(BLOG.rglob("*.md"))}
ALL = "\n".join(POSTS.values())


def body(text: str) -> str:
    text = text.replace("\r\n", "\n")
    text = re.sub(r"\A(---\n.*?\n---\n|\+\+\+\n.*?\n\+\+\+\n|\{\n.*?\n\}\n)", "", text, flags=re.S)
    return re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.S | re.M)


def test_there_are_thirty_posts_and_twelve_thousand_words():
    published = [text for text in POSTS.values() if "draft: true" not in text]
    assert len(published) >= 30
    assert sum(len(body(text).split()) for text in published) >= 12_000


def test_the_variety_of_real_blogs_is_there():
    assert sum(text.startswith("---\n") for text in POSTS.values()) >= 15
    assert any(text.startswith("+++\n") for text in POSTS.values())
    assert any(text.startswith("{") for text in POSTS.values())
    assert any("draft: true" in text for text in POSTS.values())
    assert any(re.match(r"[#\w]", text) for text in POSTS.values()), "a post without front matter"
    assert any("\r\n" in text for text in POSTS.values())
    for pattern in (
        r"^```\w+",  # code
        r"^\|.*\|$",  # table
        r"^(  +|\t)[-*] ",  # nested list
        r"^> ",  # quote
        r"!\[[^\]]+\]\(",  # image
        r"[^!]\[[^\]]+\]\(",  # link
        r"<kbd>",  # inline HTML
        r"\[\^\w+\]:",  # footnote
        r"[\U0001F300-\U0001FAFF]",  # emoji
    ):
        assert re.search(pattern, ALL, re.M), pattern

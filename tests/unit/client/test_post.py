from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.client.post import Post, as_markdown, parse


def test_header_and_body_are_set_apart():
    post = parse("title: A day: one of many\ntags: a, b,, c \ndate: 2019-09-01\n\nBody.\n\nMore.")

    assert post == Post("A day: one of many", ("a", "b", "c"), "2019-09-01", "Body.\n\nMore.")


def test_a_text_without_a_whole_header_is_all_body():
    for text in ("", "Body.", "title: x\nand no blank line", "\ntitle: x\n\nbody", "title: a\ntitle: b\n\nc"):
        assert parse(text) == Post("", (), "", text)


def test_a_header_alone_has_no_body():
    assert parse("title: x\n") == Post("x", (), "", "")
    assert parse("title: x") == Post("x", (), "", "")


def test_markdown_has_the_header_as_front_matter():
    text = as_markdown(Post('Say "hi" \\ bye', ("a: b", "c"), "2019-09-01", "Body."))

    front, body = text.removeprefix("---\n").split("---\n", 1)
    values = yaml.safe_load(front)
    assert (values["title"], values["tags"], str(values["date"])) == (
        'Say "hi" \\ bye',
        ["a: b", "c"],
        "2019-09-01",
    )
    assert body == "\nBody.\n"


def test_markdown_without_header_is_the_body():
    assert as_markdown(parse("Body.")) == "Body.\n"


@given(st.text())
def test_any_text_can_be_parsed_and_written(text):
    assert as_markdown(parse(text)).endswith("\n")

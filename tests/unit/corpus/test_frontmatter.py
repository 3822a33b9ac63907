from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.corpus.cleaning.frontmatter import split


def test_yaml_scalars_stay_as_typed():
    front = split("---\ntitle: 1984\ndate: 2019-02-31\ndraft: No\ntags: [a, b]\n---\nBody\n")

    assert front.fields == {"title": "1984", "date": "2019-02-31", "draft": "No", "tags": ["a", "b"]}
    assert (front.body, front.problem) == ("Body\n", None)


def test_yaml_may_close_with_dots_and_carry_tags():
    front = split("---\ntitle: !ruby/object:X y\n...\nBody")

    assert (front.fields["title"], front.body) == ("y", "Body")


def test_toml_is_read():
    front = split('+++\ntitle = "On bees"\n[taxonomies]\ntags = ["bee"]\n+++\nBody')

    assert front.fields == {"title": "On bees", "taxonomies": {"tags": ["bee"]}}
    assert front.body == "Body"


def test_json_is_read():
    front = split('{\n  "title": "On {bees}",\n  "draft": true\n}\n\nBody')

    assert front.fields == {"title": "On {bees}", "draft": True}
    assert front.body == "\nBody"


@pytest.mark.parametrize(
    "text",
    [
        '---json\n{"title": "x", "tags": ["a"]}\n---\nBody',
        '---toml\ntitle = "x"\ntags = ["a"]\n---\nBody',
        "---yaml\ntitle: x\ntags: [a]\n---\nBody",
        "title: x\ntags:\n- a\n---\nBody",
    ],
)
def test_front_matter_may_name_its_language_or_want_its_first_line(text: str):
    front = split(text)

    assert (front.fields, front.body, front.problem) == ({"title": "x", "tags": ["a"]}, "Body", None)


def test_a_heading_that_looks_like_a_field_is_kept():
    assert split("Title: a story\n---\nBody").body == "Title: a story\n---\nBody"


def test_empty_front_matter_is_no_text():
    assert split("---\n---\nBody").body == "Body"


@pytest.mark.parametrize(
    "text",
    [
        "---\n\nSome prose between rules.\n\n---\n\nMore.",
        "---\nNote: this is prose, too.\n---\nMore.",
        "---\n- one\n- two\n---\nMore.",
        "---\nOnly a rule above.",
        "+++\nno toml here\n+++\nMore.",
        "{% include x %}\nMore.",
        "{ braces } in prose",
        '{"a": 1} and more on the line',
        "No front matter.\n---\ntitle: x\n---\n",
        "",
        "---",
    ],
)
def test_what_is_no_front_matter_loses_nothing(text: str):
    front = split(text)

    assert (front.fields, front.body, front.problem) == ({}, text, None)


def test_broken_yaml_keeps_the_text_and_what_is_plain_and_is_told():
    front = split('---\ntitle: Bees: a love story\ndraft: true\ntags: ["a\n---\nBody')

    assert front.body == "Body"
    assert front.fields["title"] == "Bees: a love story"
    assert front.fields["draft"] == "true"
    assert front.problem is not None and "YAML" in front.problem


def test_broken_toml_keeps_the_text_and_is_told():
    front = split("+++\ntitle = On bees\ndraft = true\n+++\nBody")

    assert (front.body, front.fields) == ("Body", {"title": "On bees", "draft": "true"})
    assert front.problem is not None and "TOML" in front.problem


def test_broken_json_keeps_the_text_and_is_told():
    front = split('{\n  "title": "x",\n  "draft": true,\n}\nBody')

    assert front.body == "Body"
    assert front.fields == {"title": "x", "draft": "true"}
    assert front.problem is not None and "JSON" in front.problem


def test_unclosed_front_matter_ends_at_its_blank_line_and_is_told():
    front = split("---\ntitle: x\ndraft: true\n\nBody\n\nMore")

    assert front.fields == {"title": "x", "draft": "true"}
    assert front.body == "Body\n\nMore"
    assert front.problem is not None and "no closing line" in front.problem


@pytest.mark.parametrize(
    "block",
    [
        "title: " + "[" * 5000,
        "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [{', '.join(['*a'] * 9)}]\n" for i in range(9)) + "title: t",
        "title: t\n" * 20_000,
    ],
)
def test_bombs_are_refused_and_the_text_kept(block: str):
    front = split(f"---\n{block}\n---\nBody")

    assert front.body == "Body"
    assert front.problem is not None


@given(st.text(alphabet="-+{}:[]&*\n a\"'#|>!", max_size=80))
def test_splitting_never_fails_and_the_body_is_a_part_of_the_text(text: str):
    assert text.endswith(split(text).body)

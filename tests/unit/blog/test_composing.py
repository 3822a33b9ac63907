"""A post's file: whatever stands in title and tags, the readers of its format find it again."""

import json
import tomllib
from datetime import date as Date

import pytest
import yaml
from google.protobuf import json_format
from hypothesis import example, given
from hypothesis import strategies as st

from protos import corpus_pb2
from services.blog.composing import Post, compose, path_of, slug_of
from services.blog.style import (
    BLOCK,
    COMMAS,
    JSON,
    LINES,
    LIST,
    PLAIN,
    TOML,
    WORDS,
    YAML,
    Field,
    Role,
    Style,
    read_style,
)
from services.corpus.cleaning.frontmatter import split

DATED = "_posts/%Y-%m-%d-{slug}.md"
FIELDS = (
    Field("layout", Role.CONSTANT, value="post"),
    Field("title", Role.TITLE),
    Field("date", Role.DATE, "%Y-%m-%d"),
    Field("tags", Role.TAGS, LIST),
)
LINE = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=40).map(
    lambda text: " ".join(text.split())
)
POSTS = st.builds(
    Post,
    title=LINE,
    tags=st.lists(LINE.filter(bool), max_size=4).map(tuple),
    date=st.sampled_from(("", "2024-03-01", "1999-12-31")),
    body=st.sampled_from(("A walk.\n", "---\n\nA rule.", "One.\n\nTwo.\n\n")),
)


def fields_of(format_: str, text: str) -> dict:
    """As the format's own reader has them."""
    if format_ == YAML:
        return yaml.safe_load(text[4 : text.index("\n---\n", 3)]) or {}
    if format_ == TOML:
        return tomllib.loads(text[4 : text.index("\n+++\n", 3)])
    return json.JSONDecoder().raw_decode(text)[0]


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("form", [LIST, BLOCK])
@pytest.mark.parametrize("format_", [YAML, TOML, JSON])
@given(post=POSTS)
@example(post=Post("No", ("on", "1984", "null", "a: b", "[x]", "#y", "a,b", "why?"), "2024-03-01", "x"))
@example(post=Post('"\\ : - ? # \u2028\u0085\ufeff', ("'",), "", "x"))
def test_each_formats_own_reader_finds_the_same_fields(format_, form, quoted, post):
    fields = (FIELDS[0], Field("title", Role.TITLE, quoted=quoted), FIELDS[2], Field("tags", Role.TAGS, form))
    found = fields_of(format_, compose(Style(format_, fields, DATED), post, {"generated_by": "a@1"}))
    assert found.get("title", "") == post.title
    assert tuple(found.get("tags", ())) == post.tags
    assert found.get("date", "") == (
        (Date.fromisoformat(post.date) if format_ != JSON else post.date) if post.date else ""
    )
    assert found["layout"] == "post" and found["generated_by"] == "a@1"


@pytest.mark.parametrize("format_", [YAML, TOML, JSON, LINES])
@given(post=POSTS.filter(lambda post: post.title and not post.body.startswith("---")))
def test_the_corpus_reads_back_title_and_body(format_, post):
    front = split(compose(Style(format_, FIELDS, DATED), post))
    assert front.problem is None
    assert front.fields["title"] == post.title
    assert front.body.strip("\n") == post.body.strip("\n")


def test_a_file_in_each_format():
    post = Post("The ferry: a timetable", ("water", "time"), "2024-03-01", "It left at six.")
    assert compose(Style(YAML, FIELDS, DATED), post) == (
        '---\nlayout: post\ntitle: "The ferry: a timetable"\ndate: 2024-03-01\ntags: [water, time]\n---\n\n'
        "It left at six.\n"
    )
    assert compose(Style(TOML, FIELDS, DATED), post) == (
        '+++\nlayout = "post"\ntitle = "The ferry: a timetable"\ndate = 2024-03-01\ntags = ["water", "time"]\n+++\n\n'
        "It left at six.\n"
    )
    assert compose(Style(LINES, FIELDS, DATED), post) == (
        "layout: post\ntitle: The ferry: a timetable\ndate: 2024-03-01\ntags: water, time\n\nIt left at six.\n"
    )
    assert json.loads(compose(Style(JSON, FIELDS, DATED), post).partition("\n\n")[0])["tags"] == ["water", "time"]


def test_tags_in_one_string():
    post = Post("", ("new york", "tea"), "", "x")
    assert "tags: new york, tea\n" in compose(Style(YAML, (Field("tags", Role.TAGS, COMMAS),), DATED), post)
    assert "tags: new-york tea\n" in compose(Style(YAML, (Field("tags", Role.TAGS, WORDS),), DATED), post)


def test_nested_fields_stand_in_their_tables():
    post, fields = Post("A", ("b",), "", "x"), (Field("taxonomies.tags", Role.TAGS, LIST), Field("title", Role.TITLE))
    for format_ in (YAML, TOML, JSON):
        found = fields_of(format_, compose(Style(format_, fields, DATED), post, {"generated_by": "a@1"}))
        assert found == {"taxonomies": {"tags": ["b"]}, "title": "A", "generated_by": "a@1"}


@pytest.mark.parametrize("format_", [YAML, TOML, JSON])
def test_a_mark_stands_once_where_the_blog_has_learned_it_from_generated_posts(format_):
    fields = (Field("generated_by", Role.CONSTANT, value="a@1"), Field("title", Role.TITLE))
    text = compose(Style(format_, fields, DATED), Post("A", (), "", "x"), {"generated_by": "a@2"})
    assert fields_of(format_, text) == {"title": "A", "generated_by": "a@2"}
    assert text.count("generated_by") == 1


def test_nested_fields_that_a_blog_has_apart_stand_together():
    fields = tuple(Field(name, Role.CONSTANT, value=name) for name in ("cover.alt", "layout", "cover.image"))
    for format_ in (YAML, TOML, JSON):
        text = compose(Style(format_, fields, DATED), Post("", (), "", "x"))
        assert fields_of(format_, text)["cover"] == {"alt": "cover.alt", "image": "cover.image"}


def test_a_times_rest_stays_as_the_blog_has_it():
    fields = (Field("date", Role.DATE, "%Y-%m-%dT08:00:00+01:00"),)
    post = Post("", (), "2024-03-01", "x")
    assert "date: 2024-03-01T08:00:00+01:00\n" in compose(Style(YAML, fields, DATED), post)
    assert "date = 2024-03-01T08:00:00+01:00\n" in compose(Style(TOML, fields, DATED), post)
    words = (Field("date", Role.DATE, "%d %B %Y"),)
    assert 'date = "01 March 2024"\n' in compose(Style(TOML, words, DATED), post)


def test_paths_follow_the_blog():
    post, undated = Post("What the Heron Knows!", (), "2024-03-01", "x"), Post("Fog", (), "", "x")
    for form, dated_path, undated_path in (
        (DATED, "_posts/2024-03-01-what-the-heron-knows.md", "_posts/fog.md"),
        ("content/%Y/%m/{slug}/index.md", "content/2024/03/what-the-heron-knows/index.md", "content/fog/index.md"),
        ("{slug}.markdown", "what-the-heron-knows.markdown", "fog.markdown"),
    ):
        assert path_of(Style(YAML, (), form), post) == dated_path
        assert path_of(Style(YAML, (), form), undated) == undated_path


@given(title=st.text(max_size=300))
def test_a_slug_is_a_safe_file_name(title):
    slug = slug_of(title)
    assert slug and len(slug) <= 80 and len(slug.encode()) <= 180
    assert not set(slug) & set("/\\. \0\n:%") and slug == slug.strip("-")


def test_slugs():
    assert slug_of("Don’t panic: it’s Ünder 100 %") == "dont-panic-its-under-100"
    assert slug_of("भारत का मौसम", "_") == "भारत_का_मौसम"
    assert slug_of("???") == "post"


def test_a_date_that_is_none_is_refused():
    with pytest.raises(ValueError, match="2024-13-01"):
        Post("", (), "2024-13-01", "")


def test_a_style_survives_being_stored():
    for style in (PLAIN, Style(TOML, (Field("draft", Role.CONSTANT, quoted=True, value=False),), "{slug}.md", "_")):
        assert read_style(json.loads(json.dumps(style.as_json()))) == style


def test_whole_numbers_survive_a_message():
    style = Style(
        YAML, (Field("toc", Role.CONSTANT, value=3), Field("sizes", Role.CONSTANT, value=[1, 2.5])), "{slug}.md"
    )
    message = json_format.ParseDict(style.as_json(), corpus_pb2.BlogStyle())
    told = read_style(json_format.MessageToDict(message, preserving_proto_field_name=True))
    assert "toc: 3\nsizes: [1, 2.5]\n" in compose(told, Post("", (), "", "x"))


@pytest.mark.parametrize("broken", [{}, {"format": "xml", "fields": [], "path": "{slug}"}, {"fields": [{"name": 1}]}])
def test_what_is_no_style_is_told(broken):
    with pytest.raises(ValueError, match=r"style|role|format"):
        read_style(broken)

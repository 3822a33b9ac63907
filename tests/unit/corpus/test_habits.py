"""What is learned of a blog's habits, from posts as Jekyll, Hugo, Zola, Pelican and others have them."""

import pytest
import yaml

from services.blog.composing import Post, compose, path_of
from services.blog.style import LINES, PLAIN, Role
from services.corpus.habits import Source, learn

NEW = Post("A new day", ("tea", "fog"), "2024-05-06", "Words.")
DAYS = ("2024-03-01", "2024-02-10", "2023-11-09")


def learned(path: str, text: str, titles=("The slow clock", "Renting number six", "The dog next door")):
    """Path and file of a new post on a blog of three, written by templates."""
    posts = []
    for day, title in zip(DAYS, titles, strict=True):
        year, month, number = day.split("-")
        slug = title.lower().replace(" ", "-")
        values = {"day": day, "y": year, "m": month, "d": number, "title": title, "slug": slug}
        posts.append(Source(path.format(**values), day, text.format(**values)))
    style = learn(posts)
    return path_of(style, NEW), compose(style, NEW)


def test_jekyll():
    assert learned(
        "_posts/{day}-{slug}.md",
        '---\nlayout: post\ntitle: "{title}"\ndate: {day} 10:00:00 +0100\ncategories:\n  - walks\n  - {slug}\n---\n\n'
        "Text.\n",
    ) == (
        "_posts/2024-05-06-a-new-day.md",
        '---\nlayout: post\ntitle: "A new day"\ndate: 2024-05-06 10:00:00 +0100\ncategories:\n  - tea\n  - fog\n---\n\n'
        "Words.\n",
    )


def test_hugo_with_bundles():
    assert learned(
        "content/posts/{slug}/index.md",
        '+++\ntitle = "{title}"\ndate = {day}T08:00:00Z\ndraft = false\ntags = ["{slug}"]\n+++\n\nText.\n',
    ) == (
        "content/posts/a-new-day/index.md",
        '+++\ntitle = "A new day"\ndate = 2024-05-06T08:00:00Z\ntags = ["tea", "fog"]\n+++\n\nWords.\n',
    )


def test_zola_with_taxonomies_and_an_address():
    assert learned(
        "content/{y}/{m}/{slug}.md",
        '+++\npath = "{y}/{m}/{d}/{slug}"\ntitle = "{title}"\nauthors = ["Me"]\n\n'
        '[taxonomies]\ntags = ["{slug}"]\n+++\nText.\n',
    ) == (
        "content/2024/05/a-new-day.md",
        '+++\npath = "2024/05/06/a-new-day"\ntitle = "A new day"\nauthors = ["Me"]\n\n'
        '[taxonomies]\ntags = ["tea", "fog"]\n+++\n\nWords.\n',
    )


def test_pelican():
    assert learned("{slug}.md", "Title: {title}\nDate: {day} 10:20\nTags: a, {slug}\nAuthor: Me\n\nText.\n") == (
        "a-new-day.md",
        "Title: A new day\nDate: 2024-05-06 10:20\nTags: tea, fog\nAuthor: Me\n\nWords.\n",
    )


def test_json():
    path, file = learned(
        "{day}_{slug}.md", '{{\n  "title": "{title}",\n  "date": "{day}",\n  "tags": ["a"]\n}}\n\nText.\n'
    )
    assert path == "2024-05-06_a-new-day.md"
    assert (
        file
        == '{\n  "title": "A new day",\n  "date": "2024-05-06",\n  "tags": [\n    "tea",\n    "fog"\n  ]\n}\n\nWords.\n'
    )


def test_tags_in_a_string_and_a_quoted_date():
    _, file = learned("{slug}.md", "---\ntitle: '{title}'\ndate: \"{day}\"\ntags: a b {slug}\n---\nText.\n")
    assert file == '---\ntitle: "A new day"\ndate: "2024-05-06"\ntags: tea fog\n---\n\nWords.\n'


def rated(written: str) -> str:
    """Front matter of a new post in a blog where each has this rating."""
    post = f"---\ntitle: T\nrating: {written}\nmood: '0.8'\n---\n\nx\n"
    style = learn([Source(f"{number}.md", "", post) for number in range(3)])
    return compose(style, Post("A", (), "", "x")).split("---\n")[1]


@pytest.mark.parametrize(
    "written",
    [
        *("false", "False", "FALSE", "no", "Off", "true", "True", "yes", "ON", "3", "007", "0.8", ".5", "-1", "1e-3"),
        *("~", "null", "2024-01-01", "2024-01-01 10:00:00 +0100", "10:30", "a/b", "some words"),
    ],
)
def test_what_the_blog_writes_without_quotes_stays_without(written):
    assert rated(written) == f'title: A\nrating: {written}\nmood: "0.8"\n'


@pytest.mark.parametrize("written", ["a #b", "'a: b'", "'- a'", '"*a"', "50%", "http://a.b/c?d=[e]"])
def test_what_needs_quotes_has_them(written):
    assert yaml.safe_load(rated(written))["rating"] == yaml.safe_load(f"rating: {written}")["rating"]


def test_what_belongs_to_one_post_is_not_copied():
    _, file = learned(
        "{slug}.md", "---\ntitle: {title}\ndescription: Same\nimage: a.png\nuuid: 1\ncomments: true\n---\nText.\n"
    )
    assert file == "---\ntitle: A new day\ncomments: true\n---\n\nWords.\n"


def test_a_blog_without_front_matter_gets_plain_yaml_and_its_own_paths():
    style = learn([Source(f"posts/{day}.md", day, "# A\n\nText.\n") for day in DAYS])
    assert (style.format, style.fields) == (PLAIN.format, PLAIN.fields)


def test_no_posts_no_habits():
    assert learn([]) == PLAIN
    assert learn([Source("a.html", "2024-01-01", "<p>x</p>")]) == PLAIN


def test_most_posts_decide_and_of_equals_the_newest():
    new = Source("a.md", "2024-03-01", "Title: A\nDate: 2024-03-01\n\nText.\n")
    old = Source("b.md", "2020-03-01", "---\ntitle: B\n---\nText.\n")
    assert learn([new, old]).format == LINES
    assert [field.role for field in learn([new, old]).fields] == [Role.TITLE, Role.DATE]
    assert learn([new, old, old]).format == "yaml"

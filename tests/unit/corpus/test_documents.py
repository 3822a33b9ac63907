from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.corpus.cleaning.documents import Document, make_document
from services.corpus.reasons import Code, LeftOut
from services.corpus.rules import Rules


def made(content: str, path: str = "post.md", **rules: bool) -> Document:
    return make_document(path, content.encode(), Rules(**rules))


def reason(content: str, path: str = "post.md") -> Code:
    with pytest.raises(LeftOut) as caught:
        made(content, path)
    return caught.value.reason.code


def test_metadata_comes_from_the_front_matter():
    post = made("---\ntitle: '  On\n  bees '\ntags: [a, b, a]\ncategories: c d\ndate: 2019-09-01 10:00\n---\nText.")

    assert post == Document("On bees", ("a", "b", "c", "d"), "2019-09-01", "Text.")


def test_one_category_may_have_blanks_and_tags_may_be_nested_or_labelled():
    assert made("---\ncategory: Bird watching\n---\nText").tags == ("Bird watching",)
    assert made("---\ntags: [[a, b], c]\n---\nText").tags == ("a", "b", "c")
    assert made("---\ntags:\n- label: On bees\n  permalink: /x\n---\nText").tags == ("On bees",)


@pytest.mark.parametrize("date", ["8 July 2022", "Jul 08 2022", "July 8th, 2022", "Fri, 08 Jul 2022 10:00"])
def test_dates_with_names_of_months_are_read(date: str):
    assert made(f"---\ntitle: T\ndate: '{date}'\n---\nText").date == "2022-07-08"


def test_zola_and_comma_separated_tags_are_read():
    assert made("+++\ntitle='x'\n[taxonomies]\ntags=['a b','c']\n+++\nText").tags == ("a b", "c")
    assert made("---\ntags: a b, c\n---\nText").tags == ("a b", "c")


@pytest.mark.parametrize(
    ("path", "front"),
    [
        ("_posts/2019-9-1-bees.md", ""),
        ("2019/09/01/bees.md", ""),
        ("bees.md", "---\npermalink: /2019/09/01/bees/\n---\n"),
        ("bees.md", "+++\ndate = 2019-09-01T10:00:00Z\n+++\n"),
        ("2018-01-01-bees.md", "---\ndate: 2019-09-01\n---\n"),
    ],
)
def test_the_date_is_found_where_authors_put_it(path: str, front: str):
    assert made(f"{front}Text.", path).date == "2019-09-01"


def test_a_date_that_does_not_exist_is_unknown():
    assert made("---\ndate: 2019-02-31\n---\nText.").date == ""


def test_the_first_heading_is_the_title_when_no_other_is_given_and_is_not_said_twice():
    assert made("# On bees\n\nText.") == Document("On bees", (), "", "Text.")
    assert made("---\ntitle: On Bees!\n---\n# On bees\n\nText.").text == "Text."
    assert made("---\ntitle: Other\n---\n# On bees\n\nText.").text == "On bees\n\nText."


def test_what_holds_nothing_is_empty():
    assert reason("---\ntitle: x\n---\n\n \n") == Code.EMPTY
    assert reason("<!-- nothing -->\n\n![](x.png)") == Code.EMPTY


def test_other_kinds_of_file_are_left_out():
    assert reason("body {}", "style.css") == Code.UNKNOWN_KIND
    assert reason("all:", "Makefile") == Code.UNKNOWN_KIND


def test_text_and_html_posts_are_read():
    assert made("---\ntitle: x\n---\na * b_c_d\n\n\n\n  c  \n", "a.txt").text == "a * b_c_d\n\n  c"
    assert made("---\ntitle: x\n---\n<p>a <b>c</b></p>", "a.HTML").text == "a c"


def test_mdx_imports_are_no_text():
    assert made("import X from './x'\nexport const a = 1\n\n# T\n\n<X>hi</X>", "a.mdx").text == "hi"


def test_notes_tell_what_was_mended():
    post = make_document("a.md", "---\ntitle: a: b\n---\ncafé".encode("cp1252"), Rules())

    assert [note.code for note in post.notes] == [Code.LEGACY_ENCODING, Code.BROKEN_FRONT_MATTER]


def test_hashes_depend_on_what_they_say():
    post = Document("t", ("a",), "2019-09-01", "some  text\n")

    assert post.text_hash == Document("u", (), "", "some text").text_hash
    assert post.content_hash != Document("u", ("a",), "2019-09-01", "some  text\n").content_hash
    assert post.content_hash == Document("t", ("a",), "2019-09-01", "some  text\n").content_hash


@given(st.binary(max_size=200))
def test_any_bytes_give_a_document_of_valid_text_or_a_reason(content: bytes):
    try:
        post = make_document("a.md", content, Rules())
    except LeftOut:
        return

    assert post.text.strip() == post.text.strip("\n").strip() != ""
    assert (post.title + post.text).encode().decode() == post.title + post.text


def test_a_tag_loses_the_sign_that_note_takers_put_before_it():
    document = make_document("a.md", b"---\ntags: ['#bees', 'C#', '#1']\n---\nWords.", Rules())

    assert document.tags == ("bees", "C#", "#1")


@pytest.mark.parametrize(
    ("said", "date"),
    [
        ('<meta name="date" content="2012-07-09 22:28">', "2012-07-09"),
        ('<meta property="article:published_time" content="2019-03-04T05:06:07Z">', "2019-03-04"),
        ('<time class="entry-date published" datetime="2019-03-04">4 March</time>', "2019-03-04"),
        ('<meta name="updated" content="2012-07-09"><time datetime="2011-01-01">then</time>', ""),
    ],
)
def test_a_page_tells_its_date(said: str, date: str):
    assert make_document("a.html", f"<p>Words.</p>{said}".encode(), Rules()).date == date
    assert make_document("2001-02-03-a.html", b"<p>Words.</p>", Rules()).date == "2001-02-03"


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_the_footer_of_an_exported_post_is_no_text(form: str):
    page = (
        '<article class="h-entry"><h1>Bees</h1><div class="e-content"><p>Words.</p><footer>A last word.</footer></div>'
        '<footer><p>By <a class="p-author">Ann</a> on <time class="dt-published" datetime="2019-03-04T05:06:07Z">'
        "then</time>.</p><p>Exported.</p></footer></article>"
    )
    document = make_document("a.html", page.encode(), Rules(form=form))

    assert (document.title, document.date) == ("Bees", "2019-03-04")
    assert document.text == "Words.\n\nA last word."

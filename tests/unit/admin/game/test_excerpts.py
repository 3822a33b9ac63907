"""Excerpts: nothing but the writing tells the sides apart."""

import re

from hypothesis import given
from hypothesis import strategies as st

from services.admin.game.excerpts import MAX_CHARACTERS, MIN_CHARACTERS, cut, openings_first, without_header

WORDS = st.text(alphabet='abcdé.!? "…。，', min_size=1, max_size=30)
SENTENCE = "The tide came in at ten past four, and it came in at the door. "


def texts(body):
    return [excerpt.text for excerpt in cut(body, post="p")]


@given(st.lists(WORDS, max_size=120))
def test_excerpts_are_about_as_long_on_one_line_and_in_order(words):
    body = " ".join(words)
    plain = " ".join(body.split())
    at = 0
    for text in texts(body):
        assert MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS + 2
        assert text == " ".join(text.split())
        at = plain.index(text.removesuffix("…").rstrip(), at)
        assert at >= 0


@given(
    st.lists(st.sampled_from(["One sentence here.", "Another, longer, follows it!", "“Third.”"]), max_size=90),
    st.data(),
)
def test_line_breaks_make_no_difference(sentences, data):
    gaps = [data.draw(st.sampled_from([" ", "\n", "\n\n", "\t", "  \n"])) for _ in sentences]
    spaced = "".join(sentence + gap for sentence, gap in zip(sentences, gaps, strict=True))
    assert texts(spaced) == texts(" ".join(sentences))


def test_excerpts_end_with_a_sentence_and_only_the_first_is_an_opening():
    found = cut(SENTENCE * 20, post="p", title="High water")
    assert len(found) == 3
    assert all(excerpt.text.endswith("door.") for excerpt in found)
    assert [excerpt.is_opening for excerpt in found] == [True, False, False]
    assert {(excerpt.post, excerpt.title) for excerpt in found} == {("p", "High water")}


def test_a_text_without_a_sentence_end_is_cut_between_words():
    (text,) = texts("word " * 1000)
    assert len(text) <= MAX_CHARACTERS + 2
    assert re.fullmatch(r"(word )+…", text)


def test_a_text_without_spaces_is_cut_too():
    assert len(texts("潮は四時十分に来た。" * 200)) == 5
    (text,) = texts("x" * 5000)
    assert len(text) == MAX_CHARACTERS + 2


def test_short_texts_give_none():
    assert texts("") == texts("Too short.") == texts(SENTENCE * 4) == []


def test_headers_are_cut_off_whole_or_begun_in_the_middle():
    body = SENTENCE * 8
    whole = f"title: High water\ntags: river\ndate: 2017-05-27\n\n{body}"
    broken = f"of sun\ntags: river, clocks\ndate: 2020-2-12\n\n{body}"
    assert texts(whole) == texts(broken) == texts(body)
    assert cut(whole, post="p")[0].title == "High water"
    assert without_header("The date: unknown.\n\nMore.") == "The date: unknown.\n\nMore."
    assert without_header("title: Alone") == ""


def test_openings_of_all_posts_come_before_any_second_excerpt():
    posts = [cut(SENTENCE * 20, post=str(number)) for number in range(5)]
    chosen = openings_first([*posts, []], 7)
    assert [excerpt.post for excerpt in chosen] == ["0", "1", "2", "3", "4", "0", "1"]
    assert [excerpt.is_opening for excerpt in chosen] == [True] * 5 + [False] * 2

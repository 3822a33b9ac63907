"""A whole post from pieces: what is given stays, what is not is asked for, and nothing given counts as the model's."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from services.blog.composing import is_date
from services.common.errors import InvalidRequest
from services.generator.events import Finish
from services.generator.post import LEAST_BODY_TOKENS, TRIES, Piece, PostOrder, Written, write_post


@dataclass
class Model:
    """Says the next of its lines for each line, and a body for a body."""

    lines: list[str] = field(default_factory=list)
    body: str = "It rained."
    finish: Finish = Finish.STOP
    asked: list[Piece] = field(default_factory=list)

    def __call__(self, piece: Piece) -> Written:
        self.asked.append(piece)
        return Written(self.lines.pop(0), self.finish) if piece.is_line else Written(self.body, Finish.END_OF_TEXT)


def test_with_nothing_given_all_is_written_line_by_line():
    model = Model([" Rain", "tags: water, sky", "date: 2024-03-01"])
    post = write_post(PostOrder(), model, has_headers=True)
    assert (post.title, post.tags, post.date, post.body) == ("Rain", ("water", "sky"), "2024-03-01", "It rained.")
    assert post.text == post.own == "title: Rain\ntags: water, sky\ndate: 2024-03-01\n\nIt rained."
    assert [piece.text for piece in model.asked] == [
        "title:",
        "title: Rain\n",
        "title: Rain\ntags: water, sky\n",
        "title: Rain\ntags: water, sky\ndate: 2024-03-01\n\n",
    ]
    assert all(piece.own == piece.text for piece in model.asked)


def test_what_is_given_stands_and_is_nobodys_own():
    model = Model(["tags: a"])
    post = write_post(PostOrder(title="Mine", date="2020-02-02"), model, has_headers=True)
    assert post.text == "title: Mine\ntags: a\ndate: 2020-02-02\n\nIt rained."
    assert [(piece.text, piece.own) for piece in model.asked] == [
        ("title: Mine\n", ""),
        ("title: Mine\ntags: a\ndate: 2020-02-02\n\n", "\n"),
    ]
    assert (post.title, post.tags, post.date) == ("Mine", ("a",), "2020-02-02")


def test_a_post_that_is_all_given_asks_for_its_body_alone_with_its_own_seed():
    model = Model()
    post = write_post(PostOrder(title="A", tags=("b", "c d"), date="2020-02-02"), model, has_headers=True)
    assert post.text == "title: A\ntags: b, c d\ndate: 2020-02-02\n\nIt rained."
    assert post.own == "\nIt rained."
    (piece,) = model.asked
    assert piece.seed(7) == 7 and piece.least == LEAST_BODY_TOKENS and piece.num_kept == len(piece.text)


def test_an_opening_begins_the_body():
    model = Model([" T", "date: 2024-01-01"], body=" and then.")
    post = write_post(PostOrder(opening="It was late "), model, has_headers=True)
    assert post.body == "It was late and then."
    assert (model.asked[-1].text, model.asked[-1].own) == ("title: T\ndate: 2024-01-01\n\nIt was late", "")
    assert model.asked[-1].least == 0
    assert model.asked[-1].num_kept == len("title: T\ndate: 2024-01-01\n\n")


def test_a_model_that_ends_its_header_gets_no_more_fields():
    model = Model([" T", ""])
    post = write_post(PostOrder(), model, has_headers=True)
    assert (post.tags, post.date, post.text) == ((), "", "title: T\n\nIt rained.")
    assert len(model.asked) == 3


def test_a_field_that_comes_early_is_kept_for_its_place():
    model = Model([" T", "date: 2024-01-01"])
    assert write_post(PostOrder(), model, has_headers=True).text == "title: T\ndate: 2024-01-01\n\nIt rained."
    model = Model([" T", "date: 2024-01-01"])
    post = write_post(PostOrder(date="1999-09-09"), model, has_headers=True)
    assert post.text == "title: T\ndate: 1999-09-09\n\nIt rained."


@pytest.mark.parametrize("line", ["Once upon a time", "title: again", "author: me", "tags:none"])
def test_a_line_that_is_no_field_is_tried_again_and_then_ends_the_header(line):
    model = Model([" T", line, "tags: a", ""])
    assert write_post(PostOrder(), model, has_headers=True).text == "title: T\ntags: a\n\nIt rained."
    post = write_post(PostOrder(), Model([" T", *[line] * TRIES]), has_headers=True)
    assert post.text == "title: T\n\nIt rained."


def test_a_date_that_is_none_is_tried_again_and_then_left_out():
    model = Model([" T", "tags: a", "date: 2024-02-30", "date: 2024-02-28"])
    assert write_post(PostOrder(), model, has_headers=True).date == "2024-02-28"
    model = Model([" T", "tags: a", *["date: soon"] * TRIES])
    post = write_post(PostOrder(), model, has_headers=True)
    assert (post.date, post.text) == ("", "title: T\ntags: a\n\nIt rained.")
    seeds = {piece.seed(5) for piece in model.asked}
    assert len(seeds) == len(model.asked)  # each try draws other numbers


def test_a_year_without_a_day_gets_one():
    post = write_post(PostOrder(), Model([" T", "tags: a", *["date: 2018-date: asked"] * TRIES]), has_headers=True)
    assert post.date.startswith("2018-") and is_date(post.date)
    assert post.text == f"title: T\ntags: a\ndate: {post.date}\n\nIt rained."
    assert post.own == "\nIt rained.", "a day that a post has must not forbid all that follows"


def test_a_body_that_begins_as_a_field_is_tried_again():
    bodies = iter(["date: mind the jars", "\ntags: a", "It rained."])
    model = Model([" T", ""])
    post = write_post(
        PostOrder(), lambda piece: model(piece) if piece.is_line else Written(next(bodies), Finish.END_OF_TEXT),
        has_headers=True,
    )  # fmt: skip
    assert post.text == "title: T\n\nIt rained."


def test_an_empty_title_is_tried_again_and_at_last_left_out():
    assert write_post(PostOrder(), Model(["", " ", " At last", ""]), has_headers=True).title == "At last"
    post = write_post(PostOrder(), Model([""] * (TRIES + 1)), has_headers=True)
    assert (post.title, post.text) == ("", "It rained.")


def test_what_begins_no_value_is_no_title_and_at_last_the_line_begins_as_the_model_will():
    model = Model(["”ging: bicycles", " Rain", ""])
    assert write_post(PostOrder(), model, has_headers=True).text == "title: Rain\n\nIt rained."
    model = Model([*["ing"] * (TRIES - 1), "title: Rain", "tags: a", ""])
    assert write_post(PostOrder(), model, has_headers=True).text == "title: Rain\ntags: a\n\nIt rained."
    assert [piece.text for piece in model.asked[:TRIES]] == [*["title:"] * (TRIES - 1), ""]


def test_a_title_that_was_cut_loses_its_last_word():
    post = write_post(
        PostOrder(tags=("a",), date="2020-01-01"), Model([" one two thr"], finish=Finish.LENGTH), has_headers=True
    )
    assert post.title == "one two"
    assert post.text.startswith("title: one two\ntags: a\n")


@pytest.mark.parametrize("cut", ["", "\ufffd"])
def test_a_title_without_blanks_that_was_cut_stays(cut):
    order = PostOrder(tags=("a",), date="2020-01-01")
    post = write_post(order, Model([f" 雪の降る夜に梟が飛ぶ{cut}"], finish=Finish.LENGTH), has_headers=True)
    assert post.title == "雪の降る夜に梟が飛ぶ"
    assert post.text.startswith(f"title: {post.title}\ntags: a\n")


def test_an_empty_body_is_tried_again():
    model = Model(body=" \n")
    post = write_post(PostOrder(title="A", tags=("b",), date="2020-02-02"), model, has_headers=True)
    assert len(model.asked) == TRIES and post.body == " "
    assert len({piece.seed(3) for piece in model.asked}) == TRIES


def test_a_model_without_headers_reads_a_title_as_the_first_line():
    model = Model()
    post = write_post(PostOrder(title="A day", tags=("x",)), model, has_headers=False)
    assert post.text == "A day\n\nIt rained."
    assert (post.title, post.tags, post.date, post.body) == ("A day", ("x",), "", "It rained.")
    assert write_post(PostOrder(), model, has_headers=False).text == "It rained."


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"title": ""}, "title"),
        ({"title": "a\nb"}, "title"),
        ({"title": "x" * 301}, "title"),
        ({"tags": ("a", "")}, "tags"),
        ({"tags": ("a, b",)}, "tags"),
        ({"tags": ("a",) * 21}, "tags"),
        ({"date": "yesterday"}, "date"),
        ({"date": "20240101"}, "date"),
        ({"opening": "x" * 20_001}, "opening"),
    ],
)
def test_what_cannot_be_given_is_named(given, named):
    with pytest.raises(InvalidRequest) as caught:
        PostOrder(**given)
    assert caught.value.field == named

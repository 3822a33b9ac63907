"""What of a text is borrowed, as the page shows it."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import generator_pb2 as pb
from services.admin import borrowed, text_events
from services.common.errors import FailedPrecondition
from tests.unit.admin.test_events import parsed


def run(start, end, **fields):
    values = {"num_tokens": end - start, "num_places": 1, "post": "blog/owls.md", "title": "Owls"} | fields
    return pb.VerbatimRun(start=start, end=end, **values)


def told(*runs, share=0.3, longest=20):
    return pb.Originality(verbatim_share=share, longest_run_tokens=longest, min_run_tokens=12, runs=runs)


def test_marks_lie_beside_each_other_where_runs_overlap():
    found = borrowed.as_json(told(run(2, 8), run(5, 12), run(6, 9), run(20, 24)), "x" * 30)
    assert found["marks"] == [
        {"start": 2, "end": 8, "run": 0},
        {"start": 8, "end": 12, "run": 1},
        {"start": 20, "end": 24, "run": 3},
    ]


def test_marks_are_counted_as_scripts_count_and_stand_after_the_prompt():
    text = "🦉🦉 owls"
    (mark,) = borrowed.as_json(told(run(3, 7)), text, prompt="🦉:")["marks"]
    script = ("🦉:" + text).encode("utf-16-le")
    assert script[2 * mark["start"] : 2 * mark["end"]].decode("utf-16-le") == "owls"


def test_pieces_are_cut_where_runs_begin_and_end_within_a_part():
    text = "0123456789abcdef"
    originality = told(run(1, 4), run(3, 6), run(2, 5), run(12, 16))
    assert borrowed.pieces(originality, text, 2, 14) == [("23", 0), ("45", 1), ("6789ab", None), ("cd", 3)]
    assert borrowed.pieces(told(), text, 2, 4) == [("23", None)]
    assert borrowed.pieces(originality, text, 7, 7) == []


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))), st.integers(0, 30))
def test_pieces_are_the_whole_text_whatever_the_runs_say(text, places, start):
    start = min(start, len(text))
    originality = told(*(run(min(place), max(place)) for place in sorted(places)))
    assert "".join(piece for piece, _ in borrowed.pieces(originality, text, start, len(text))) == text[start:]


@pytest.mark.parametrize(("part", "words"), [(0, "nothing"), (0.004, "less than 1 %"), (0.25, "25 %"), (1, "100 %")])
def test_the_share_is_told_in_three_words(part, words):
    assert borrowed.share(told(share=part)) == f"{words} borrowed"


def test_a_run_is_shown_in_its_post():
    (shown,) = borrowed.as_json(
        told(run(0, 4, excerpt="all owls fly", excerpt_start=4, excerpt_end=8, post_start=4, num_places=3)), "owls"
    )["runs"]
    assert shown == {
        "length": "4 tokens", "title": "Owls", "others": 2, "begins": True,
        "before": "all ", "text": "owls", "after": " fly",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("originality", "words", "level"),
    [
        (told(share=0, longest=7), "Nothing longer than 7 tokens stands in your posts.", 0),
        (told(run(0, 9), share=0.004), "Less than 1 % stands word for word", 1),
        (told(run(0, 9), share=0.31), "31 % stands word for word in your posts. The longest piece has 20 tokens.", 1),
        (told(run(0, 9), share=0.92), "92 %", 2),
    ],
)
def test_the_summary_says_how_much(originality, words, level):
    assert words in borrowed.summary(originality)
    assert borrowed.level(originality) == level


def deltas(originality=None):
    yield pb.GenerateDelta(start=pb.StreamStart(model=pb.ModelReference(name="owl", version=1)))
    yield pb.GenerateDelta(text=pb.TextDelta(text="an "))
    yield pb.GenerateDelta(text=pb.TextDelta(text="owl"))
    yield pb.GenerateDelta(end=pb.SampleEnd(finish_reason=pb.FINISH_REASON_LENGTH, originality=originality))
    yield pb.GenerateDelta(done=pb.StreamEnd())


def test_the_page_marks_what_is_borrowed_once_the_text_is_whole(services):
    services.generator.answer("GenerateStream", lambda request: deltas(told(run(3, 6))))
    events = parsed(text_events.lines(services, pb.GenerateRequest(prompt="Say: "), threading.Event()))
    assert "".join(data for kind, data, _ in events if kind == "text") == "an owl"
    kinds = [kind for kind, _, _ in events if kind != "text"]
    assert kinds == ["start", "originality", "end"]
    found = next(data for kind, data, _ in events if kind == "originality")
    assert found["marks"] == [{"start": 8, "end": 11, "run": 0}]


def test_a_model_without_an_index_writes_without_being_measured(services):
    def answer(request):
        if request.originality:
            raise FailedPrecondition("model owl/1 carries no index", reason="NO_INDEX")
        return deltas()

    services.generator.answer("GenerateStream", answer)
    events = parsed(text_events.lines(services, pb.GenerateRequest(), threading.Event()))
    assert [kind for kind, _, _ in events if kind != "text"] == ["start", "end"]


def test_another_refusal_is_told(services):
    services.generator.answer("GenerateStream", FailedPrecondition("no model is published yet"))
    events = parsed(text_events.lines(services, pb.GenerateRequest(), threading.Event()))
    assert [kind for kind, _, _ in events] == ["problem"]

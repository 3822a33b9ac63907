"""Stop texts across token borders."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.generator.stops import StopMatcher


def _cut(text: str, stops: list[str], sizes: list[int]) -> tuple[str, str]:
    """Push `text` in pieces and return what came out and the stop that was found."""
    matcher = StopMatcher(stops)
    out, at = "", 0
    for size in [*sizes, len(text)]:
        out += matcher.push(text[at : at + size])
        at += size
    return out + matcher.flush(), matcher.found


def test_text_before_a_stop_comes_out_and_the_stop_does_not() -> None:
    matcher = StopMatcher(["END"])

    assert [matcher.push(piece) for piece in ("the E", "ag", "le E", "N", "D of")] == [
        "the ",
        "Eag",
        "le ",
        "",
        "",
    ]
    assert matcher.found == "END"
    assert matcher.push("more") == ""


def test_without_stops_everything_comes_out_at_once() -> None:
    assert StopMatcher([]).push("text") == "text"


def test_a_beginning_of_a_stop_comes_out_when_the_text_ends() -> None:
    matcher = StopMatcher(["\n\n"])
    assert matcher.push("line\n") == "line"
    assert matcher.flush() == "\n"


def test_of_two_stops_the_one_that_begins_first_wins() -> None:
    assert _cut("a b c", ["c", "b"], []) == ("a ", "b")


@given(
    text=st.text("ab", max_size=30),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
    sizes=st.lists(st.integers(0, 5), max_size=12),
)
def test_how_the_text_is_cut_never_leaks_a_stop(text: str, stops: list[str], sizes: list[int]) -> None:
    out, found = _cut(text, stops, sizes)

    assert not any(stop in out for stop in stops)
    assert text.startswith(out + found)
    assert bool(found) == any(stop in text for stop in stops)


@given(
    text=st.text("ab", max_size=30),
    stop=st.text("ab", min_size=1, max_size=4),
    sizes=st.lists(st.integers(0, 5), max_size=12),
)
def test_a_single_stop_cuts_where_it_first_stands(text: str, stop: str, sizes: list[int]) -> None:
    out, _ = _cut(text, [stop], sizes)
    assert out == text.split(stop)[0]

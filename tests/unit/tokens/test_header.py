"""The header in front of a document."""

from __future__ import annotations

from services.tokens.header import compose_header


def test_a_header_has_a_line_for_each_value_and_a_blank_line() -> None:
    assert compose_header("A walk", ["river", "mud"], "2024-03-01") == (
        "title: A walk\ntags: river, mud\ndate: 2024-03-01\n\n"
    )


def test_missing_values_have_no_line_and_an_empty_header_is_empty() -> None:
    assert compose_header(title="A walk") == "title: A walk\n\n"
    assert compose_header(tags=[""], date=" ") == ""
    assert compose_header() == ""


def test_line_breaks_in_values_cannot_forge_lines() -> None:
    assert compose_header("A\ndate: 1999-01-01", ["x\ny"]) == "title: A date: 1999-01-01\ntags: x y\n\n"

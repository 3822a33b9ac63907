"""Originality as the page's script reads it: which pieces of a text are borrowed, and what the posts say there."""

from __future__ import annotations

from typing import Any

from protos import generator_pb2
from services.admin import words


def as_json(originality: generator_pb2.Originality, text: str, prompt: str = "") -> dict[str, Any]:
    """What is to be shown of a text.

    Args:
        text: of the sample.
        prompt: stands before it on the page.

    Returns:
        `summary` in words, `level` 0 to 2, `marks` (start, end and run, none over another, counted as scripts count
        in prompt and text), and `runs`, each with what stands around it in its post.
    """
    marks, done = [], 0
    before = script_length(prompt)
    for number, run in enumerate(originality.runs):
        start, done = max(run.start, done), max(run.end, done)
        if start < done:
            first = before + script_length(text[:start])
            marks.append({"start": first, "end": first + script_length(text[start:done]), "run": number})
    return {
        "summary": summary(originality),
        "level": level(originality),
        "marks": marks,
        "runs": [_run(run) for run in originality.runs],
    }


def pieces(originality: generator_pb2.Originality, text: str, start: int, end: int) -> list[tuple[str, int | None]]:
    """A part of a text cut where runs begin and end: each piece, and the number of the run that it stands in, if any.

    Args:
        text: of which originality tells.
        start, end: of the part, in characters.
    """
    cut: list[tuple[str, int | None]] = []
    done = start
    for number, run in enumerate(originality.runs):
        first, last = max(run.start, done), min(run.end, end)
        if first < last:
            cut += [(text[done:first], None), (text[first:last], number)]
            done = last
    return [piece for piece in [*cut, (text[done:end], None)] if piece[0]]


def share(originality: generator_pb2.Originality) -> str:
    """How much is borrowed, in three words."""
    if not originality.verbatim_share:
        return "nothing borrowed"
    return f"{_percent(originality.verbatim_share)} borrowed"


def summary(originality: generator_pb2.Originality) -> str:
    """A sentence for people."""
    longest = words.plural(originality.longest_run_tokens, "token")
    if not originality.runs:
        return f"Nothing longer than {longest} stands in your posts."
    shown = _percent(originality.verbatim_share)
    return f"{shown[0].upper()}{shown[1:]} stands word for word in your posts. The longest piece has {longest}."


def _percent(part: float) -> str:
    return "less than 1 %" if part < 0.01 else f"{part * 100:.0f} %"


def level(originality: generator_pb2.Originality) -> int:
    """0: its own words. 1: some are borrowed. 2: half of it or more is recited."""
    return 0 if not originality.runs else 1 if originality.verbatim_share < 0.5 else 2


def script_length(text: str) -> int:
    """Length in UTF-16 units, which is how a browser's script counts."""
    return len(text.encode("utf-16-le")) // 2


def _run(run: generator_pb2.VerbatimRun) -> dict[str, Any]:
    return {
        "length": words.plural(run.num_tokens, "token"),
        "title": run.title or run.post,
        "others": run.num_places - 1,
        "begins": run.post_start == run.excerpt_start,
        "before": run.excerpt[: run.excerpt_start],
        "text": run.excerpt[run.excerpt_start : run.excerpt_end],
        "after": run.excerpt[run.excerpt_end :],
    }

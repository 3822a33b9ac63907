"""Originality in words: what of a sample stands in the posts that the model learned, and in which."""

from __future__ import annotations

from protos import generator_pb2
from services.client.commands import terminal

SHOWN_RUNS = 5
QUOTED = 60  # characters of a run


def spans(originality: generator_pb2.Originality) -> list[tuple[int, int]]:
    """Where the runs stand in the sample's text."""
    return [(run.start, run.end) for run in originality.runs]


def show_post(answer: generator_pb2.GeneratePostResponse) -> None:
    """Print a post with what it borrowed marked, and say how much that is, where it was measured."""
    terminal.print_post(answer.text or answer.body, marked=spans(answer.originality))
    if answer.HasField("originality"):
        note(answer.text, answer.originality)


def note(text: str, originality: generator_pb2.Originality, title: str = "") -> None:
    """Say on standard error how much of a sample is borrowed, and from where.

    Args:
        text: of the sample, without its prompt.
        title: which sample, where there are several.
    """
    least, longest = originality.min_run_tokens, originality.longest_run_tokens
    about = f"{title}: " if title else ""
    if not originality.runs:
        terminal.note(
            f"{about}no run of {least} tokens or more stands in the posts it learned (longest: {longest} tokens)"
        )
        return
    share = originality.verbatim_share
    terminal.note(
        f"{about}{share:.0%} stands word for word in the posts it learned, in runs of {least} tokens or more; "
        f"longest run: {longest} tokens"
    )
    for run in sorted(originality.runs, key=lambda run: -run.num_tokens)[:SHOWN_RUNS]:
        quoted = " ".join(text[run.start : run.end].split())
        shown = quoted if len(quoted) <= QUOTED else f"{quoted[:QUOTED].rstrip()} …"
        times = f", {run.num_places} times in all" if run.num_places > 1 else ""
        terminal.note(f"  {run.num_tokens} tokens of {run.title or run.post!r}{times}: “{shown}”")
    if len(originality.runs) > SHOWN_RUNS:
        terminal.note(f"  and {terminal.count(len(originality.runs) - SHOWN_RUNS, 'more run')}; --json has all")

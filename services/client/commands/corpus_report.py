"""`nonesuch corpus report`: what there is to learn from, what was left out, and what to expect of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from protos import corpus_pb2
from services.client import expectations
from services.client.commands import terminal
from services.client.commands.plain import enum_name, plain
from services.client.commands.posts import corpus_option
from services.client.corpus_size import Size, measure
from services.client.nonesuch import Nonesuch
from services.client.timeline import MONTHS, YEARS, bars

REPORT_S = 300.0  # every document is read
MOST_BARS = 24
BAR_WIDTH = 40
NUM_LONGEST = 5
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_DUPLICATES = (corpus_pb2.REASON_CODE_DUPLICATE, corpus_pb2.REASON_CODE_NEAR_DUPLICATE)


@click.command(short_help="Say how much there is, and what to expect of it.")
@corpus_option
@terminal.json_option
@click.pass_obj
def report(nonesuch: Nonesuch, corpus: str, as_json: bool) -> None:
    """Describe a corpus: how much there is, what was left out and why, and what to expect of it."""
    request = corpus_pb2.GetCorpusReportRequest(corpus=corpus)
    found = nonesuch.connection.corpus.GetCorpusReport(request, timeout_s=REPORT_S).report
    size = measure(nonesuch.connection, found)
    if as_json:
        terminal.print_json(_values(found, size))
        return
    _print_amount(found, size)
    _print_languages(found.languages)
    _print_reasons("Left out", found.left_out)
    _print_reasons("Mended or noticed", found.noted)
    _print_duplicates(found)
    _print_longest(found.longest)
    _print_leftovers(found.leftovers)
    _print_timeline(found)
    _print_expectations(found, size)


def _values(found: corpus_pb2.CorpusReport, size: Size) -> dict[str, object]:
    expected = expectations.expect(size.gpt2_tokens)
    return plain(found) | {
        "num_tokens": size.num_tokens,
        "num_tokens_estimated": not size.vocabulary,
        "vocabulary": size.vocabulary,
        "expectations": [{"base": each.base, "outlook": each.outlook, "sentence": each.sentence} for each in expected],
        "advice": expectations.advice(size.gpt2_tokens, found.num_documents),
    }


def _print_amount(found: corpus_pb2.CorpusReport, size: Size) -> None:
    left_out = found.num_posts - found.num_documents
    counted = f"counted with vocabulary {size.vocabulary}" if size.vocabulary else "estimated from words and bytes"
    dates = " to ".join(dict.fromkeys(date for date in (found.first_date, found.last_date) if date))
    undated = f"{found.num_undated:,} without a date" if found.num_undated else ""
    terminal.facts(
        [
            ("corpus", found.corpus),
            ("posts", f"{found.num_posts:,}" + (f", {left_out:,} left out" if left_out else "")),
            ("documents", f"{found.num_documents:,}"),
            ("words", f"{found.num_words:,}"),
            ("text", terminal.size(found.num_bytes)),
            ("tokens", f"{'' if size.vocabulary else 'about '}{size.num_tokens:,} ({counted})"),
            ("dates", ", ".join(part for part in (dates, undated) if part)),
        ]
    )


def _print_languages(languages: Sequence[corpus_pb2.LanguageCount]) -> None:
    if not languages or [entry.language for entry in languages] == [""]:
        return
    terminal.heading("Languages")
    rows = [
        [entry.language or "too short to tell", f"{entry.num_documents:,}", f"{entry.num_words:,}"]
        for entry in languages
    ]
    terminal.table(["LANGUAGE", "DOCUMENTS", "WORDS"], rows, right=["DOCUMENTS", "WORDS"])


def _print_reasons(heading: str, reasons: Sequence[corpus_pb2.ReasonCount]) -> None:
    if reasons:
        terminal.heading(heading)
        rows = [[_reason(entry), f"{entry.num_posts:,}", _some(entry.examples, entry.num_posts)] for entry in reasons]
        terminal.table(["WHY", "POSTS", "SUCH AS"], rows, right=["POSTS"])


def _print_duplicates(found: corpus_pb2.CorpusReport) -> None:
    """Those that are left out, and those that are kept and noticed."""
    same, near = _DUPLICATES
    out = {entry.code: entry.num_posts for entry in found.left_out}
    noted = {entry.code: entry.num_posts for entry in found.noted}
    parts = [
        f"{number:,} {what}"
        for number, what in (
            (out.get(same, 0), "left out, with the same text as another"),
            (out.get(near, 0), "left out, with nearly the same text as another"),
            (noted.get(near, 0), "kept, with nearly the same text as another"),
        )
        if number
    ]
    terminal.heading("Duplicates")
    terminal.say("; ".join(parts) or "none was found")


def _print_longest(longest: Sequence[corpus_pb2.Post]) -> None:
    if longest:
        terminal.heading("Longest")
        rows = [[f"{post.num_words:,}", post.title, post.path] for post in longest[:NUM_LONGEST]]
        terminal.table(["WORDS", "TITLE", "PATH"], rows, right=["WORDS"])


def _print_leftovers(leftovers: Sequence[corpus_pb2.LeftoverMarkup]) -> None:
    terminal.heading("Left-over markup")
    if not leftovers:
        terminal.say("none was found")
        return
    rows = [[entry.kind, f"{entry.num_documents:,}", entry.example, entry.path] for entry in leftovers]
    terminal.table(["KIND", "DOCUMENTS", "SUCH AS", "IN"], rows, right=["DOCUMENTS"])


def _print_timeline(found: corpus_pb2.CorpusReport) -> None:
    drawn = bars(found.months, MOST_BARS, units=(MONTHS, YEARS, 10 * YEARS, 100 * YEARS))
    if not drawn:
        return
    terminal.heading(f"Over time, posts per {drawn[0].unit}")
    most = max(bar.num_documents for bar in drawn)
    width = max(len(bar.label) for bar in drawn)
    figure = len(f"{most:,}")
    for bar in drawn:
        line = f"{bar.label:>{width}}  {bar.num_documents:>{figure},}  {_bar(bar.num_documents / most)}"
        terminal.say(line.rstrip())


def _bar(share: float) -> str:
    """A bar of up to BAR_WIDTH columns, to an eighth of a column; what is not nothing is seen."""
    eighths = max(round(share * BAR_WIDTH * 8), 1 if share else 0)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _print_expectations(found: corpus_pb2.CorpusReport, size: Size) -> None:
    terminal.heading("What to expect")
    expected = expectations.expect(size.gpt2_tokens)
    width = max(len(each.base) for each in expected)
    for each in expected:
        terminal.paragraph(f"{each.base:<{width}}  {each.sentence}", indent=" " * (width + 2))
    terminal.say()
    terminal.paragraph(expectations.advice(size.gpt2_tokens, found.num_documents))


def _reason(entry: corpus_pb2.ReasonCount) -> str:
    return enum_name(entry, "code").lower().replace("_", " ")


def _some(paths: Iterable[str], number: int) -> str:
    """The first two paths, and how many more there are."""
    shown = list(paths)[:2]
    more = number - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")

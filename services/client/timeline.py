"""A timeline: counts by month -> as many bars as fit, each a month, a quarter, a year or longer.

In: what a corpus's report says of its months. Out: bars in order, those without documents too. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protos import corpus_pb2

MONTHS, QUARTERS, YEARS = 1, 3, 12
_UNITS = (MONTHS, QUARTERS, YEARS, 5 * YEARS, 10 * YEARS, 50 * YEARS, 100 * YEARS, 1000 * YEARS, 10_000 * YEARS)
_NAMES = {MONTHS: "month", QUARTERS: "quarter", YEARS: "year"}


@dataclass(frozen=True, slots=True)
class Bar:
    """What is dated in a stretch of time.

    Args:
        label: `2019-03`, `2019 Q1`, `2019` or `2010-2019`.
        unit: the stretch in words: `month`, `quarter`, `year`, `10 years`.
    """

    label: str
    unit: str
    num_documents: int
    num_words: int


def bars(months: Sequence[corpus_pb2.MonthCount], most: int, units: Iterable[int] = _UNITS) -> list[Bar]:
    """At most `most` bars of the shortest unit that makes so few; none without months.

    Args:
        months: every month from the first to the last.
        units: lengths to choose from, in months, the longest last.
    """
    if not months:
        return []
    numbered = [(int(month.month[:4]) * 12 + int(month.month[5:]) - 1, month) for month in months]
    first, last = numbered[0][0], numbered[-1][0]
    unit = next((unit for unit in units if last // unit - first // unit < most), _UNITS[-1])
    counts = {number: [0, 0] for number in range(first // unit, last // unit + 1)}
    for number, month in numbered:
        counts[number // unit][0] += month.num_documents
        counts[number // unit][1] += month.num_words
    words = _NAMES.get(unit) or f"{unit // YEARS:,} years"
    return [Bar(_label(number, unit), words, *count) for number, count in counts.items()]


def _label(number: int, unit: int) -> str:
    year, month = divmod(number * unit, 12)
    if unit == MONTHS:
        return f"{year:04}-{month + 1:02}"
    if unit == QUARTERS:
        return f"{year:04} Q{month // 3 + 1}"
    return f"{year:04}" if unit == YEARS else f"{year:04}-{year + unit // 12 - 1:04}"

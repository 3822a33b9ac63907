import pytest

from protos import corpus_pb2
from services.client.timeline import MONTHS, YEARS, bars


def months(first, last, **counts):
    """Every month from first to last, YYYY-MM; counts as `m2019_03=4`."""
    start, end = (int(text[:4]) * 12 + int(text[5:]) - 1 for text in (first, last))
    names = [f"{number // 12:04}-{number % 12 + 1:02}" for number in range(start, end + 1)]
    found = {name: counts.get(f"m{name.replace('-', '_')}", 0) for name in names}
    return [corpus_pb2.MonthCount(month=name, num_documents=n, num_words=n * 10) for name, n in found.items()]


def test_a_short_span_has_a_bar_a_month_empty_ones_included():
    drawn = bars(months("2018-11", "2019-02", m2018_11=2, m2019_02=1), 24)

    assert [(bar.label, bar.num_documents, bar.num_words) for bar in drawn] == [
        ("2018-11", 2, 20), ("2018-12", 0, 0), ("2019-01", 0, 0), ("2019-02", 1, 10),
    ]  # fmt: skip


def test_a_longer_span_has_a_bar_a_quarter_or_a_year():
    quarters = bars(months("2018-02", "2019-12", m2018_02=1, m2018_03=2, m2018_04=4), 8)
    years = bars(months("2018-02", "2021-01", m2018_02=1, m2018_12=2, m2021_01=4), 8, units=(MONTHS, YEARS))

    assert [bar.label for bar in quarters][:2] == ["2018 Q1", "2018 Q2"]
    assert {bar.unit for bar in quarters} == {"quarter"} and {bar.unit for bar in years} == {"year"}
    assert [bar.num_documents for bar in quarters][:2] == [3, 4]
    assert [(bar.label, bar.num_documents) for bar in years] == [("2018", 3), ("2019", 0), ("2020", 0), ("2021", 4)]


def test_a_mistyped_year_does_not_make_thousands_of_bars():
    drawn = bars(months("0201-05", "2024-01", m0201_05=1, m2024_01=3), 60)

    assert len(drawn) <= 60
    assert drawn[0].label == "0200-0249"
    assert sum(bar.num_documents for bar in drawn) == 4


@pytest.mark.parametrize("most", [12, 24, 120])
@pytest.mark.parametrize("last", ["2000-01", "2000-12", "2011-06", "2080-01", "9999-12"])
def test_there_are_never_more_bars_than_wanted_and_no_document_is_lost(most, last):
    counted = months("2000-01", last, m2000_01=5)

    drawn = bars(counted, most)

    assert 0 < len(drawn) <= most
    assert sum(bar.num_documents for bar in drawn) == 5


def test_no_months_are_no_bars():
    assert bars([], 24) == []

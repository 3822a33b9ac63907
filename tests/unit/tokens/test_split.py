"""The split: stable as posts come and go, near the fraction asked for, never empty on either side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tokens.split import split_documents

IDS = [f"blog/post-{n}.md" for n in range(2000)]


def test_the_share_is_near_the_fraction() -> None:
    assert split_documents(IDS, 0.1).mean() == pytest.approx(0.1, abs=0.03)


def test_adding_posts_moves_no_other_post() -> None:
    before = dict(zip(IDS[::3], split_documents(IDS[::3], 0.1), strict=True))
    after = dict(zip(IDS, split_documents(IDS, 0.1), strict=True))

    assert all(after[post] == side for post, side in before.items())


@given(st.sets(st.text(max_size=8), min_size=2, max_size=8), st.sampled_from([0.001, 0.1, 0.5, 0.999]))
def test_neither_side_of_two_or_more_documents_is_empty(ids: set[str], fraction: float) -> None:
    sides = split_documents(sorted(ids), fraction)

    assert 0 < sides.sum() < len(sides)


@pytest.mark.parametrize(("ids", "fraction"), [([], 0.1), (["only.md"], 0.9), (["a", "b"], 0.0)])
def test_nothing_is_held_out_of_one_document_or_at_fraction_zero(ids: list[str], fraction: float) -> None:
    assert not split_documents(ids, fraction).any()

"""The split: stable as posts come and go, near the fraction asked for, never empty on either side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tokens.split import TRAIN, VALIDATION, position_of
from services.tokens.split import split_documents as split_pairs


def split_documents(ids: list[str], fraction: float) -> np.ndarray:
    return split_pairs(((document_id, None) for document_id in ids), fraction)


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


@given(st.sets(st.text(max_size=8), min_size=2, max_size=8))
def test_where_all_would_be_learned_from_the_smallest_hash_is_held_out(ids: set[str]) -> None:
    ordered = sorted(ids)

    held_out = [ordered[number] for number in split_documents(ordered, 1e-12).nonzero()[0]]

    assert held_out == [min(ordered, key=position_of)]


@given(st.lists(st.tuples(st.text(max_size=4), st.sampled_from([None, TRAIN, VALIDATION])), max_size=8))
def test_a_side_that_is_told_is_kept(documents: list[tuple[str, int | None]]) -> None:
    sides = split_pairs(documents, 0.3)

    assert all(told in (None, side) for (_, told), side in zip(documents, sides, strict=True))

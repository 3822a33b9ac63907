"""The index answers as a search of the whole corpus does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.tokens import suffix_search
from services.tokens.corpus_index import NOWHERE
from services.tokens.index_files import SUFFIXES_FILE
from services.tokens.suffixes import sort_suffixes
from tests.unit.tokens.brute_force import END, make_index, places, runs

DTYPES = st.sampled_from([np.uint16, np.uint32])
few_ids = st.integers(0, 2)
texts = st.lists(few_ids, max_size=12)
corpora = st.lists(texts, min_size=1, max_size=5)
with_repeats = st.builds(lambda corpus, times: corpus * times, corpora, st.integers(1, 3))


@given(with_repeats, DTYPES)
def test_suffixes_stand_in_the_order_of_the_text_to_the_documents_end(corpus, dtype):
    tokens = np.array([token for document in corpus for token in (*document, END)], dtype)
    ends = np.cumsum([len(document) + 1 for document in corpus])

    def text_from(position):
        return tokens[position : ends[np.searchsorted(ends, position, side="right")]].tolist(), position

    assert sort_suffixes(tokens, ends).tolist() == sorted(range(len(tokens)), key=text_from)


@given(with_repeats, st.lists(st.integers(0, END + 1), min_size=1, max_size=6), DTYPES)
def test_a_run_is_found_wherever_it_stands_and_what_follows_it(corpus, ids, dtype):
    index = make_index(corpus, dtype)
    expected = places(corpus, ids)
    found = index.find(ids)
    assert found.num_places == len(expected)
    assert sorted(index.places(found, 100)) == expected
    following = Counter([*corpus[number], END][start + len(ids)] for number, start in expected)
    assert index.followers(found) == dict(sorted(following.items()))
    for token_id in range(END + 2):
        assert index.longer(found, token_id).num_places == len(places(corpus, [*ids, token_id]))


@given(with_repeats, DTYPES)
def test_what_follows_an_id_most_often_is_known(corpus, dtype):
    index = make_index(corpus, dtype)
    for token_id in range(END + 2):
        following = index.followers(index.find([token_id]))
        commonest = index.commonest_after(token_id)
        assert commonest == index.commonest_after(token_id)  # kept
        assert following[commonest] == max(following.values()) if following else commonest == -1


def test_of_many_places_some_tell_what_is_commonest():
    index = make_index([[0, 1]] * 40 + [[0, 2]] * (3 * suffix_search.LOOKS) + [[0, 3]] * 40)
    assert index.commonest_after(0) == 2


@given(with_repeats, st.lists(st.integers(0, END), max_size=30))
def test_runs_of_a_text_are_all_that_cannot_be_made_longer(corpus, text):
    index = make_index(corpus)
    found = index.runs(text)
    assert [(run.start, run.length) for run in found] == runs(corpus, text)
    for run in found:
        assert run.found.num_places == len(places(corpus, text[run.start : run.start + run.length]))


@given(with_repeats, st.lists(st.integers(0, END), max_size=30))
def test_the_longest_end_of_a_text_is_found(corpus, text):
    found = make_index(corpus).longest_end(text)
    ends = [length for length in range(1, len(text) + 1) if places(corpus, text[-length:])]
    assert found.length == max(ends, default=0)
    assert found.num_places == (len(places(corpus, text[-found.length :])) if ends else 0)


@given(with_repeats, st.lists(st.integers(0, END), max_size=30))
def test_the_longest_end_is_found_as_well_from_the_one_before(corpus, text):
    index, run = make_index(corpus), NOWHERE
    for end, token_id in enumerate(text):
        run = index.longest_after(run, text[end - run.length : end], token_id)
        assert run == index.longest_end(text[: end + 1])


def test_no_run_reaches_from_one_document_into_the_next():
    index = make_index([[1, 2], [3, 4]])
    assert index.find([2]).num_places == index.find([3]).num_places == 1
    assert all(index.find(ids).num_places == 0 for ids in ([2, 3], [2, END], [END]))
    assert index.followers(index.find([2])) == {END: 1}


def test_of_many_followers_and_places_the_first_are_told():
    index = make_index([[0, 4], [0, 1], [0, 2], [0, 1]])
    found = index.find([0])
    assert index.followers(found, most=2) == {1: 2, 2: 1}
    assert len(index.places(found, most=3)) == 3


def test_texts_of_any_kind_of_array_are_searched_by_the_same_compiled_code():
    ids = np.array([1, 0, 2, 0, 9, 0])
    read_only = ids[::2].copy()
    read_only.flags.writeable = False
    index = make_index([[1, 2, 3]])
    expected, compiled = index.runs([1, 2, 9]), len(suffix_search.runs.signatures)
    assert index.runs(ids[::2]) == index.runs(read_only) == index.runs(ids[::2].astype(np.uint16)) == expected
    assert len(suffix_search.runs.signatures) == compiled


def test_an_index_takes_at_most_eight_bytes_a_token(tmp_path: Path):
    tokens = np.tile(np.arange(END + 1, dtype=np.uint32), 1000)
    ends = np.arange(1, 1001) * (END + 1)
    np.save(tmp_path / "tokens.npy", tokens)
    np.save(tmp_path / SUFFIXES_FILE, sort_suffixes(tokens, ends))
    headers = 2 * 128
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) - headers <= 8 * len(tokens)

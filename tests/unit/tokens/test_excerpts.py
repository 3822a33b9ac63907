"""What stands around a run is told with the characters that the run has in the text, wherever it begins."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.tokens.corpus_index import Place
from services.tokens.excerpts import Excerpts
from services.tokens.originality import measure
from tests.unit.generator.fakes import END, codec
from tests.unit.tokens.brute_force import make_index

CODEC = codec()  # a token is a byte
RIVER = "The river was high that day, and the ferry lay idle."
WINTER = "Schnee fiel. Überall lag the ferry lay idle, im Hafen."
INDEX = make_index([list(text.encode()) for text in (RIVER, WINTER)], end=END)
EXCERPTS = Excerpts(INDEX, CODEC)


def excerpt(text, around=40):
    """Around the first run of a text."""
    run = measure(text, CODEC, INDEX).runs[0]
    return EXCERPTS.of(run.place, run.num_ids, around)


def test_an_excerpt_shows_the_run_in_its_post():
    shown = excerpt("Q Überall lag Q", around=8)
    assert shown.text == "ee fiel. Überall lag the ferr"
    assert shown.text[shown.start : shown.end] == " Überall lag "
    assert WINTER[shown.post_start :].startswith(" Überall lag ")


def test_an_excerpt_stays_in_its_document():
    assert excerpt("lay idle, im Hafen.", around=1000).text == WINTER


@given(st.lists(st.text(alphabet="雪露é🦉a"), min_size=1, max_size=4), st.data())
def test_characters_in_part_are_told_whole(texts, data):
    number = data.draw(st.sampled_from(range(len(texts))))
    text = texts[number]
    size = len(text.encode())
    first = data.draw(st.integers(0, size))
    last = data.draw(st.integers(first, size))
    around = data.draw(st.integers(0, 9))
    ends = [len(text[:end].encode()) for end in range(len(text) + 1)]
    touched = [i for i in range(len(text)) if ends[i] < last and ends[i + 1] > first]
    if touched:
        index = make_index([list(text.encode()) for text in texts], end=END)
        shown = Excerpts(index, CODEC).of(Place(number, first), last - first, around)
        assert shown.text[shown.start : shown.end] == text[touched[0] : touched[-1] + 1]
        assert shown.post_start == touched[0]
        assert text[shown.post_start - shown.start :].startswith(shown.text)


def test_no_document_is_decoded_from_its_beginning():
    decoded = []

    class Watched:
        vocabulary = CODEC.vocabulary

        def decode_bytes(self, ids):
            decoded.append(len(ids))
            return CODEC.decode_bytes(ids)

        def decode_each(self, ids):
            decoded.append(len(ids))
            return CODEC.decode_each(ids)

    book = "Überall lag Schnee. " * 20_000
    tokens = np.frombuffer(book.encode(), np.uint8)
    index = make_index([list(b"before"), tokens.tolist()], end=END)
    shown = Excerpts(index, Watched()).of(Place(1, len(tokens) - 8), 8)
    assert shown.post_start == len(book) - 8
    assert shown.text[shown.start : shown.end] == "Schnee. "
    assert sum(decoded) < 500

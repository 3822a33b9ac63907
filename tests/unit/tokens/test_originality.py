"""What a text has from the corpus is told exactly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.tokens.header import compose_header, name_spans
from services.tokens.originality import counted_tokens, covering, measure, token_edges, whole_characters
from tests.unit.generator.fakes import END, codec
from tests.unit.tokens.brute_force import make_index, places, runs

CODEC = codec()  # a token is a byte
RIVER = compose_header("The river", ["water"], "2024-03-01") + "The river was high that day, and the ferry lay idle."
WINTER = compose_header("Winter", [], "2023-12-24") + "Schnee fiel. Überall lag the ferry lay idle, im Hafen."
DOCUMENTS = [list(text.encode()) for text in (RIVER, WINTER)]
INDEX = make_index(DOCUMENTS, end=END)


def pieces(text, min_run=12):
    """The runs as text."""
    return [text[run.start : run.end] for run in measure(text, CODEC, INDEX, min_run).runs]


def test_planted_runs_are_told_and_nothing_else():
    text = "Q: Schnee fiel. Überall lag Q, Q: was high that day, Q"
    found = measure(text, CODEC, INDEX)
    assert pieces(text) == [" Schnee fiel. Überall lag "[1:], " was high that day, "]
    assert [run.num_tokens for run in found.runs] == [len("Schnee fiel. Überall lag ".encode()), 20]
    assert [(run.place.document, run.num_places) for run in found.runs] == [(1, 1), (0, 1)]
    assert found.longest_run == found.runs[0].num_tokens
    assert found.verbatim_share == sum(run.num_tokens for run in found.runs) / len(text.encode())
    assert found.nearest == 1


def test_runs_that_overlap_count_once_in_the_share():
    text = "that day, and the ferry lay idle, im Hafen"
    assert pieces(text) == ["that day, and the ferry lay idle", " the ferry lay idle, im Hafen"]
    assert measure(text, CODEC, INDEX).verbatim_share == 1.0


@given(st.lists(st.text(alphabet="ab", max_size=12), min_size=1, max_size=4), st.text(alphabet="ab", max_size=40))
def test_the_runs_that_cover_a_text_cover_all_of_it_and_nothing_more_than_twice(texts, text):
    runs_of = measure(text, CODEC, make_index([list(post.encode()) for post in texts], end=END), min_run=2).runs
    covered = [sum(run.start <= place < run.end for run in runs_of) for place in range(len(text))]
    fewer = [sum(run.start <= place < run.end for run in covering(runs_of)) for place in range(len(text))]
    assert [bool(count) for count in fewer] == [bool(count) for count in covered]
    assert max(fewer, default=0) <= 2


def test_a_shorter_run_is_told_as_the_longest_only():
    found = measure("Q was high Q", CODEC, INDEX)
    assert (found.runs, found.longest_run, found.verbatim_share, found.nearest) == ((), 10, 0.0, None)


def test_a_text_without_tokens_has_nothing_from_the_corpus():
    assert measure("", CODEC, INDEX).verbatim_share == 0.0


def test_the_names_of_header_fields_do_not_count():
    text = "title: Q\ntags: Q\ndate: Q\n\nQ"
    assert pieces(text, min_run=3) == []
    assert measure(text, CODEC, INDEX).longest_run <= 2
    # Of a whole header that stands in the corpus, what the author chose does.
    header = compose_header("The river", ["water"], "2024-03-01")
    assert measure(header, CODEC, INDEX).longest_run == len("The riverwater2024-03-01")


@given(st.text(), st.lists(st.text()), st.text(), st.text())
def test_names_of_fields_are_all_that_a_header_adds(title, tags, date, body):
    header = compose_header(title, tags, date)
    text = header + "." + body
    spans = name_spans(text)
    named = "".join(text[start:end] for start, end in spans)
    names = [name for name in ("title", "tags", "date") if f"{name}: " in header]
    if header and all(header.count(f"{name}: ") == 1 for name in names):
        assert named == "\n".join(f"{name}: " for name in names) + "\n\n"


def test_a_text_without_a_header_has_no_names():
    assert name_spans("A story\ntitle: no\n") == name_spans("") == []


def test_what_the_author_wrote_counts_to_its_last_byte():
    # A byte of a character of three stands alone in a token, and a line end is behind it.
    text = "title: 雪 鼠\n\nBody"
    assert counted(text) == "雪 鼠Body"
    assert counted("\ntags: 雪", before="title: 鼠") == "雪"


def counted(text, before=""):
    """The bytes of a text that count, each a token."""
    ids = CODEC.encode(text)
    counts = counted_tokens(text, token_edges(ids, CODEC), before).tolist()
    return CODEC.decode([token for token, is_counted in zip(ids, counts, strict=True) if is_counted])


@given(st.text(), st.lists(st.text()), st.text(), st.data())
def test_a_piece_of_a_document_has_the_names_that_it_has_there(title, tags, body, data):
    text = compose_header(title, tags, "") + body
    cut = data.draw(st.integers(0, len(text)))
    ids = CODEC.encode(text)
    whole = counted_tokens(text, token_edges(ids, CODEC)).tolist()
    piece = counted_tokens(text[cut:], token_edges(CODEC.encode(text[cut:]), CODEC), text[:cut]).tolist()
    assert piece == whole[len(text[:cut].encode()) :]


def test_names_of_a_header_that_the_prompt_began_do_not_count():
    header = compose_header("Q", ["Q"], "2024-03-01")
    prompt, sample = header[:8], header[8:]
    assert measure(sample, CODEC, INDEX, min_run=1).longest_run > len("2024-03-01")
    assert measure(sample, CODEC, INDEX, min_run=1, before=prompt).longest_run == len("2024-03-01")
    # The prompt itself is not compared.
    found = measure(" lay idle", CODEC, INDEX, min_run=1, before="title: Q\n\nthe ferry")
    assert [(run.start, run.end) for run in found.runs] == [(0, len(" lay idle"))]


@given(st.text(alphabet="雪露鼠é🦉a", max_size=12), st.data())
def test_a_character_that_lies_in_tokens_in_part_counts_to_them(text, data):
    size = len(text.encode())
    first = data.draw(st.integers(0, max(0, size - 1)))
    last = data.draw(st.integers(min(first + 1, size), size))
    ends = [len(text[:end].encode()) for end in range(len(text) + 1)]
    touched = [i for i in range(len(text)) if ends[i] < last and ends[i + 1] > first]
    found = whole_characters(token_edges(CODEC.encode(text), CODEC), first, last)
    assert found == ((touched[0], touched[-1] + 1) if touched else (0, 0))


def test_a_run_inside_a_character_is_not_empty():
    first, other = "雨", "蛨"  # alike in the last two of three bytes
    index = make_index([list(other.encode())], end=END)
    (run,) = measure(first, CODEC, index, min_run=1).runs
    assert (run.start, run.end, run.num_tokens) == (0, 1, 2)


posts = st.lists(st.text(alphabet="ab雪雨", max_size=10), min_size=1, max_size=4)


@given(posts, st.text(alphabet="ab雪雨", max_size=20), st.integers(1, 4))
def test_the_nearest_document_holds_most_distinct_tokens(texts, text, min_run):
    documents = [list(post.encode()) for post in texts]
    ids = list(text.encode())
    found = measure(text, CODEC, make_index(documents, end=END), min_run)
    covered = [set() for _ in documents]
    for start, length in runs(documents, ids):
        if length >= min_run:
            for document, _ in places(documents, ids[start : start + length]):
                covered[document].update(range(start, start + length))
    sizes = [len(tokens) for tokens in covered]
    assert found.nearest == (sizes.index(max(sizes)) if any(sizes) else None)
    assert [run.place for run in found.runs] == [
        min(places(documents, ids[start : start + length]))
        for start, length in runs(documents, ids)
        if length >= min_run
    ]


def test_runs_that_overlap_count_once_for_the_nearest_document():
    text = "".join(map(chr, range(97, 97 + 26)))
    overlapping = text[:14] + "!" + text[1:15] + "!" + text[2:16]
    index = make_index([list(overlapping.encode()), list(text[3:].encode())], end=END)
    assert measure(text, CODEC, index).nearest == 1


def test_a_document_counts_in_which_a_run_stands_far_behind():
    shared, some, more = "the ferry lay idle", " and silent all", "~ for nobody knew why"
    texts = [shared + some, *[shared + "."] * 40, shared + more]  # in the order of suffixes
    index = make_index([list(text.encode()) for text in texts], end=END)
    assert measure(f"{shared}Q{some}Q{more}", CODEC, index).nearest == 41


@given(st.text(alphabet="Sch nefi.Ül", max_size=40))
def test_runs_are_those_of_a_search_of_the_whole_corpus(text):
    found = measure(text, CODEC, INDEX, min_run=1)
    expected = runs(DOCUMENTS, list(text.encode()))
    assert [run.num_tokens for run in found.runs] == [length for _, length in expected]
    assert found.longest_run == max((length for _, length in expected), default=0)

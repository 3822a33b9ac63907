"""What waits to be read, and when the reader is woken."""

from __future__ import annotations

import threading

import numpy as np

from services.generator.events import End, Failed, Finish, Text
from services.generator.generation import MAX_JOINED_IDS, Generation
from services.generator.outbox import Outbox
from tests.unit.generator.fakes import codec, request
from tests.waiting import PATIENCE_S, wait_for


def _text(*ids: int, index: int = 0) -> Text:
    return Text(index, "x" * len(ids), ids)


def test_what_waits_comes_at_once_when_the_reader_is_woken() -> None:
    outbox = Outbox(None)
    taken: list[list[object]] = []
    reader = threading.Thread(target=lambda: taken.append(list(outbox.take())))
    outbox.put([_text(1)], wake=False)
    reader.start()
    outbox.put([_text(2)], wake=False)
    assert taken == []

    outbox.put([], wake=True)
    reader.join(PATIENCE_S)

    assert taken == [[_text(1), _text(2)]]


def test_more_than_may_wait_is_not_taken() -> None:
    outbox = Outbox(3)

    assert outbox.put([_text(1, 2)], wake=True)
    assert outbox.take() == [_text(1, 2)]
    assert outbox.put([_text(1, 2, 3)], wake=True)
    assert not outbox.put([_text(4)], wake=True)
    assert outbox.take() == [_text(1, 2, 3)]


def test_text_that_is_held_back_does_not_count_against_the_reader() -> None:
    outbox = Outbox(4)

    assert outbox.put([_text(1)], wake=False)
    assert outbox.put([_text(2, 3, 4, 5)], wake=True)

    assert outbox.take() == [_text(1), _text(2, 3, 4, 5)]
    assert outbox.put([_text(6)], wake=False)


def test_the_last_event_replaces_what_was_not_read_and_nothing_follows() -> None:
    outbox = Outbox(3)
    outbox.put([_text(1)], wake=True)
    last = Failed(MemoryError("no room"))

    outbox.close(last)
    assert outbox.put([_text(2)], wake=True)

    assert outbox.take() == [last]


def _generation(*, streams: bool = True, n: int = 1, unread_limit: int | None = None, **fields: object) -> Generation:
    wanted = request(n=n, best_of=n, **{"max_new_tokens": 10_000} | fields)
    return Generation(wanted, codec(), 20_000, streams=streams, unread_limit=unread_limit)


def _write(generation: Generation, ids: bytes, *, index: int = 0, due: bool = False) -> None:
    for token_id in ids:
        generation.write(generation.sequences[index], token_id, np.empty(0, np.float32))
        generation.tell(due=False)
    generation.tell(due=due)


def test_the_first_text_does_not_wait_and_what_follows_goes_together() -> None:
    generation = _generation()
    events = generation.events()

    _write(generation, b"O")
    assert next(events) == Text(0, "O", (79,))
    _write(generation, b"nc")
    _write(generation, b"e", due=True)

    assert next(events) == Text(0, "nce", tuple(b"nce"))


def test_a_reader_is_woken_when_half_of_what_may_be_unread_waits() -> None:
    generation = _generation(unread_limit=100)
    events = generation.events()
    _write(generation, b"a" * 49)
    assert next(events) == Text(0, "a", (97,))

    _write(generation, b"bb")
    assert next(events) == Text(0, "a" * 48 + "bb", (97,) * 48 + (98,) * 2)


def test_what_waits_long_comes_in_events_that_fit_in_a_message() -> None:
    generation = _generation(streams=False, max_new_tokens=2 * MAX_JOINED_IDS + 3)
    ids = [number % 256 for number in range(2 * MAX_JOINED_IDS + 3)]
    for start in range(0, len(ids), 100):
        _write(generation, bytes(ids[start : start + 100]), due=True)

    texts = [event for event in generation.events() if isinstance(event, Text)]

    assert len(texts) == 3 and max(len(text.ids) for text in texts) <= MAX_JOINED_IDS
    assert [token_id for text in texts for token_id in text.ids] == ids


def test_an_end_brings_what_waits_of_all_samples() -> None:
    generation = _generation(n=2, max_new_tokens=3)
    events = generation.events()
    _write(generation, b"a")
    assert next(events) == Text(0, "a", (97,))

    _write(generation, b"x", index=1)
    _write(generation, b"bc")

    assert [next(events) for _ in range(3)] == [Text(0, "bc", (98, 99)), End(0, Finish.LENGTH), Text(1, "x", (120,))]


def test_a_sample_that_is_dropped_brings_what_waits() -> None:
    generation = _generation()
    _write(generation, b"abc")

    generation.drop(generation.sequences[0])

    assert list(generation.events()) == [Text(0, "abc", tuple(b"abc")), End(0, Finish.CANCELLED)]


def test_who_wants_whole_samples_is_woken_once() -> None:
    generation = _generation(streams=False, n=2, max_new_tokens=2)
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.extend(generation.events()))
    reader.start()

    _write(generation, b"ab", due=True)
    _write(generation, b"c", index=1, due=True)
    assert found == []
    _write(generation, b"d", index=1)

    wait_for(lambda: len(found) == 4)
    reader.join(PATIENCE_S)

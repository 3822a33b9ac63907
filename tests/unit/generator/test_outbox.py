"""What waits to be read, and when the reader is woken."""

from __future__ import annotations

import threading

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
    assert outbox.put([_text(2, 3, 4, 5)], wake=False)

    assert outbox.take() == [_text(1), _text(2, 3, 4, 5)]
    assert outbox.put([_text(6)], wake=False)


def test_a_reader_is_woken_when_half_of_what_may_wait_is_held_back() -> None:
    outbox = Outbox(100)
    taken: list[object] = []

    def read() -> None:
        while len(taken) < 200:
            taken.extend(outbox.take())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    for number in range(1, 201):
        assert outbox.put([_text(number)], wake=False)
        if number % 50 == 0:
            wait_for(lambda number=number: len(taken) == number, "what was held back is read")

    reader.join(PATIENCE_S)


def test_the_last_event_replaces_what_was_not_read_and_nothing_follows() -> None:
    outbox = Outbox(3)
    outbox.put([_text(1)], wake=True)
    last = Failed(MemoryError("no room"))

    outbox.close(last)
    assert outbox.put([_text(2)], wake=True)

    assert outbox.take() == [last]


def _generation(*, streams: bool, n: int = 1) -> Generation:
    return Generation(request(n=n, best_of=n), codec(), 64, streams=streams)


def test_text_that_follows_soon_goes_together() -> None:
    generation = _generation(streams=True)
    events = generation.events()

    generation.emit([_text(1)], pause_s=3600.0)
    assert next(events) == _text(1), "the first is never held back"
    for token_id in (2, 3):
        generation.emit([_text(token_id)], pause_s=3600.0)
    generation.emit([_text(4)], pause_s=0.0)

    assert next(events) == _text(2, 3, 4)


def test_what_waits_long_comes_in_events_that_fit_in_a_message() -> None:
    generation = _generation(streams=True)
    ids = list(range(2 * MAX_JOINED_IDS + 3))
    for token_id in ids:
        generation.emit([_text(token_id)], pause_s=3600.0)
    generation.emit([End(0, Finish.LENGTH)])

    texts = [event for event in generation.events() if isinstance(event, Text)]

    assert [len(text.ids) for text in texts] == [MAX_JOINED_IDS, MAX_JOINED_IDS, 3]
    assert [token_id for text in texts for token_id in text.ids] == ids


def test_an_end_brings_what_waits() -> None:
    generation = _generation(streams=True)
    generation.emit([_text(1)], pause_s=3600.0)
    generation.emit([_text(2), End(0, Finish.LENGTH)], pause_s=3600.0)

    assert list(generation.events()) == [_text(1, 2), End(0, Finish.LENGTH)]


def test_who_wants_whole_samples_is_woken_once() -> None:
    generation = _generation(streams=False, n=2)
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.extend(generation.events()))
    reader.start()

    generation.emit([_text(1), End(0, Finish.LENGTH)])
    generation.emit([_text(2, index=1)])
    assert found == []
    generation.emit([End(1, Finish.LENGTH)])

    wait_for(lambda: len(found) == 4)
    reader.join(PATIENCE_S)

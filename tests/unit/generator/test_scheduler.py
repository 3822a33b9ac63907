"""Who is computed in which step."""

from __future__ import annotations

import pytest

from services.common.errors import Busy
from services.generator.scheduler import Scheduler, Work
from services.generator.sequence import Sequence


def _sequence(length: int = 1, deadline: float = float("inf")) -> Sequence:
    return Sequence(list(range(length)), length, deadline=deadline)


def _run(work: list[Work]) -> None:
    """Compute a step, and draw an id where one can be drawn."""
    for item in work:
        item.sequence.num_computed += len(item.chunk.ids)
        if item.last:
            item.sequence.append(7)


def _sizes(work: list[Work]) -> list[int]:
    return [len(item.chunk.ids) for item in work]


def test_a_sequence_joins_at_the_next_step() -> None:
    scheduler = Scheduler(num_slots=2, queue_limit=0, prefill_tokens=8)
    first, second = _sequence(), _sequence()

    scheduler.submit([first])
    _run(scheduler.plan())
    scheduler.submit([second])

    assert [item.sequence for item in scheduler.plan()] == [first, second]


def test_those_who_wait_get_free_slots_in_order_of_arrival() -> None:
    scheduler = Scheduler(num_slots=1, queue_limit=5, prefill_tokens=8)
    sequences = [_sequence() for _ in range(3)]
    scheduler.submit(sequences)
    served = []

    for _ in sequences:
        (item,) = scheduler.plan()
        served.append(item.sequence)
        scheduler.remove(item.sequence)

    assert served == sequences
    assert (scheduler.num_running, scheduler.num_waiting) == (0, 0)
    assert scheduler.plan() == []


def test_two_sequences_never_share_a_slot() -> None:
    scheduler = Scheduler(num_slots=3, queue_limit=5, prefill_tokens=8)
    scheduler.submit([_sequence() for _ in range(5)])

    work = scheduler.plan()
    assert len({item.chunk.slot for item in work}) == 3
    freed = work[1].chunk.slot
    scheduler.remove(work[1].sequence)

    assert [item.chunk.slot for item in scheduler.plan()] == [work[0].chunk.slot, work[2].chunk.slot, freed]


def test_a_prompt_is_cut_so_that_running_sequences_go_on_in_every_step() -> None:
    scheduler = Scheduler(num_slots=3, queue_limit=0, prefill_tokens=4)
    writing, long, other = _sequence(), _sequence(9), _sequence(3)
    scheduler.submit([writing])
    _run(scheduler.plan())
    scheduler.submit([long, other])

    steps = []
    for _ in range(4):
        work = scheduler.plan()
        steps.append({id(item.sequence): len(item.chunk.ids) for item in work})
        _run(work)

    assert [step[id(writing)] for step in steps] == [1, 1, 1, 1]
    assert all(sum(size for size in step.values() if size > 1) <= 4 for step in steps)
    assert [step.get(id(long)) for step in steps] == [4, 4, 1, 1]
    assert [step.get(id(other)) for step in steps] == [None, None, 3, 1]


def test_only_the_last_piece_of_a_prompt_gives_an_id() -> None:
    scheduler = Scheduler(num_slots=1, queue_limit=0, prefill_tokens=4)
    scheduler.submit([_sequence(6)])

    first = scheduler.plan()
    _run(first)
    second = scheduler.plan()

    assert (_sizes(first), first[0].last, first[0].chunk.start) == ([4], False, 0)
    assert (_sizes(second), second[0].last, second[0].chunk.start) == ([2], True, 4)


def test_a_full_queue_takes_nothing_of_a_request() -> None:
    scheduler = Scheduler(num_slots=1, queue_limit=2, prefill_tokens=4)
    scheduler.submit([_sequence(), _sequence()])

    with pytest.raises(Busy) as refusal:
        scheduler.submit([_sequence(), _sequence()])

    assert refusal.value.retry_after_s
    assert scheduler.num_waiting == 2
    scheduler.submit([_sequence()])


def test_cancelled_and_late_sequences_leave_before_the_next_step() -> None:
    scheduler = Scheduler(num_slots=2, queue_limit=5, prefill_tokens=4)
    cancelled, late, waiting, stays = (
        _sequence(),
        _sequence(deadline=5.0),
        _sequence(deadline=5.0),
        _sequence(),
    )
    scheduler.submit([cancelled, late, waiting, stays])
    _run(scheduler.plan())
    cancelled.cancelled = True

    assert scheduler.sweep(4.9) == [cancelled]
    assert scheduler.sweep(5.0) == [late, waiting]
    assert [item.sequence for item in scheduler.plan()] == [stays]


def test_sliding_keeps_the_head_and_the_newer_half() -> None:
    sequence = _sequence(10)
    sequence.num_computed = 10

    sequence.slide(keep=2)

    assert sequence.context == [0, 1, 6, 7, 8, 9]
    assert sequence.ids == list(range(10))
    assert (sequence.num_computed, sequence.num_pending) == (2, 4)


def test_sliding_leaves_an_id_to_draw_after_in_the_smallest_context() -> None:
    sequence = _sequence(2)
    sequence.num_computed = 1

    sequence.slide(keep=1)

    assert (sequence.context, sequence.num_pending) == ([0, 1], 1)

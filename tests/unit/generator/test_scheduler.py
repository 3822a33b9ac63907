"""Who is computed in which step."""

from __future__ import annotations

import pytest

from services.common.errors import Busy
from services.generator.blocks import BlockPool
from services.generator.pace import Pace
from services.generator.scheduler import Scheduler, Work
from services.generator.sequence import Sequence


def _sequence(length: int = 1, deadline: float = float("inf")) -> Sequence:
    return Sequence(list(range(length)), length, deadline=deadline)


def _scheduler(num_places: int, *, queue_limit: int = 5, caller_limit: int = 5, prefill_tokens: int = 8) -> Scheduler:
    """Blocks as long as the context, so that nothing is shared."""
    pool = BlockPool(num_places, 64)
    return Scheduler(
        pool, 64, queue_limit=queue_limit, caller_limit=caller_limit, pace=Pace(prefill_tokens, max_stall_s=60.0)
    )


def _run(scheduler: Scheduler, work: list[Work]) -> None:
    """Compute a step, and draw an id where one can be drawn."""
    scheduler.computed(work, 0.001)
    for item in work:
        if item.last:
            item.sequence.append(7)


def _sizes(work: list[Work]) -> list[int]:
    return [len(item.chunk.ids) for item in work]


def test_a_sequence_joins_at_the_next_step() -> None:
    scheduler = _scheduler(2, queue_limit=0, prefill_tokens=8)
    first, second = _sequence(), _sequence()

    scheduler.submit([first])
    _run(scheduler, scheduler.plan())
    scheduler.submit([second])

    assert [item.sequence for item in scheduler.plan()] == [first, second]


def test_those_who_wait_get_free_slots_in_order_of_arrival() -> None:
    scheduler = _scheduler(1, queue_limit=5, prefill_tokens=8)
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


@pytest.mark.parametrize(("queue_limit", "caller_limit"), [(3, 5), (5, 3)])
def test_as_many_as_may_come_at_once_fit_when_nothing_runs(queue_limit: int, caller_limit: int) -> None:
    most = _scheduler(2, queue_limit=queue_limit, caller_limit=caller_limit).most_at_once
    assert most == 5

    _scheduler(2, queue_limit=queue_limit, caller_limit=caller_limit).submit([_sequence() for _ in range(most)])
    with pytest.raises(Busy):
        _scheduler(2, queue_limit=queue_limit, caller_limit=caller_limit).submit([_sequence() for _ in range(most + 1)])


def test_two_sequences_never_share_a_slot() -> None:
    scheduler = _scheduler(3, queue_limit=5, prefill_tokens=8)
    scheduler.submit([_sequence() for _ in range(5)])

    work = scheduler.plan()
    assert len({item.chunk.blocks[0] for item in work}) == 3
    freed = work[1].chunk.blocks[0]
    scheduler.remove(work[1].sequence)

    assert [item.chunk.blocks[0] for item in scheduler.plan()] == [
        work[0].chunk.blocks[0],
        work[2].chunk.blocks[0],
        freed,
    ]


def test_a_prompt_is_cut_so_that_running_sequences_go_on_in_every_step() -> None:
    scheduler = _scheduler(3, queue_limit=0, prefill_tokens=4)
    writing, long, other = _sequence(), _sequence(9), _sequence(3)
    scheduler.submit([writing])
    _run(scheduler, scheduler.plan())
    scheduler.submit([long, other])

    steps = []
    for _ in range(4):
        work = scheduler.plan()
        steps.append({id(item.sequence): len(item.chunk.ids) for item in work})
        _run(scheduler, work)

    assert [step[id(writing)] for step in steps] == [1, 1, 1, 1]
    assert all(sum(size for size in step.values() if size > 1) <= 4 for step in steps)
    assert [step.get(id(long)) for step in steps] == [4, 4, 1, 1]
    assert [step.get(id(other)) for step in steps] == [None, None, 3, 1]


def test_only_the_last_piece_of_a_prompt_gives_an_id() -> None:
    scheduler = _scheduler(1, queue_limit=0, prefill_tokens=4)
    scheduler.submit([_sequence(6)])

    first = scheduler.plan()
    _run(scheduler, first)
    second = scheduler.plan()

    assert (_sizes(first), first[0].last, first[0].chunk.start) == ([4], False, 0)
    assert (_sizes(second), second[0].last, second[0].chunk.start) == ([2], True, 4)


def test_a_full_queue_takes_nothing_of_a_request() -> None:
    scheduler = _scheduler(1, queue_limit=2, prefill_tokens=4)
    scheduler.submit([_sequence(), _sequence()])

    with pytest.raises(Busy) as refusal:
        scheduler.submit([_sequence(), _sequence()])

    assert refusal.value.retry_after_s
    assert scheduler.num_waiting == 2
    scheduler.submit([_sequence()])


def test_cancelled_and_late_sequences_leave_before_the_next_step() -> None:
    scheduler = _scheduler(2, queue_limit=5, prefill_tokens=4)
    cancelled, late, waiting, stays = (
        _sequence(),
        _sequence(deadline=5.0),
        _sequence(deadline=5.0),
        _sequence(),
    )
    scheduler.submit([cancelled, late, waiting, stays])
    _run(scheduler, scheduler.plan())
    cancelled.cancelled = "caller"

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


def test_a_caller_with_many_samples_does_not_hold_back_one_with_few() -> None:
    scheduler = _scheduler(1)
    greedy = [Sequence([1], 1, "a") for _ in range(3)]
    modest = Sequence([1], 1, "b")
    scheduler.submit(greedy)
    scheduler.submit([modest])
    served = []

    while work := scheduler.plan():
        served.append(work[0].sequence)
        scheduler.remove(work[0].sequence)

    assert served == [greedy[0], modest, *greedy[1:]]


def test_a_caller_may_fill_its_part_of_the_queue_and_no_more() -> None:
    scheduler = _scheduler(1, queue_limit=5, caller_limit=2)
    scheduler.submit([Sequence([1], 1, "a") for _ in range(3)])
    scheduler.plan()

    with pytest.raises(Busy, match="caller 'a'") as refusal:
        scheduler.submit([Sequence([1], 1, "a")])

    assert refusal.value.reason == "CALLER_SHARE"
    scheduler.submit([Sequence([1], 1, "b") for _ in range(2)])


def test_prompts_of_two_callers_are_read_side_by_side() -> None:
    scheduler = _scheduler(3, prefill_tokens=8)
    long, short, other = Sequence([1] * 30, 30, "a"), Sequence([2] * 3, 3, "b"), Sequence([3] * 30, 30, "a")
    scheduler.submit([long, other])
    scheduler.submit([short])

    sizes = {item.sequence: len(item.chunk.ids) for item in scheduler.plan()}

    assert sizes == {short: 3, long: 5}


def test_those_that_got_a_place_are_named_once() -> None:
    scheduler = _scheduler(1)
    first, second = _sequence(1), _sequence(1)
    scheduler.submit([first])
    scheduler.submit([second])
    scheduler.plan()
    assert scheduler.take_begun() == [first]
    scheduler.plan()
    assert scheduler.take_begun() == []
    scheduler.remove(first)
    scheduler.plan()
    assert scheduler.take_begun() == [second]


def _sharing(num_places: int = 4, prefill_tokens: int = 64) -> Scheduler:
    """Blocks of 4 in a context of 32."""
    return Scheduler(
        BlockPool(num_places * 8, 4), 32, queue_limit=9, caller_limit=9, pace=Pace(prefill_tokens, max_stall_s=60.0)
    )


def test_samples_of_one_prompt_read_its_full_blocks_once() -> None:
    scheduler = _sharing(prefill_tokens=6)
    samples = [_sequence(14) for _ in range(4)]
    scheduler.submit(samples)
    computed = 0

    while any(sample.num_pending > 1 or sample.num_written == 0 for sample in samples):
        work = scheduler.plan()
        computed += sum(len(item.chunk.ids) for item in work if item.sequence.num_written == 0)
        _run(scheduler, work)

    assert computed == 12 + 4 * 2
    firsts = [sample.holding.blocks[:3] for sample in samples if sample.holding]
    assert firsts[1:] == firsts[:-1]
    assert scheduler.pool.num_held == 3 + 4


def test_a_prompt_that_was_read_before_is_not_read_again() -> None:
    scheduler = _sharing()
    first = _sequence(14)
    scheduler.submit([first])
    _run(scheduler, scheduler.plan())
    scheduler.remove(first)

    scheduler.submit([_sequence(14)])
    (item,) = scheduler.plan()

    assert (item.chunk.start, list(item.chunk.ids), item.last) == (12, [12, 13], True)


def test_when_the_first_of_a_prompt_is_cancelled_the_next_reads_on() -> None:
    scheduler = _sharing(prefill_tokens=6)
    first, second = _sequence(14), _sequence(14)
    scheduler.submit([first, second])
    _run(scheduler, scheduler.plan())
    assert (first.num_computed, second.num_computed) == (6, 0)
    scheduler.remove(first)

    (item,) = scheduler.plan()

    assert (item.sequence, item.chunk.start, len(item.chunk.ids)) == (second, 4, 6)


def test_a_measured_text_is_computed_whole_with_all_its_logits() -> None:
    scheduler = _sharing(prefill_tokens=6)
    before = _sequence(14)
    scheduler.submit([before])
    while before.num_written == 0:
        _run(scheduler, scheduler.plan())
    measured = Sequence(list(range(14)), 14, measured=True)
    scheduler.submit([measured])
    scheduler.remove(before)

    found = []
    while measured.num_pending:
        (item,) = scheduler.plan()
        found.append((item.chunk.start, len(item.chunk.ids), item.chunk.num_logits))
        scheduler.computed([item], 0.001)

    assert found == [(0, 6, 6), (6, 6, 6), (12, 2, 2)]


def test_what_slides_out_is_computed_anew_in_blocks_of_its_own() -> None:
    scheduler = _sharing()
    sliding, other = _sequence(14), _sequence(14)
    scheduler.submit([sliding, other])
    while other.num_written == 0:
        _run(scheduler, scheduler.plan())
    sliding.slide(keep=6)

    work = {item.sequence: item.chunk for item in scheduler.plan()}

    assert work[sliding].start == 4, "the block that is kept in part is shared, so it is not written to"
    assert not set(work[sliding].blocks[1:]) & set(work[other].blocks)

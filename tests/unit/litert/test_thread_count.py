"""A step gets all threads, or one where the others are held up."""

from __future__ import annotations

from services.litert.thread_count import FIRST_ALONE, LONGEST_ALONE, ThreadCount


def steps(count: ThreadCount, num: int, waited: float) -> list[int]:
    """Run steps of which that share is waiting where there is more than one thread."""
    found = []
    for _ in range(num):
        threads = count.next()
        found.append(threads)
        if threads > 1:
            count.observe(round(1000 * waited), 1000)
    return found


def test_undisturbed_all_threads_work():
    assert steps(ThreadCount(4), 500, 0.2) == [4] * 500


def test_one_long_wait_changes_nothing():
    count = ThreadCount(2)
    assert steps(count, 1, 1.0) + steps(count, 20, 0.1) + steps(count, 1, 1.0) + steps(count, 20, 0.1) == [2] * 42


def test_held_up_it_goes_on_alone_and_tries_again_ever_later():
    found = steps(ThreadCount(2), 5000, 0.9)
    assert found.count(2) < 25
    alone = [len(part) for part in "".join(map(str, found)).split("2") if part]
    assert alone[0] == FIRST_ALONE and max(alone) == LONGEST_ALONE and alone[:-1] == sorted(alone[:-1])


def test_with_the_cores_free_again_all_threads_work_and_a_new_hold_up_is_short():
    count = ThreadCount(2)
    steps(count, 3000, 0.9)
    assert steps(count, LONGEST_ALONE + 50, 0.1)[-40:] == [2] * 40
    assert steps(count, FIRST_ALONE + 4, 0.9) == [2, 2, *[1] * FIRST_ALONE, 2, 2]


def test_a_step_that_took_no_time_says_nothing():
    count = ThreadCount(2)
    for _ in range(10):
        count.observe(0, 0)
    assert count.next() == 2

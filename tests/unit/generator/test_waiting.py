"""Whose turn it is."""

from __future__ import annotations

from services.generator.sequence import Sequence
from services.generator.waiting import Waiting


def _sequence(caller: str) -> Sequence:
    return Sequence([1], 1, caller)


def test_callers_take_turns_and_of_each_the_first_comes_first() -> None:
    waiting = Waiting()
    greedy = [_sequence("a") for _ in range(4)]
    modest = [_sequence("b"), _sequence("c")]
    for sequence in (*greedy, *modest):
        waiting.add(sequence)

    taken = [waiting.take() for _ in range(6)]

    assert taken == [greedy[0], modest[0], modest[1], *greedy[1:]]
    assert len(waiting) == 0 and list(waiting) == []


def test_a_caller_that_comes_back_does_not_jump_the_queue() -> None:
    waiting = Waiting()
    first = [_sequence("a"), _sequence("a"), _sequence("b")]
    for sequence in first:
        waiting.add(sequence)
    waiting.take()
    again = _sequence("a")
    waiting.add(again)

    assert [waiting.take() for _ in range(3)] == [first[2], first[1], again]


def test_what_is_removed_does_not_come() -> None:
    waiting = Waiting()
    sequences = [_sequence("a"), _sequence("b"), _sequence("a")]
    for sequence in sequences:
        waiting.add(sequence)

    waiting.remove(sequences[1])
    waiting.remove(sequences[0])

    assert (len(waiting), waiting.count_of("a"), waiting.count_of("b")) == (1, 1, 0)
    assert waiting.take() is sequences[2]

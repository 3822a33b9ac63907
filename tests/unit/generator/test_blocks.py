"""Blocks of the cache: what is shared, what is kept, and that none is lost."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from services.generator.blocks import BlockPool, Holding

SIZE = 4


def _compute(pool: BlockPool, ids: Sequence[int]) -> tuple[Holding, int]:
    """Hold and compute all of `ids`; return the holding and how many positions were shared."""
    holding = Holding()
    shared = pool.share(holding, ids, len(ids) - 1)
    pool.cover(holding, len(ids))
    pool.settle(holding, ids, len(ids))
    return holding, shared


def test_a_prefix_in_full_blocks_is_shared_and_the_rest_is_not() -> None:
    pool = BlockPool(10, SIZE)
    first, _ = _compute(pool, range(11))

    second, shared = _compute(pool, [*range(9), 50, 51])

    assert shared == 8
    assert second.blocks[:2] == first.blocks[:2]
    assert second.blocks[2] != first.blocks[2]
    assert pool.num_held == 4


def test_the_last_id_is_never_shared_so_that_there_is_one_to_compute() -> None:
    pool = BlockPool(10, SIZE)
    _compute(pool, range(8))

    assert _compute(pool, range(8))[1] == 4


def test_equal_blocks_after_different_beginnings_are_not_shared() -> None:
    pool = BlockPool(10, SIZE)
    _compute(pool, [1, 1, 1, 1, 7, 7, 7, 7, 0])

    assert _compute(pool, [2, 2, 2, 2, 7, 7, 7, 7, 0])[1] == 0
    assert _compute(pool, [7, 7, 7, 7, 0])[1] == 0


def test_ids_with_equal_hashes_are_told_apart() -> None:
    """-1 and -2 hash alike in Python, and so do tuples of them."""
    assert hash((-1,) * SIZE) == hash((-2,) * SIZE)
    pool = BlockPool(10, SIZE)
    _compute(pool, [-1] * 5)

    assert _compute(pool, [-2] * 5)[1] == 0
    assert _compute(pool, [-1] * 5)[1] == 4


def test_freed_blocks_keep_their_content_until_they_are_needed_the_oldest_first() -> None:
    pool = BlockPool(4, SIZE)
    for ids in ([1] * 5, [2] * 5):
        holding, _ = _compute(pool, ids)
        pool.release(holding)
    assert (pool.num_held, pool.num_kept) == (0, 2)

    _compute(pool, [3] * 12)  # two empty blocks, then the one of [1]

    assert pool.share(Holding(), [1] * 5, 4) == 0
    assert pool.share(Holding(), [2] * 5, 4) == 4


def test_of_a_prefix_the_end_is_lost_before_the_beginning() -> None:
    pool = BlockPool(3, SIZE)
    long, _ = _compute(pool, range(12))
    pool.release(long)
    other = Holding()
    pool.cover(other, 4)

    assert pool.share(Holding(), range(12), 11) == 8


def test_cutting_keeps_what_is_ours_and_gives_back_the_rest() -> None:
    pool = BlockPool(6, SIZE)
    holding, _ = _compute(pool, range(14))

    assert pool.cut(holding, 13) == 13  # the last block is not registered: it may be written to
    assert pool.cut(holding, 6) == 4  # the second one is
    assert len(holding.blocks) == len(holding.prefixes) == 1
    assert pool.num_held == 1


class _World:
    """Sequences that come, are computed, slide and leave, in a pool that reserves a context for each."""

    CONTEXT = 18
    PLACES = 3

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.per_sequence = -(-self.CONTEXT // SIZE)
        self.pool = BlockPool(self.PLACES * self.per_sequence, SIZE)
        self.content: list[list[int]] = [[] for _ in range(self.pool.num_blocks)]  # what the engine has written
        self.running: dict[int, tuple[Holding, list[int], int]] = {}  # holding, context, ids computed
        self.arrivals = 0

    def arrive(self) -> None:
        if len(self.running) < self.PLACES:
            length = self.random.randint(1, self.CONTEXT - 1)
            self.running[self.arrivals] = (Holding(), [self.random.randint(0, 1) for _ in range(length)], 0)
            self.arrivals += 1

    def leave(self) -> None:
        if self.running:
            holding, _, _ = self.running.pop(self.random.choice(sorted(self.running)))
            self.pool.release(holding)
            assert holding.blocks == []

    def slide(self) -> None:
        if self.running:
            name = self.random.choice(sorted(self.running))
            holding, ids, computed = self.running[name]
            keep = self.random.randint(0, len(ids) - 1)
            kept = self.pool.cut(holding, min(computed, keep))
            assert keep - SIZE < kept <= keep or kept <= computed
            self.running[name] = (holding, [*ids[:keep], self.random.randint(0, 1)], kept)

    def compute(self) -> None:
        if self.running:
            name = self.random.choice(sorted(self.running))
            holding, ids, computed = self.running[name]
            computed += self.pool.share(holding, ids, len(ids) - 1)
            if computed == len(ids):
                ids = [*ids, self.random.randint(0, 1)] if len(ids) < self.CONTEXT else ids
            end = min(len(ids), computed + self.random.randint(1, 6))
            self.pool.cover(holding, end)
            for position in range(computed, end):
                block = self.content[holding.blocks[position // SIZE]]
                block[position % SIZE :] = [ids[position]]
            self.pool.settle(holding, ids, end)
            self.running[name] = (holding, ids, end)

    def check(self) -> None:
        holders = [0] * self.pool.num_blocks
        for holding, ids, computed in self.running.values():
            assert len(set(holding.blocks)) == len(holding.blocks) <= self.per_sequence
            for index, block in enumerate(holding.blocks):
                holders[block] += 1
                start = index * SIZE
                end = min(computed, start + SIZE)
                assert self.content[block][: end - start] == ids[start:end], "a block holds what its sequence has"
        for holding, _, computed in self.running.values():
            for block in holding.blocks[computed // SIZE :]:
                assert holders[block] == 1, "what may be written to has one owner"
        assert self.pool.num_held == sum(count > 0 for count in holders), "none is lost, none is free and held"


@given(seed=st.integers(0, 2**32), moves=st.lists(st.sampled_from(["arrive", "leave", "slide", "compute"])))
@settings(max_examples=300)
def test_whatever_happens_no_block_is_lost_or_has_two_writers(seed: int, moves: list[str]) -> None:
    world = _World(seed)
    for move in [*moves, "compute", "compute"]:
        getattr(world, move)()
        world.check()
    for _ in range(_World.PLACES):
        world.leave()
    assert world.pool.num_held == 0

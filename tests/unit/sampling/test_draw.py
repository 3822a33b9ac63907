"""Random numbers by counter."""

from __future__ import annotations

import numpy as np

from services.sampling.draw import new_seed, uniform


def test_the_same_counter_gives_the_same_number() -> None:
    assert uniform(5, 1, 2) == uniform(5, 1, 2)


def test_seed_sample_and_position_each_change_the_number() -> None:
    numbers = {uniform(seed, sample, position) for seed in range(4) for sample in range(4) for position in range(4)}
    assert len(numbers) == 64


def test_numbers_are_spread_evenly_over_zero_to_one() -> None:
    numbers = np.array([uniform(3, 0, position) for position in range(5000)])

    assert numbers.min() >= 0 and numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=10, range=(0, 1))
    assert ((counts - 500) ** 2 / 500).sum() < 33.72  # chi-square, 9 degrees of freedom, p = 1e-4


def test_the_numbers_of_a_seed_are_fixed_for_ever() -> None:
    """Golden: a saved seed must give the same text after an upgrade."""
    assert [uniform(0, 0, 0), uniform(2**64 - 1, 3, 70)] == GOLDEN


def test_the_numbers_are_those_of_numpys_philox() -> None:
    generator = np.random.default_rng(0)
    for _ in range(500):
        seed = int(generator.integers(0, 2**64, dtype=np.uint64))
        sample, position = int(generator.integers(0, 100)), int(generator.integers(0, 2**31))
        word = int(np.random.Philox(key=seed, counter=[position, sample, 0, 0]).random_raw())
        assert uniform(seed, sample, position) == (word >> 11) * 2.0**-53


def test_a_new_seed_survives_json() -> None:
    assert all(0 <= new_seed() < 2**53 for _ in range(100))


GOLDEN = [0.011546754286331562, 0.9318612288921581]

"""Products with panels of weights, against NumPy's own."""

import numba
import numpy as np
import pytest

from services.litert import product, tiles
from services.litert.crew import TURN_BYTES, begin_of, take
from services.litert.weights import BIAS, CHANNELS, FEATURE_SCALES, FEATURE_SUMS, FEATURES, MATRIX, WEIGHTS
from tests.unit.litert.texts import PRODUCTS

OURS = [instructions for instructions in PRODUCTS if instructions]
SPARE = 1 << 16  # weights are asked for beyond the last, rows are read up to 32


def aligned(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Zeros at a multiple of 64 bytes."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 64 + SPARE, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + size].view(dtype).reshape(shape)


class Product:
    """N random rows and a random matrix, and what is to come of them."""

    def __init__(self, N, channels, F):
        rng = np.random.default_rng((N, channels, F))
        K, P = tiles.padded(channels), tiles.num_panels(F)
        weights = rng.integers(-127, 128, size=(F, channels)).astype(np.int8)
        self.panels = aligned((P, 2, K // 64, 16, 16, 4), np.int8)
        self.sums = np.zeros(P * tiles.PANEL, np.int32)
        tiles.pack(weights, self.panels, self.sums)
        assert np.array_equal(self.sums[:F], weights.sum(axis=1, dtype=np.int32))
        self.codes = aligned((N, K), np.uint8)
        self.codes[:] = rng.integers(0, 256, size=(N, K))
        self.zeros = rng.integers(0, 256, size=N).astype(np.int32)
        self.scales = rng.uniform(1e-3, 1e-2, size=N).astype(np.float32)
        self.feature_scales = rng.uniform(1e-3, 1e-2, size=P * tiles.PANEL).astype(np.float32)
        self.bias = rng.normal(size=P * tiles.PANEL).astype(np.float32)
        self.matrix = np.zeros(MATRIX, np.int64)
        for place, array in {
            WEIGHTS: self.panels,
            FEATURE_SCALES: self.feature_scales,
            FEATURE_SUMS: self.sums,
            BIAS: self.bias,
        }.items():
            self.matrix[place] = array.ctypes.data
        self.matrix[CHANNELS], self.matrix[FEATURES] = K, F
        rows = self.scales[:, None] * (self.codes[:, :channels].astype(np.float64) - self.zeros[:, None])
        self.expected = rows @ (self.feature_scales[:F, None] * weights).T + self.bias[:F]  # [N, F]

    def compute(self, instructions, threads, then, out):
        """One thread after another; the first finds all others' work not begun."""
        scratch = aligned((product.SCRATCH,), np.uint8)
        turns = aligned((threads, TURN_BYTES // 8), np.int64)
        for thread in range(threads):
            run(
                instructions,
                thread,
                threads,
                self.matrix,
                self.codes.ctypes.data,
                self.scales.ctypes.data,
                self.zeros.ctypes.data,
                len(self.codes),
                then,
                out.ctypes.data,
                scratch.ctypes.data,
                turns.ctypes.data,
            )


@numba.njit
def run(instructions, thread, threads, matrix, codes, scales, zeros, N, then, target, scratch, turns):
    product.multiply(instructions, thread, threads, matrix, codes, scales, zeros, N, then, target, scratch, turns)
    if instructions == tiles.AMX:
        tiles.release()


SHAPES = [(1, 1, 1), (3, 42, 33), (16, 64, 64), (17, 200, 50), (32, 768, 40), (33, 64, 32), (100, 130, 97)]
SHAPES += [(rows, 130, 33) for rows in (2, 4, 5, 6, 7, 8, 9, 11)]  # in one pass each on vectors, and in two


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("instructions", OURS, ids=tiles.NAMES.get)
def test_a_product_is_that_of_the_numbers_that_codes_stand_for(instructions, shape):
    case = Product(*shape)
    for threads in (1, 2, 3):
        found = np.full(case.expected.shape, np.nan, np.float32)
        case.compute(instructions, threads, product.STORE, found)
        np.testing.assert_allclose(found, case.expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("instructions", OURS, ids=tiles.NAMES.get)
def test_a_product_is_added_to_what_is_there_or_goes_through_gelu(instructions):
    case = Product(40, 70, 66)
    before = np.random.default_rng(0).normal(size=case.expected.shape).astype(np.float32)
    found = before.copy()
    case.compute(instructions, 2, product.ADD, found)
    np.testing.assert_allclose(found, before + case.expected, rtol=1e-5, atol=1e-4)
    case.compute(instructions, 2, product.GELU, found)
    x = case.expected
    gelu = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(found, gelu, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("then", [product.STORE, product.GELU, product.ADD], ids=["store", "gelu", "add"])
@pytest.mark.parametrize("instructions", OURS, ids=tiles.NAMES.get)
def test_every_instruction_gives_the_same_bits_on_any_number_of_threads(instructions, then):
    case = Product(70, 200, 75)
    expected, found = np.zeros((2, *case.expected.shape), np.float32)
    case.compute(tiles.VNNI, 1, then, expected)
    case.compute(instructions, 3, then, found)
    assert np.array_equal(found, expected)


def test_every_piece_of_work_is_taken_once():
    for count, threads, most in [(0, 1, 1), (7, 1, 3), (12, 5, 1), (100, 3, 8), (2, 4, 8)]:
        turns = np.zeros((threads, TURN_BYTES // 8), np.int64)
        pieces = []
        for thread in range(threads):  # the last is there first and takes what is left of all
            for owner in [(thread - 1 - offset) % threads for offset in range(threads)]:
                first, end = take(turns.ctypes.data, owner, count, threads, most)
                pieces += range(first, end)
        while True:
            left = [take(turns.ctypes.data, owner, count, threads, most) for owner in range(threads)]
            if not any(first < end for first, end in left):
                break
            pieces += [piece for first, end in left for piece in range(first, end)]
        assert sorted(pieces) == list(range(count))


def test_own_work_ends_where_the_next_threads_begins():
    assert [begin_of(7, thread, 3) for thread in range(4)] == [0, 2, 4, 7]

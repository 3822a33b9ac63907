"""Numbers to int8 with one scale per row, symmetric around zero.

N rows, C columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST = 127  # -128 is left out, so that a number and its negative are equally far


def quantise_rows(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 values and scales: `values * scales[:, None]` is `matrix`, each within half a scale. [N, C], [N]

    The largest number of a row becomes 127 or -127, halves go to the even neighbour, a row of zeros gets scale 1.
    """
    values = np.empty(matrix.shape, np.int8)
    scales = np.empty(len(matrix), np.float32)
    for begin in range(0, len(matrix), 1024):  # in pieces that stay in the processor's cache
        rows = np.ascontiguousarray(matrix[begin : begin + 1024])
        largest = np.maximum(rows.max(axis=1), -rows.min(axis=1))
        scale = np.where(largest > 0, largest / np.float32(LARGEST), np.float32(1))
        rows = np.rint(rows / scale[:, None])
        values[begin : begin + 1024] = np.clip(rows, -LARGEST, LARGEST)
        scales[begin : begin + 1024] = scale
    return values, scales

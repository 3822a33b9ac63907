"""A line: the numbers of one sample, as a record that compiled code reads.

In: sampling parameters. What is not one number, as a sample's ids and biases, stands elsewhere (batch.py).
"""

from __future__ import annotations

import numpy as np

from services.sampling.parameters import NUMBERS, SamplingParameters

LINE = np.dtype(
    [
        *((name, np.dtype(kind)) for name, kind in NUMBERS.items()),
        ("seed", np.uint64),
        ("sample", np.uint64),
        ("position", np.uint64),
        ("min_new_tokens", np.int64),
        ("num_prompt", np.int64),
        ("keeps_history", np.int64),
        # How far the sample's row of each table is filled.
        ("num_history", np.int64),
        ("num_biases", np.int64),
        ("num_excluded", np.int64),
        ("num_excluded_early", np.int64),
    ]
)


def write_rules(line: np.void, parameters: SamplingParameters) -> None:
    """Write what a sample asked for into its line."""
    for name in NUMBERS:
        line[name] = getattr(parameters, name)

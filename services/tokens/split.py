"""Which documents a model learns from and which it is only judged by.

A document's side depends on its id alone, so that adding posts moves none of the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

TRAIN = 0
VALIDATION = 1


def position_of(document_id: str) -> float:
    """A number in [0, 1) that depends on the id alone: its SHA-256 as a fraction."""
    return int.from_bytes(hashlib.sha256(document_id.encode()).digest()[:6]) / 2**48


def split_documents(document_ids: Sequence[str], validation_fraction: float) -> np.ndarray:
    """Return uint8 [documents]: VALIDATION where the id's position is below the fraction, else TRAIN.

    With two documents or more neither side is empty: the document nearest to the threshold changes sides.
    A fraction of 0 asks for no validation at all. A single document is always TRAIN.

    Args:
        validation_fraction: expected share of documents held out, 0 to below 1.
    """
    positions = np.array([position_of(document_id) for document_id in document_ids], dtype=np.float64)
    sides = np.where(positions < validation_fraction, VALIDATION, TRAIN).astype(np.uint8)
    if validation_fraction <= 0 or len(sides) < 2:
        return np.zeros(len(sides), dtype=np.uint8)
    if not sides.any():
        sides[positions.argmin()] = VALIDATION
    elif sides.all():
        sides[positions.argmax()] = TRAIN
    return sides

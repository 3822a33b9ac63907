"""Which documents a model learns from and which it is only judged by.

A document's side depends on its id alone, so that adding posts moves none of the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

TRAIN = 0
VALIDATION = 1


def position_of(document_id: str) -> float:
    """A number in [0, 1) that depends on the id alone: its SHA-256 as a fraction."""
    return int.from_bytes(hashlib.sha256(document_id.encode()).digest()[:6]) / 2**48


class Splitter:
    """Tells the side of one document after another, and at the end whether one must change sides.

    With two documents or more neither side is empty: the one nearest to the threshold changes sides. A fraction of
    0 asks for no validation at all. A single document is always TRAIN.

    Args:
        validation_fraction: expected share of documents held out, 0 to below 1.
    """

    def __init__(self, validation_fraction: float) -> None:
        self._fraction = validation_fraction
        self._counts = [0, 0]
        # The lowest position, and the highest, with the number of the document that has it.
        self._lowest: tuple[float, int] | None = None
        self._highest: tuple[float, int] | None = None

    def add(self, document_id: str, side: int | None = None) -> int:
        """The side of the next document: the one given, or by its position, VALIDATION below the fraction."""
        number = sum(self._counts)
        if side is not None:
            self._counts[side] += 1
            return side
        position = position_of(document_id)
        side = VALIDATION if position < self._fraction else TRAIN
        self._counts[side] += 1
        if self._lowest is None or position < self._lowest[0]:
            self._lowest = (position, number)
        if self._highest is None or position > self._highest[0]:
            self._highest = (position, number)
        return side

    def mend(self) -> tuple[int, int] | None:
        """After the last document: the number of the one that changes sides, and its new side; None if none does.

        A side that was given is never changed.
        """
        train, validation = self._counts
        if validation and not train and self._highest:
            return self._highest[1], TRAIN
        if train > 1 and not validation and self._fraction > 0 and self._lowest:
            return self._lowest[1], VALIDATION
        return None


def split_documents(documents: Iterable[tuple[str, int | None]], validation_fraction: float) -> np.ndarray:
    """The side of each document, given its id and its side or None, as `Splitter` tells it: uint8 [documents]."""
    splitter = Splitter(validation_fraction)
    sides = bytearray(splitter.add(*document) for document in documents)
    mended = splitter.mend()
    if mended is not None:
        sides[mended[0]] = mended[1]
    return np.frombuffer(sides, dtype=np.uint8)

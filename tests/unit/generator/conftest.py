"""Shelves, closed after the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.generator.shelf import MakeShelf, Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[MakeShelf]:
    shelves: list[Shelf] = []

    def make(*published: str, **options: Any) -> Shelf:
        shelves.append(Shelf(tmp_path / "models", *published, **options))
        return shelves[-1]

    yield make
    for made in shelves:
        made.close()

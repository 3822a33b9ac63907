"""An empty catalogue, and what cleans the posts that are brought into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.corpus.catalogue import Catalogue
from services.corpus.database import Database
from services.corpus.sources import Sources
from tests.unit.corpus.inline import InlineCleaners


@pytest.fixture
def cleaners() -> InlineCleaners:
    return InlineCleaners()


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    database = Database(tmp_path / "corpora")
    yield Catalogue(database, Sources(tmp_path / "corpora" / "posts"))
    database.close()

"""A trainer service for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rpc.trainer.serving import Service, serving
from tests.unit.trainer.tiny import write_tiny_dataset


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("numba")


@pytest.fixture(scope="module", autouse=True)
def compiled_once(compiled: Path) -> Iterator[None]:
    """Let all training processes share what Numba compiles: each volume would have its own otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_CACHE_DIR", str(compiled))
        yield


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("data")
    write_tiny_dataset(data)
    with serving(data, training=True) as made:
        yield made

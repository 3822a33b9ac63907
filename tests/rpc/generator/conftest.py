"""A generator that no test changes, and generators of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rpc.generator.serving import Service, publish


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A generator with one model that no test changes."""
    folder = tmp_path_factory.mktemp("generator") / "models"
    publish(folder, "owl", 1)
    made = Service(folder, max_new_tokens=500)
    made.generate(max_new_tokens=1)
    yield made
    made.stop()


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Generators on an empty folder of the test's own."""
    services: list[Service] = []

    def make(**settings: Any) -> Service:
        services.append(Service(tmp_path / "models", **settings))
        return services[-1]

    yield make
    for made in services:
        made.stop()

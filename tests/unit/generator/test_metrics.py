"""What the metrics show of the models."""

from __future__ import annotations

from prometheus_client import REGISTRY

from services.common.files import remove_folder
from services.generator import metrics
from services.generator.choice import State
from tests.unit.generator.shelf import MakeShelf
from tests.waiting import wait_for


def test_the_version_shown_is_the_newest_that_is_served(shelf: MakeShelf) -> None:
    def shown() -> float | None:
        return REGISTRY.get_sample_value("nonesuch_generator_model_version", {"model": "ibis"})

    made = shelf("ibis/1", "ibis/2")
    made.start()
    made.ask("ibis")
    made.ask("ibis", 1)
    made.wait_for_looks()
    assert made.states() == {"ibis/2": State.SERVING, "ibis/1": State.SERVING}
    assert shown() == 2

    remove_folder(made.folder / "ibis")
    wait_for(lambda: shown() is None, patience_s=10)


def test_two_versions_show_their_loads_apart_until_they_are_unloaded() -> None:
    def shown(version: int) -> float | None:
        return REGISTRY.get_sample_value("nonesuch_generator_running", {"model": "ibis", "version": str(version)})

    metrics.LoopMetrics("ibis", 1).set_load(3, 0, 0.5)
    metrics.LoopMetrics("ibis", 2).set_load(0, 0, 0.0)
    assert (shown(1), shown(2)) == (3, 0)

    metrics.forget("ibis", 1)
    assert (shown(1), shown(2)) == (None, 0)

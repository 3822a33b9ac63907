"""Puts the parts together: models on a folder, each run by the engine that suits the machine."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path

from services.generator import engines
from services.generator.loaded import load
from services.generator.models import Models
from services.generator.settings import GeneratorSettings
from services.sampling import batch

log = logging.getLogger(__name__)


def make_models(folder: Path, settings: GeneratorSettings, cache: Path) -> Models:
    """The models below `folder`, not started.

    Args:
        cache: NONESUCH_CACHE.
    """
    return Models(
        folder,
        lambda published: load(published, settings, lambda: engines.make(published, settings, cache)),
        prepare=lambda: _prepare(engines.choose(settings)),
        max_models=settings.max_models,
        poll_s=settings.poll_s,
    )


def _prepare(engine: str) -> None:
    """Import the engine and compile the sampling rules: seconds that the first request need not wait."""
    log.info("models run on the engine %s", engine)
    batch.warm()
    importlib.import_module(f"services.generator.{engine}_engine")

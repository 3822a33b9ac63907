"""Puts the parts together: models on a folder, run by the TensorFlow engine."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path

from services.generator.engine import Engine
from services.generator.loaded import load
from services.generator.models import Models
from services.generator.settings import GeneratorSettings
from services.sampling import batch


def make_models(folder: Path, settings: GeneratorSettings) -> Models:
    """The models below `folder`, not started."""

    return Models(
        folder,
        lambda published: load(published, settings, partial(_make_engine, threads=settings.threads)),
        prepare=_prepare,
        max_models=settings.max_models,
        poll_s=settings.poll_s,
    )


def _prepare() -> None:
    """Import TensorFlow and compile the sampling rules: seconds that the first request need not wait."""
    batch.warm()
    importlib.import_module("services.generator.tensorflow_engine")


def _make_engine(folder: Path, num_slots: int, precision: str, *, threads: int) -> Engine:
    # Here, not above: TensorFlow takes seconds to import, and the server answers before that.
    from services.generator.tensorflow_engine import TensorflowEngine

    return TensorflowEngine(folder, num_slots, precision, threads=threads)

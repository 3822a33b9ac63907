"""Puts the parts together: models on a folder, run by the TensorFlow engine."""

from __future__ import annotations

from pathlib import Path

from services.generator.engine import Engine
from services.generator.loaded import LoadedModel, load
from services.generator.models import Models
from services.generator.published import Published
from services.generator.settings import GeneratorSettings
from services.sampling import rules


def make_models(folder: Path, settings: GeneratorSettings) -> Models:
    """The models below `folder`, not started."""

    def load_model(published: Published) -> LoadedModel:
        rules.warm()
        return load(published, settings, _make_engine)

    return Models(folder, load_model, max_models=settings.max_models, poll_s=settings.poll_s)


def _make_engine(folder: Path, num_slots: int, precision: str) -> Engine:
    # Here, not above: TensorFlow takes seconds to import, and the server answers before that.
    from services.generator.tensorflow_engine import TensorflowEngine

    return TensorflowEngine(folder, num_slots, precision)

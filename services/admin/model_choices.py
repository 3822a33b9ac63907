"""Which models can write, and how a form offers them."""

from __future__ import annotations

from wtforms.fields.choices import SelectChoice

from protos import generator_pb2
from services.client.connection import Connection, pages


def usable_models(services: Connection) -> list[generator_pb2.ServedModel]:
    """The versions of all models, those apart that could not be loaded."""
    served = pages(services.generator.ListModels, generator_pb2.ListModelsRequest(), "models")
    return [model for model in served if model.state != generator_pb2.MODEL_STATE_FAILED]


def choices(models: list[generator_pb2.ServedModel]) -> list[SelectChoice]:
    """The newest version of each model under its name, then every version."""
    names = list(dict.fromkeys(model.name for model in models))
    offered = [SelectChoice("", "the one published last")] if len(names) > 1 else []
    offered += [SelectChoice(name, name) for name in names]
    for name in names:
        versions = [model.version for model in models if model.name == name]
        if len(versions) > 1:
            offered += [SelectChoice(f"{name}@{version}", f"{name}, version {version}") for version in versions]
    return offered

"""A model's version as the game knows it."""

from __future__ import annotations

from dataclasses import dataclass

from protos import trainer_pb2


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model.

    Args:
        dataset: what it learned from; empty for a base model.
        origin: where it comes from and when. A version of the same name and number with another origin is another:
            its volume was made anew.
    """

    model: str
    number: int
    dataset: str
    origin: str

    @property
    def name(self) -> str:
        """As the generator takes it: `run1@3`."""
        return f"{self.model}@{self.number}"


def from_message(version: trainer_pb2.ModelVersion) -> Version:
    """The version that a message of the trainer is about."""
    origin = f"{version.run}/{version.step}/{version.dataset}/{version.created_at.ToNanoseconds()}"
    return Version(version.model, version.version, version.dataset, origin)

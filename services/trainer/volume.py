"""Where things are on the shared volume. The trainer writes base/, checkpoint/, samples/ and models/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Volume:
    """The shared volume, by its root folder (NONESUCH_DATA)."""

    root: Path

    @property
    def datasets(self) -> Path:
        """The tokenizer's datasets."""
        return self.root / "datasets"

    @property
    def bases(self) -> Path:
        """Base models in OpenAI's layout."""
        return self.root / "base"

    @property
    def runs(self) -> Path:
        """A folder per run."""
        return self.root / "checkpoint"

    @property
    def samples(self) -> Path:
        """A folder of samples per run."""
        return self.root / "samples"

    @property
    def models(self) -> Path:
        """Published models: a folder per name, in it one per version."""
        return self.root / "models"

"""The samples of a run in training: written with the weights as they are, and compared with the posts.

In: a step. Out: texts, and what they have from the posts. Draws from (seed, step) alone and changes nothing, so that a
resumed run writes and finds the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from services.tokens.codec import Codec
from services.tokens.corpus_index import CorpusIndex
from services.trainer.run_settings import RunSettings
from services.trainer.training import loading
from services.trainer.training.loop import Trainer
from services.trainer.training.originality import StepOriginality, of_samples
from services.trainer.training.writing import Writer


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of a step."""

    texts: list[str]
    """Of each its prompt and what follows."""
    originality: StepOriginality | None
    """What follows the prompts, compared with the posts; None: it could not be, or nothing follows."""


class Sampler:
    """Writes a run's samples.

    Args:
        index: of the run's dataset; None: samples are not compared.
    """

    def __init__(self, codec: Codec, settings: RunSettings, trainer: Trainer, index: CorpusIndex | None) -> None:
        self._codec, self._settings, self._trainer, self._index = codec, settings, trainer, index
        self._writer: Writer | None = None  # compiled when the first samples are due

    def write(self, step: int, wanted: Callable[[], bool]) -> Samples | None:
        """Write the samples of a step.

        Args:
            wanted: asked before each token; None is returned as soon as it says no.
        """
        if self._writer is None:
            self._writer = loading.make_writer(self._codec, self._settings, self._trainer)
        words = np.random.SeedSequence([self._settings.seed, step]).generate_state(1, np.uint64)
        written = self._writer.write(length=self._settings.sample_length, seed=int(words[0]), wanted=wanted)
        if written is None:
            return None
        decode, borders = self._codec.decode, [len(request.prompt) for request in self._writer.requests]
        parts = [(decode(ids[:border]), decode(ids[border:])) for ids, border in zip(written, borders, strict=True)]
        return Samples(
            texts=[decode(ids) for ids in written],
            originality=of_samples(parts, self._codec, self._index) if self._index else None,
        )
